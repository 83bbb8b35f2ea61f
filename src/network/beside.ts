/**
 * What goes on beside a tunnel that has the default route: answers to whoever connects to the pod's own address, and the
 * exceptions. Pure. Probes and Services come from outside the pod's subnet; their connections are answered by source address,
 * with a rule, a table and no sysctl. A UDP server that answers from "any" address takes the one of the route that it finds, so it
 * needs direct routes to where its clients are: `CULVERT_BYPASS`.
 */
import { type Change, isIpv6, type NextHop, ours, routeChange, ruleChange } from "./change.ts"
import { covers, parseCidr } from "./cidr.ts"

export interface HostFacts {
  readonly gateway: { readonly ipv4: NextHop | undefined; readonly ipv6: NextHop | undefined }
  /** The pod's own addresses, without prefix length. */
  readonly addresses: ReadonlyArray<string>
  /** Its routes but the default ones and ours, tunnels left out. */
  readonly routes: ReadonlyArray<{ readonly target: string; readonly hop: NextHop }>
}

/** `direct`: addresses and networks that are reached beside the tunnel. */
export const planBeside = (host: HostFacts, direct: ReadonlyArray<string>): ReadonlyArray<Change> => {
  const answering = host.addresses.filter((address) => gatewayFor(host, address) !== undefined)
  const copied = host.routes.filter(({ target }) => answering.some((address) => isIpv6(address) === isIpv6(target)))
  const defaults = (["ipv4", "ipv6"] as const).flatMap((family) => {
    const hop = host.gateway[family]
    const target = family === "ipv4" ? "0.0.0.0/0" : "::/0"
    return hop === undefined || !answering.some((address) => isIpv6(address) === (family === "ipv6"))
      ? []
      : [routeChange({ target, hop, table: ours.table })]
  })
  return [
    ...copied.map(({ target, hop }) => routeChange({ target, hop, table: ours.table })),
    ...defaults,
    ...answering.map((address) => ruleChange(address, ours.table)),
    ...direct.flatMap((network) => {
      const hop = gatewayFor(host, network)
      // A network that the pod is attached to has its own route.
      const attached = host.routes.some(({ target }) => covers(target, network))
      return hop === undefined || attached || parseCidr(network) === undefined
        ? []
        : [routeChange({ target: withPrefix(network), hop })]
    }),
  ]
}

const gatewayFor = (host: HostFacts, address: string): NextHop | undefined =>
  isIpv6(address) ? host.gateway.ipv6 : host.gateway.ipv4

const withPrefix = (network: string): string =>
  network.includes("/") ? network : `${network}/${isIpv6(network) ? 128 : 32}`
