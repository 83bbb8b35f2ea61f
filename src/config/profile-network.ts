/** What a file or a push says about the network, and about keepalive. */
import { Schema } from "effect"
import { between, optional, Port, Seconds } from "./profile-words.ts"

export const Route = Schema.Struct({
  /** IPv4 or IPv6 address, a host name, or `vpn_gateway`/`net_gateway`/`remote_host`. */
  network: Schema.String,
  prefix: between(0, 128),
  /** An address, `vpn_gateway`, `net_gateway`, or undefined for the default. */
  gateway: optional(Schema.String),
  metric: optional(Schema.Int),
})
export type Route = typeof Route.Type

export const RedirectFlag = Schema.Literals([
  "def1",
  "local",
  "autolocal",
  "bypass-dhcp",
  "bypass-dns",
  "block-local",
  "ipv6",
  "!ipv4",
])
export type RedirectFlag = typeof RedirectFlag.Type

/** One `dns server N`. */
export const DnsServer = Schema.Struct({
  /** The lowest is asked first. */
  priority: between(-128, 127),
  /** With the port of each; undefined: that of the transport. */
  addresses: Schema.NonEmptyArray(Schema.Struct({ address: Schema.String, port: optional(Port) })),
  /** Only names in these domains; empty: all names. */
  resolveDomains: Schema.Array(Schema.String),
  dnssec: optional(Schema.Literals(["yes", "optional", "no"])),
  transport: optional(Schema.Literals(["plain", "DoH", "DoT"])),
  sni: optional(Schema.String),
})
export type DnsServer = typeof DnsServer.Type

/** Addresses, routes and names: what a file or a push says about the network. */
export const NetworkOptions = Schema.Struct({
  topology: optional(Schema.Literals(["net30", "p2p", "subnet"])),
  /** `second` is a netmask with topology subnet, else the peer's address. */
  ifconfig: optional(Schema.Struct({ local: Schema.String, second: Schema.String })),
  ifconfigIpv6: optional(Schema.Struct({ local: Schema.String, prefix: between(0, 128), remote: Schema.String })),
  routeGateway: optional(Schema.String),
  routeIpv6Gateway: optional(Schema.String),
  routeMetric: optional(Schema.Int),
  /** Between the tunnel's addresses and its routes. */
  routeDelay: optional(Seconds),
  routes: Schema.Array(Route),
  routesIpv6: Schema.Array(Route),
  redirectGateway: optional(Schema.Array(RedirectFlag)),
  redirectPrivate: optional(Schema.Array(RedirectFlag)),
  blockIpv6: Schema.Boolean,
  /** `dhcp-option` as written: type in capitals, value. */
  dhcpOptions: Schema.Array(Schema.Struct({ type: Schema.String, value: Schema.String })),
  /** Of `dns`, servers by ascending priority. */
  dns: Schema.Struct({ servers: Schema.Array(DnsServer), searchDomains: Schema.Array(Schema.String) }),
})
export type NetworkOptions = typeof NetworkOptions.Type

/** Undefined: not said. 0: switched off. */
export const KeepaliveOptions = Schema.Struct({
  ping: optional(Seconds),
  /** `ping-restart` or `ping-exit`: what follows when nothing was received for so long. There is one such timer. */
  silence: optional(Schema.Struct({ seconds: Seconds, then: Schema.Literals(["restart", "exit"]) })),
  inactive: optional(Schema.Struct({ seconds: Seconds, bytes: between(0, Number.MAX_SAFE_INTEGER) })),
  sessionTimeout: optional(Seconds),
})
export type KeepaliveOptions = typeof KeepaliveOptions.Type
