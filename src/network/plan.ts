/**
 * What the host's network must look like for one connection, as an ordered list of changes. Pure: profile and push and
 * host facts in, `ip -batch` lines out. Nothing is ever added when it may be there already: every line replaces.
 */
import type { NetworkOptions, Route } from "../config/index.ts"

/** One line for `ip -batch` and the line that takes it back (undefined: nothing to undo). */
export interface Change {
  readonly apply: string
  readonly undo: string | undefined
  /** IPv6 may be switched off in a pod: such a change fails with a warning, the connection goes on. */
  readonly family: "ipv4" | "ipv6"
}

export interface Plan {
  readonly changes: ReadonlyArray<Change>
  /** The tunnel addresses, with prefix length. */
  readonly addresses: ReadonlyArray<string>
  /** Options that could not be honoured, for the log. */
  readonly notes: ReadonlyArray<string>
}

/** How the host reaches something outside the tunnel. */
export interface NextHop {
  readonly device: string
  readonly gateway: string | undefined
}

export interface HostFacts {
  readonly gateway: { readonly ipv4: NextHop | undefined; readonly ipv6: NextHop | undefined }
}

export interface PlanInput {
  readonly device: string
  readonly mtu: number
  readonly options: NetworkOptions
  /** The server's address and the way to it outside the tunnel; undefined way: none is known. */
  readonly server: { readonly address: string; readonly via: NextHop | undefined }
  readonly host: HostFacts
}

export const planNetwork = (input: PlanInput): Plan => {
  const { device, options } = input
  const notes: Array<string> = []
  const addresses: Array<string> = []
  const changes: Array<Change> = [
    { apply: `link set dev ${device} mtu ${input.mtu} up`, undo: undefined, family: "ipv4" },
  ]
  const address = (line: string, family: Change["family"]) =>
    changes.push({
      apply: `address replace ${line} dev ${device}${family === "ipv6" ? " nodad" : ""}`,
      undo: `address del ${line} dev ${device}`,
      family,
    })

  const ifconfig = options.ifconfig
  if (ifconfig !== undefined && !(isAddress(ifconfig.local) && isAddress(ifconfig.second))) {
    notes.push(`ifconfig ${ifconfig.local} ${ifconfig.second}: these are no addresses`)
  } else if (ifconfig !== undefined) {
    const prefix = options.topology === "subnet" ? prefixOfMask(ifconfig.second) : undefined
    if (prefix !== undefined) {
      address(`${ifconfig.local}/${prefix}`, "ipv4")
      addresses.push(`${ifconfig.local}/${prefix}`)
    } else {
      address(`${ifconfig.local} peer ${ifconfig.second}`, "ipv4")
      addresses.push(`${ifconfig.local}/32`)
    }
  }
  if (options.ifconfigIpv6 !== undefined && !isAddress(options.ifconfigIpv6.local)) {
    notes.push(`ifconfig-ipv6 ${options.ifconfigIpv6.local}: this is no address`)
  } else if (options.ifconfigIpv6 !== undefined) {
    const { local, prefix } = options.ifconfigIpv6
    address(`${local}/${prefix}`, "ipv6")
    addresses.push(`${local}/${prefix}`)
  }

  const bypass = serverBypass(input)
  if (bypass !== undefined) changes.push(bypass)
  for (const target of redirectTargets(options)) {
    changes.push(routeChange({ target, hop: tunnelHop(input), metric: undefined }))
  }
  for (const route of [...options.routes, ...options.routesIpv6]) {
    const change = planRoute(route, input)
    if (typeof change === "string") notes.push(change)
    else changes.push(change)
  }
  return { changes, addresses, notes }
}

/** Merges what the file and the server say: the server's single values win, lists are joined. */
export const mergeNetwork = (file: NetworkOptions, pushed: NetworkOptions): NetworkOptions => ({
  topology: pushed.topology ?? file.topology,
  ifconfig: pushed.ifconfig ?? file.ifconfig,
  ifconfigIpv6: pushed.ifconfigIpv6 ?? file.ifconfigIpv6,
  routeGateway: pushed.routeGateway ?? file.routeGateway,
  routeIpv6Gateway: pushed.routeIpv6Gateway ?? file.routeIpv6Gateway,
  routeMetric: pushed.routeMetric ?? file.routeMetric,
  routes: [...file.routes, ...pushed.routes],
  routesIpv6: [...file.routesIpv6, ...pushed.routesIpv6],
  redirectGateway: pushed.redirectGateway ?? file.redirectGateway,
  redirectPrivate: pushed.redirectPrivate ?? file.redirectPrivate,
  blockIpv6: pushed.blockIpv6 || file.blockIpv6,
  clientNat: [...file.clientNat, ...pushed.clientNat],
  dhcpOptions: [...file.dhcpOptions, ...pushed.dhcpOptions],
  dns: {
    servers: [...file.dns.servers, ...pushed.dns.servers],
    searchDomains: [...file.dns.searchDomains, ...pushed.dns.searchDomains],
  },
})

export const isIpv6 = (address: string): boolean => address.includes(":")

/**
 * The route to the server that keeps the tunnel's own packets out of the tunnel. Without it a default route through tun
 * would swallow them. Needed as soon as any route may cover the server's address.
 */
const serverBypass = (input: PlanInput): Change | undefined => {
  const { options, server } = input
  const flags = options.redirectGateway ?? options.redirectPrivate
  if (flags === undefined || flags.includes("local") || server.via === undefined) return undefined
  // Directly connected already: its own network's route is longer than any that the tunnel brings.
  if (flags.includes("autolocal") && server.via.gateway === undefined) return undefined
  return bypassRoute(server.address, server.via)
}

export const bypassRoute = (address: string, via: NextHop): Change =>
  routeChange({ target: `${address}/${isIpv6(address) ? 128 : 32}`, hop: via, metric: undefined })

/**
 * Both forms of redirect-gateway use the two halves of the address space: more specific than any default route, so the
 * original one stays untouched and comes back by itself.
 */
const redirectTargets = (options: NetworkOptions): ReadonlyArray<string> => {
  const flags = options.redirectGateway
  if (flags === undefined) return []
  return [
    ...(flags.includes("!ipv4") ? [] : ["0.0.0.0/1", "128.0.0.0/1"]),
    ...(flags.includes("ipv6") && options.ifconfigIpv6 !== undefined
      ? ["::/3", "2000::/4", "3000::/4", "fc00::/7"]
      : []),
  ]
}

const planRoute = (route: Route, input: PlanInput): Change | string => {
  const described = `route ${route.network}/${route.prefix}${route.gateway === undefined ? "" : ` via ${route.gateway}`}`
  if (!isAddress(route.network)) return `${described}: host names and keywords as a network are not supported yet`
  const ipv6 = isIpv6(route.network)
  const metric = route.metric ?? input.options.routeMetric
  const target = `${route.network}/${route.prefix}`
  if (route.gateway === "net_gateway") {
    const hop = ipv6 ? input.host.gateway.ipv6 : input.host.gateway.ipv4
    return hop === undefined ? `${described}: the host has no default gateway` : routeChange({ target, hop, metric })
  }
  if (ipv6 && input.options.ifconfigIpv6 === undefined) return `${described}: the tunnel has no IPv6 address`
  if (route.gateway === undefined || route.gateway === "vpn_gateway")
    return routeChange({ target, hop: tunnelHop(input), metric })
  if (!isAddress(route.gateway)) return `${described}: the gateway is no address`
  return routeChange({ target, hop: { device: input.device, gateway: route.gateway }, metric })
}

/** tun is point-to-point for the kernel: a gateway adds nothing but a way to fail, so the device alone is named. */
const tunnelHop = (input: PlanInput): NextHop => ({ device: input.device, gateway: undefined })

/** Whatever a server pushed, nothing else than an address may become part of a command line. */
const isAddress = (text: string): boolean => /^[0-9a-fA-F.:]{2,45}$/.test(text)

const routeChange = (route: { target: string; hop: NextHop; metric: number | undefined }): Change => {
  const metric = route.metric === undefined ? "" : ` metric ${route.metric}`
  const via = route.hop.gateway === undefined ? "" : ` via ${route.hop.gateway}`
  const ipv6 = isIpv6(route.target)
  // `-6` cannot be given inside a batch line; iproute2 takes the family from the prefix.
  return {
    apply: `route replace ${route.target}${via} dev ${route.hop.device}${metric}`,
    undo: `route del ${route.target}${via} dev ${route.hop.device}${metric}`,
    family: ipv6 ? "ipv6" : "ipv4",
  }
}

/** 255.255.255.0 -> 24; undefined when it is no netmask. */
export const prefixOfMask = (mask: string): number | undefined => {
  const parts = mask.split(".").map(Number)
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) return undefined
  const bits = parts.map((part) => part.toString(2).padStart(8, "0")).join("")
  const prefix = bits.indexOf("0") === -1 ? 32 : bits.indexOf("0")
  return bits.slice(prefix).includes("1") ? undefined : prefix
}
