/**
 * What the host has besides its plan while connections still use addresses that the tunnel had before. Pure. Packets from such an
 * address go into the tunnel whatever the routes of now say, because nowhere else would they be answered.
 */
import { type Change, hostRoute, isIpv6, type NextHop, ours, routeChange, ruleChange } from "./change.ts"
import { formatCidr, parseCidr } from "./cidr.ts"

export interface Former {
  readonly device: string
  /** With prefix length; those that the tunnel still has are left out. */
  readonly addresses: ReadonlyArray<string>
  /** Where the older link leads to, and the way there outside the tunnel. */
  readonly server: { readonly address: string; readonly via: NextHop | undefined }
}

/** To be in force before a plan takes the addresses away, so that there is no moment without them. */
export const planFormer = ({ device, addresses, server }: Former): ReadonlyArray<Change> => [
  ...(server.via === undefined ? [] : [hostRoute(server.address, server.via)]),
  ...addresses.flatMap((address) => [
    ...(isIpv6(address) ? [deprecated(address, device)] : formerIpv4(address, device)),
    ruleChange(address.split("/")[0]!, ours.formerTable),
    routeChange({
      target: isIpv6(address) ? "::/0" : "0.0.0.0/0",
      hop: { device, gateway: undefined },
      table: ours.formerTable,
    }),
  ]),
]

/** The kernel removes the other addresses of a network with its first one, so this one stands on its own. */
const formerIpv4 = (address: string, device: string): ReadonlyArray<Change> => {
  const bare = `${address.split("/")[0]}/32`
  const network = parseCidr(address)
  return [
    { apply: `address replace ${bare} dev ${device}`, undo: `address del ${bare} dev ${device}`, family: "ipv4" },
    // Until the next address brings the network's own route.
    ...(network === undefined || network.prefix === 32
      ? []
      : [routeChange({ target: formatCidr(network), hop: { device, gateway: undefined }, metric: ours.formerMetric })]),
  ]
}

/** No new connection takes it. */
const deprecated = (address: string, device: string): Change => ({
  apply: `address replace ${address} dev ${device} nodad preferred_lft 0`,
  undo: `address del ${address} dev ${device}`,
  family: "ipv6",
})
