/**
 * The routes of a profile and a push, as changes. Pure. tun is point-to-point for the kernel: it needs no gateway. tap is an
 * Ethernet, where a packet needs a neighbour to go to.
 */
import { isAddress, prefixOfNetmask } from "../config/address.ts"
import type { NetworkOptions, Route } from "../config/index.ts"
import type { HostFacts } from "./beside.ts"
import { type Change, hostRoute, isIpv6, type NextHop, type RouteLine, routeChange } from "./change.ts"
import { covers, halves, parseCidr } from "./cidr.ts"

export interface RouteInput {
  readonly device: string
  /** Of a tap device. */
  readonly isEthernet: boolean
  readonly options: NetworkOptions
  /** The device has other addresses as well: routes say that new connections take the one of `options`. */
  readonly hasFormer: boolean
  /** The server's address and the way to it outside the tunnel; undefined way: none is known. */
  readonly server: { readonly address: string; readonly via: NextHop | undefined }
  readonly host: HostFacts
  /** Addresses of the host names in routes. */
  readonly names: ReadonlyMap<string, ReadonlyArray<string>>
  /** Name servers that are asked through the tunnel. */
  readonly resolvers: ReadonlyArray<string>
}

/** In the order in which they are safe to set: first what keeps the tunnel's own packets outside of it. */
export const planRoutes = (
  input: RouteInput,
): { readonly changes: ReadonlyArray<Change>; readonly notes: ReadonlyArray<string> } => {
  const notes: Array<string> = []
  const lines: Array<RouteLine> = [...redirected(input), ...blockedLocal(input)]
  for (const route of [...input.options.routes, ...input.options.routesIpv6]) {
    const planned = planRoute(route, input)
    if (typeof planned === "string") notes.push(planned)
    else lines.push(...planned)
  }
  lines.push(...resolverRoutes(input, lines))
  if (input.isEthernet && lines.some((line) => lacksGateway(line, input)))
    notes.push(
      "routes into an Ethernet need a gateway, and neither file nor server names one (route-gateway): they are left out",
    )
  const { kept, conflicts } = withoutConflicts(
    lines.filter((line) => !lacksGateway(line, input)),
    input,
  )
  return {
    changes: [...besideTheTunnel(kept, input), ...kept.map((line) => routeChange(withSource(line, input)))],
    notes: [...notes, ...conflicts],
  }
}

/**
 * Both forms of redirect-gateway use the two halves of the address space: more specific than any default route, so the
 * original one stays untouched and comes back by itself.
 */
const redirected = (input: RouteInput): ReadonlyArray<RouteLine> => {
  const { options } = input
  const flags = options.redirectGateway
  const ipv6: ReadonlyArray<string> = ["::/3", "2000::/4", "3000::/4", "fc00::/7"]
  const takesIpv4 = flags !== undefined && !flags.includes("!ipv4")
  // What is blocked goes into the tunnel's device, where the firewall says that there is no way.
  const takesIpv6 = options.blockIpv6 || (flags?.includes("ipv6") && options.ifconfigIpv6 !== undefined)
  return [
    ...(takesIpv4 ? ["0.0.0.0/1", "128.0.0.0/1"].map((target) => ({ target, hop: intoTunnel(input, false) })) : []),
    ...(takesIpv6 ? ipv6.map((target) => ({ target, hop: intoTunnel(input, true) })) : []),
  ]
}

/** `block-local`: the networks that the pod is attached to go into the tunnel; their gateways stay beside it. */
const blockedLocal = (input: RouteInput): ReadonlyArray<RouteLine> => {
  const { options, host } = input
  const flags = [...(options.redirectGateway ?? []), ...(options.redirectPrivate ?? [])]
  if (!flags.includes("block-local")) return []
  return host.routes
    .filter(({ target, hop }) => hop.gateway === undefined && (!isIpv6(target) || options.ifconfigIpv6 !== undefined))
    .flatMap(({ target }) => halves(target))
    .map((target) => ({ target, hop: intoTunnel(input, isIpv6(target)) }))
}

/** Several lines when a host name has several addresses; a text when it cannot be done. */
const planRoute = (route: Route, input: RouteInput): ReadonlyArray<RouteLine> | string => {
  const described = `route ${route.network}/${route.prefix}${route.gateway === undefined ? "" : ` via ${route.gateway}`}`
  const networks = networksOf(route.network, input)
  if (typeof networks === "string") return `${described}: ${networks}`
  const metric = route.metric ?? input.options.routeMetric
  const lines: Array<RouteLine> = []
  for (const network of networks) {
    const target = `${network}/${route.prefix}`
    if (parseCidr(target) === undefined) return `${described}: this is no network`
    const hop = hopOf(route, isIpv6(network), input)
    if (typeof hop === "string") return `${described}: ${hop}`
    lines.push({ target, hop, metric })
  }
  return lines
}

const networksOf = (network: string, input: RouteInput): ReadonlyArray<string> | string => {
  switch (network) {
    case "vpn_gateway": {
      const gateway = tunnelGateway(input)
      return gateway === undefined ? "the tunnel has no gateway" : [gateway]
    }
    case "net_gateway": {
      const gateway = input.host.gateway.ipv4?.gateway
      return gateway === undefined ? "the host has no default gateway" : [gateway]
    }
    case "remote_host":
      return [input.server.address]
  }
  if (isAddress(network)) return [network]
  const addresses = input.names.get(network)?.filter(isAddress) ?? []
  return addresses.length === 0 ? "this name has no address" : addresses
}

const hopOf = (route: Route, ipv6: boolean, input: RouteInput): NextHop | string => {
  const { device, options, host } = input
  if (route.gateway === "net_gateway")
    return (ipv6 ? host.gateway.ipv6 : host.gateway.ipv4) ?? "the host has no default gateway"
  if (ipv6 && options.ifconfigIpv6 === undefined && !options.blockIpv6) return "the tunnel has no IPv6 address"
  if (route.gateway === undefined || route.gateway === "vpn_gateway") return intoTunnel(input, ipv6)
  if (route.gateway === "remote_host") return input.server.via ?? "no way to the server is known"
  const gateway = isAddress(route.gateway) ? route.gateway : input.names.get(route.gateway)?.find(isAddress)
  return gateway === undefined ? "the gateway is no address" : { device, gateway }
}

/** A name server of the tunnel is asked through it, whether a route covers it or not. */
const resolverRoutes = (input: RouteInput, lines: ReadonlyArray<RouteLine>): ReadonlyArray<RouteLine> =>
  input.resolvers
    .filter((address) => isAddress(address) && (!isIpv6(address) || input.options.ifconfigIpv6 !== undefined))
    .filter((address) => !lines.some(({ target }) => covers(target, address)) && !isNeighbour(address, input))
    .map((address) => ({
      target: `${address}/${isIpv6(address) ? 128 : 32}`,
      hop: intoTunnel(input, isIpv6(address)),
    }))

const intoTunnel = (input: RouteInput, ipv6: boolean): NextHop => {
  const { device, isEthernet, options } = input
  if (!isEthernet) return { device, gateway: undefined }
  const gateway = ipv6 ? (options.routeIpv6Gateway ?? options.ifconfigIpv6?.remote) : tunnelGateway(input)
  return { device, gateway }
}

const lacksGateway = ({ hop }: RouteLine, { isEthernet, device }: RouteInput): boolean =>
  isEthernet && hop.device === device && hop.gateway === undefined

/** Whether it is on the tunnel's own Ethernet, where the address's network leads to it. */
const isNeighbour = (address: string, { isEthernet, options: { ifconfig, ifconfigIpv6 } }: RouteInput): boolean => {
  if (!isEthernet) return false
  const prefix = ifconfig && prefixOfNetmask(ifconfig.second)
  return (
    (prefix !== undefined && covers(`${ifconfig!.local}/${prefix}`, address)) ||
    (ifconfigIpv6 !== undefined && covers(`${ifconfigIpv6.local}/${ifconfigIpv6.prefix}`, address))
  )
}

/** A route that replaced one of the pod's own would cut it off from its network: it is left out. */
const withoutConflicts = (lines: ReadonlyArray<RouteLine>, { host }: RouteInput) => {
  const isTaken = ({ target, metric }: RouteLine) =>
    metric === undefined && host.routes.some((own) => own.target === target)
  return {
    kept: lines.filter((line) => !isTaken(line)),
    conflicts: lines
      .filter(isTaken)
      .map(
        ({ target }) =>
          `route ${target}: it is the pod's own network and stays so; give the tunnel another network, or the route a metric`,
      ),
  }
}

/**
 * Host routes for what the tunnel needs outside of itself: the server, and gateways that a route into the tunnel would
 * swallow. Without them the tunnel's own packets would go into the tunnel.
 */
const besideTheTunnel = (lines: ReadonlyArray<RouteLine>, input: RouteInput): ReadonlyArray<Change> => {
  const { options, server, host, device } = input
  const intoTunnel = lines.filter(({ hop }) => hop.device === device)
  const swallowing = (address: string) => intoTunnel.filter(({ target }) => covers(target, address))
  const flags = [...(options.redirectGateway ?? []), ...(options.redirectPrivate ?? [])]
  const isAttached = server.via !== undefined && server.via.gateway === undefined
  const isRedirected = options.redirectGateway !== undefined || options.redirectPrivate !== undefined
  const wantsServer =
    !flags.includes("local") &&
    !(flags.includes("autolocal") && isAttached) &&
    (isRedirected || swallowing(server.address).length > 0)
  return [
    ...[host.gateway.ipv4, host.gateway.ipv6].flatMap((hop) => {
      const gateway = hop?.gateway
      if (hop === undefined || gateway === undefined) return []
      // Only its network's own route leads to a gateway: a longer one into the tunnel needs a still longer one beside it.
      const own = host.routes.find(({ target }) => covers(target, gateway))
      const isLost = own !== undefined && swallowing(gateway).some(({ target }) => covers(own.target, target))
      return isLost ? [hostRoute(gateway, { device: hop.device, gateway: undefined })] : []
    }),
    ...(wantsServer && server.via !== undefined ? [hostRoute(server.address, server.via)] : []),
  ]
}

/** IPv6 has a mark on the other addresses instead. */
const withSource = (line: RouteLine, { options: { ifconfig }, device, hasFormer }: RouteInput): RouteLine => {
  const isOurs = line.hop.device === device && !isIpv6(line.target)
  return hasFormer && isOurs && ifconfig !== undefined && isAddress(ifconfig.local)
    ? { ...line, source: ifconfig.local }
    : line
}

/** What `vpn_gateway` stands for: `route-gateway`, else the peer of a point-to-point address. */
const tunnelGateway = ({ options, isEthernet }: RouteInput): string | undefined =>
  options.routeGateway ?? (isEthernet || options.topology === "subnet" ? undefined : options.ifconfig?.second)
