/**
 * Who is asked for which name. Pure. Domains of the cluster go to the pod's own resolvers beside the tunnel, all others to those of
 * the tunnel; the longest domain that fits decides. A name for which nobody is known is refused, never asked elsewhere.
 */
import { isAddress } from "../../config/address.ts"
import type { DnsServer, NetworkOptions } from "../../config/index.ts"
import type { ResolvConf } from "../resolvconf.ts"

export interface Upstream {
  readonly address: string
  readonly port: number
  readonly transport: "plain" | "DoT" | "DoH"
  /** The name in the server's certificate; undefined: the certificate is not checked. */
  readonly serverName: string | undefined
  /** Answers that the resolver has not validated are refused. */
  readonly validated: boolean
}

/** What the pod itself has; known before there is a tunnel. */
export interface PodNames {
  readonly resolvers: ReadonlyArray<Upstream>
  /** In lower case, without dots at the ends. */
  readonly domains: ReadonlyArray<string>
  /** Whole names that are looked up before there is a tunnel: those of the VPN servers. */
  readonly bootstrap: ReadonlySet<string>
}

/** What the tunnel brings; an empty list of domains: for all names. */
export type TunnelNames = ReadonlyArray<{
  readonly servers: ReadonlyArray<Upstream>
  readonly domains: ReadonlyArray<string>
}>

export type Route =
  | { readonly type: "pod"; readonly servers: ReadonlyArray<Upstream> }
  | { readonly type: "tunnel"; readonly servers: ReadonlyArray<Upstream> }
  /** `reason`: the tunnel is down, or it has no name server. */
  | { readonly type: "refused"; readonly reason: "tunnelDown" | "noServer" }

/** `tunnel` undefined: there is none now. */
export const routeName = (name: string, pod: PodNames, tunnel: TunnelNames | undefined): Route => {
  const wanted = canonical(name)
  if (pod.bootstrap.has(wanted.replace(randomPrefix, ""))) return { type: "pod", servers: pod.resolvers }
  const inPod = longest(wanted, pod.domains)
  const best = bestOf(wanted, tunnel ?? [])
  // A domain that both claim is the tunnel's: the safer side.
  if (inPod !== undefined && inPod > best.length) return { type: "pod", servers: pod.resolvers }
  if (best.servers.length > 0) return { type: "tunnel", servers: best.servers }
  return { type: "refused", reason: tunnel === undefined ? "tunnelDown" : "noServer" }
}

/** Who is asked through the tunnel for the names of a domain, in order; "" for all names. */
export const serversOf = (domain: string, tunnel: TunnelNames): ReadonlyArray<Upstream> =>
  bestOf(canonical(domain), tunnel).servers

/** Several for one domain stand in for each other, in the order of their numbers. `length`: of the domain, -1 when there is none. */
const bestOf = (wanted: string, tunnel: TunnelNames) => {
  const fitting = tunnel
    .map(({ servers, domains }) => ({ servers, length: domains.length === 0 ? 0 : (longest(wanted, domains) ?? -1) }))
    .filter(({ length }) => length >= 0)
  const length = Math.max(-1, ...fitting.map((one) => one.length))
  return { length, servers: fitting.filter((one) => one.length === length).flatMap(({ servers }) => servers) }
}

/** What `remote-random-hostname` puts before a server's name. */
const randomPrefix = /^[0-9a-f]{12}\./

export const podNames = (
  resolvConf: ResolvConf,
  domains: ReadonlyArray<string>,
  servers: ReadonlyArray<string>,
): PodNames => ({
  resolvers: resolvConf.nameservers.map(plain),
  domains: [...new Set([...resolvConf.search, ...domains].map(canonical).filter((domain) => domain !== ""))],
  bootstrap: new Set(servers.filter((host) => !isAddress(host)).map(canonical)),
})

/** Of file and push; `fallback` when neither names a server for all names. */
export const tunnelNames = (options: NetworkOptions, fallback: ReadonlyArray<string>): TunnelNames => {
  // As in OpenVPN, `dns` puts `dhcp-option` out of force.
  const modern = options.dns.servers.map((server) => ({
    servers: server.addresses.map(({ address, port }) => upstreamOf(server, address, port)),
    domains: server.resolveDomains.map(canonical),
  }))
  const old = options.dhcpOptions.filter(({ type }) => type === "DNS" || type === "DNS6").map(({ value }) => value)
  const groups = modern.length > 0 ? modern : old.length > 0 ? [{ servers: old.map(plain), domains: [] }] : []
  const forAll = groups.some(({ domains }) => domains.length === 0)
  return forAll || fallback.length === 0 ? groups : [...groups, { servers: fallback.map(plain), domains: [] }]
}

/** Domains that the server wants to be searched for short names. */
export const searchDomains = (options: NetworkOptions): ReadonlyArray<string> => {
  const old = options.dhcpOptions
    .filter(({ type }) => type === "DOMAIN" || type === "DOMAIN-SEARCH" || type === "ADAPTER_DOMAIN_SUFFIX")
    .map(({ value }) => value)
  return [...new Set((options.dns.searchDomains.length > 0 ? options.dns.searchDomains : old).map(canonical))]
}

const upstreamOf = (server: DnsServer, address: string, port: number | undefined): Upstream => {
  const transport = server.transport ?? "plain"
  return {
    address,
    port: port ?? ports[transport],
    transport,
    serverName: server.sni,
    validated: server.dnssec === "yes",
  }
}

const ports = { plain: 53, DoT: 853, DoH: 443 } as const

const plain = (address: string): Upstream => ({
  address,
  port: ports.plain,
  transport: "plain",
  serverName: undefined,
  validated: false,
})

/** Length of the longest of the domains that `name` is or lies in. */
const longest = (name: string, domains: ReadonlyArray<string>): number | undefined => {
  const fitting = domains.filter((domain) => name === domain || name.endsWith(`.${domain}`))
  return fitting.length === 0 ? undefined : Math.max(...fitting.map((domain) => domain.length))
}

const canonical = (name: string): string => name.toLowerCase().replace(/^\.+|\.+$/g, "")
