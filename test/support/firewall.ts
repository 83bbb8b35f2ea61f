import type { Firewall } from "../../src/network/firewall.ts"

/** The kill switch that lets nothing through: neither server nor tunnel nor exception. */
export const allClosed: Firewall = {
  enforced: true,
  tunnel: undefined,
  servers: [],
  formerAddresses: [],
  exceptions: [],
  inbound: [],
  dns: { resolvers: [], resolving: false, forwarded: false, redirectTo: undefined },
  earlierUdpPorts: [],
}
