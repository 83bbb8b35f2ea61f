/**
 * What the host's network must look like for one connection, as an ordered list of changes. Pure: profile and push and
 * host facts in, lines as `ip` takes them out. Nothing is ever added when it may be there already: every line replaces.
 */
import { isAddress, prefixOfNetmask } from "../config/address.ts"
import type { NetworkOptions } from "../config/index.ts"
import { type Change, isIpv6, linkChange } from "./change.ts"
import { covers, overlaps, parseCidr } from "./cidr.ts"
import { planRoutes, type RouteInput } from "./routes.ts"

export interface Plan {
  readonly changes: ReadonlyArray<Change>
  /** The tunnel addresses, with prefix length. */
  readonly addresses: ReadonlyArray<string>
  /** Options that could not be honoured, for the log. */
  readonly notes: ReadonlyArray<string>
  /** Why nothing of it may be applied. */
  readonly conflict: string | undefined
}

export interface PlanInput extends RouteInput {
  readonly mtu: number
  /** Networks that are reached beside the tunnel, to tell where they overlap with it. */
  readonly exceptions: ReadonlyArray<string>
  /** `ifconfig-noexec`, `route-noexec`: somebody else sets these. */
  readonly leave: { readonly addresses: boolean; readonly routes: boolean }
}

export const planNetwork = (input: PlanInput): Plan => {
  const { device, options, leave } = input
  const tunnel = addressesOf(options, input.isEthernet)
  const addresses = tunnel.map(({ cidr }) => cidr)
  const changes: Array<Change> = [linkChange(device, input.mtu)]
  if (!leave.addresses) changes.push(...tunnel.map((address) => addressChange(address, device)))
  const routes = planRoutes(input)
  if (!leave.routes) changes.push(...routes.changes)
  const notes = [...notAddresses(options), ...routes.notes, ...overlapsWith(input.exceptions, addresses)]
  return { changes, addresses, notes, conflict: conflictOf(addresses, input) }
}

/** The tunnel's addresses, with prefix length. */
export const tunnelAddresses = (options: NetworkOptions, isEthernet: boolean): ReadonlyArray<string> =>
  addressesOf(options, isEthernet).map(({ cidr }) => cidr)

interface TunnelAddress {
  /** As `ip` wants it. */
  readonly line: string
  readonly cidr: string
}

const addressesOf = ({ ifconfig, ifconfigIpv6, topology }: NetworkOptions, isEthernet: boolean) => {
  const addresses: Array<TunnelAddress> = []
  if (ifconfig !== undefined && isAddress(ifconfig.local) && isAddress(ifconfig.second)) {
    const { local, second } = ifconfig
    const prefix = isEthernet || topology === "subnet" ? prefixOfNetmask(second) : undefined
    addresses.push(
      prefix === undefined
        ? { line: `${local} peer ${second}`, cidr: `${local}/32` }
        : { line: `${local}/${prefix}`, cidr: `${local}/${prefix}` },
    )
  }
  if (ifconfigIpv6 !== undefined && isAddress(ifconfigIpv6.local)) {
    const cidr = `${ifconfigIpv6.local}/${ifconfigIpv6.prefix}`
    addresses.push({ line: cidr, cidr })
  }
  return addresses
}

const notAddresses = ({ ifconfig, ifconfigIpv6 }: NetworkOptions): ReadonlyArray<string> => [
  ...(ifconfig === undefined || (isAddress(ifconfig.local) && isAddress(ifconfig.second))
    ? []
    : [`ifconfig ${ifconfig.local} ${ifconfig.second}: these are no addresses`]),
  ...(ifconfigIpv6 === undefined || isAddress(ifconfigIpv6.local)
    ? []
    : [`ifconfig-ipv6 ${ifconfigIpv6.local}: this is no address`]),
]

const addressChange = ({ line, cidr }: TunnelAddress, device: string): Change => {
  const ipv6 = isIpv6(cidr)
  return {
    apply: `address replace ${line} dev ${device}${ipv6 ? " nodad" : ""}`,
    undo: `address del ${line} dev ${device}`,
    family: ipv6 ? "ipv6" : "ipv4",
  }
}

/** Merges what the file and the server say: the server's single values win, lists are joined. */
export const mergeNetwork = (file: NetworkOptions, pushed: NetworkOptions): NetworkOptions => ({
  topology: pushed.topology ?? file.topology,
  ifconfig: pushed.ifconfig ?? file.ifconfig,
  ifconfigIpv6: pushed.ifconfigIpv6 ?? file.ifconfigIpv6,
  routeGateway: pushed.routeGateway ?? file.routeGateway,
  routeIpv6Gateway: pushed.routeIpv6Gateway ?? file.routeIpv6Gateway,
  routeMetric: pushed.routeMetric ?? file.routeMetric,
  routeDelay: pushed.routeDelay ?? file.routeDelay,
  routes: [...file.routes, ...pushed.routes],
  routesIpv6: [...file.routesIpv6, ...pushed.routesIpv6],
  redirectGateway: pushed.redirectGateway ?? file.redirectGateway,
  redirectPrivate: pushed.redirectPrivate ?? file.redirectPrivate,
  blockIpv6: pushed.blockIpv6 || file.blockIpv6,
  dhcpOptions: [...file.dhcpOptions, ...pushed.dhcpOptions],
  dns: {
    servers: [...file.dns.servers, ...pushed.dns.servers],
    searchDomains: [...file.dns.searchDomains, ...pushed.dns.searchDomains],
  },
})

/** Host names in routes, to be looked up before a plan is made. */
export const namesIn = (options: NetworkOptions): ReadonlyArray<string> => [
  ...new Set(
    options.routes
      .flatMap(({ network, gateway }) => [network, gateway])
      .filter((place) => place !== undefined)
      .filter((place) => !isAddress(place) && !keywords.has(place)),
  ),
]

const keywords: ReadonlySet<string> = new Set(["vpn_gateway", "net_gateway", "remote_host"])

/** Two devices with one network: the kernel would send into either. */
const conflictOf = (addresses: ReadonlyArray<string>, { host, device }: PlanInput): string | undefined => {
  for (const address of addresses) {
    const network = parseCidr(address)!
    const own = host.routes.find(({ target, hop }) => {
      const attached = parseCidr(target)
      return (
        hop.gateway === undefined &&
        attached !== undefined &&
        attached.family === network.family &&
        attached.first === network.first &&
        attached.prefix === network.prefix
      )
    })
    if (own !== undefined) {
      return `the tunnel's network ${own.target} is also that of ${own.hop.device}, so ${device} would cut the pod off from it; give the server's clients or the pod another network`
    }
    if (host.addresses.includes(address.split("/")[0]!))
      return `the tunnel's address ${address} is already the pod's own`
  }
  return undefined
}

const overlapsWith = (exceptions: ReadonlyArray<string>, addresses: ReadonlyArray<string>): ReadonlyArray<string> =>
  exceptions.flatMap((exception) =>
    addresses
      .filter((address) => {
        const [a, b] = [parseCidr(exception), parseCidr(address)]
        return a !== undefined && b !== undefined && overlaps(a, b)
      })
      .map((address) =>
        covers(address, exception)
          ? `the exception ${exception} lies in the tunnel's network ${address}: what is sent there leaves the pod beside the tunnel`
          : `the exception ${exception} overlaps with the tunnel's network ${address}, which goes through the tunnel; make the exception narrower`,
      ),
  )
