/** One server of a profile, with everything that may differ between them. */
import { Schema } from "effect"
import { between, KeyDirection, optional, Port, Seconds, SecretString, StaticKey } from "./profile-words.ts"

export const Transport = Schema.Literals(["udp", "tcp"])
export type Transport = typeof Transport.Type

export const AddressFamily = Schema.Literals(["any", "ipv4", "ipv6"])
export type AddressFamily = typeof AddressFamily.Type

const Plain = Schema.TaggedStruct("Plain", {})

/** How control packets are authenticated or encrypted, apart from TLS. */
export const ControlWrapping = Schema.Union([
  Plain,
  Schema.TaggedStruct("TlsAuth", { key: StaticKey, direction: KeyDirection }),
  Schema.TaggedStruct("TlsCrypt", { key: StaticKey }),
  /** `wrapped`: the client key as only the server can read it, sent along with the first packet. */
  Schema.TaggedStruct("TlsCryptV2", { key: StaticKey, wrapped: Schema.Redacted(Schema.Uint8Array) }),
])
export type ControlWrapping = typeof ControlWrapping.Type

/** User name and password of a proxy: in the file, or asked for when the proxy wants them. */
export const ProxyLogin = Schema.TaggedUnion({
  Given: { username: Schema.String, password: SecretString },
  Ask: {},
})
export type ProxyLogin = typeof ProxyLogin.Type

export const SocksProxy = Schema.TaggedStruct("Socks", { host: Schema.String, port: Port, login: optional(ProxyLogin) })
export type SocksProxy = typeof SocksProxy.Type

/** What the connection to a server goes through. */
export const ProxyServer = Schema.Union([
  Schema.TaggedStruct("Http", {
    host: Schema.String,
    port: Port,
    /** "any": the strongest that the proxy offers; "any-but-basic": the same, but the password never goes in clear. */
    authentication: optional(
      Schema.Struct({ method: Schema.Literals(["basic", "any", "any-but-basic"]), login: ProxyLogin }),
    ),
    version: Schema.Literals(["1.0", "1.1"]),
    userAgent: optional(Schema.String),
    headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  }),
  SocksProxy,
])
export type ProxyServer = typeof ProxyServer.Type

/** What both transports have. */
const endpoint = {
  host: Schema.String,
  port: Port,
  family: AddressFamily,
  /** Where the socket is bound; undefined: wherever the kernel likes. */
  local: optional(Schema.Struct({ address: optional(Schema.String), port: optional(Port) })),
  /** From the first packet to the server's first answer. */
  connectTimeout: Seconds,
  connectRetry: Schema.Struct({ wait: Seconds, maximum: Seconds }),
  tunMtu: between(100, 65535),
  /** What the options string says in its place; undefined: the same. */
  occMtu: optional(between(100, 65535)),
  /** MSS clamp: "off", or a size that counts the outer headers (`mtu`), the UDP payload (`payload`) or the inner packet (`fixed`). */
  mssfix: Schema.Union([
    Schema.Literal("off"),
    Schema.Struct({ size: between(1, 65535), counts: Schema.Literals(["mtu", "payload", "fixed"]) }),
  ]),
  /** Largest control datagram, IP and UDP headers included. */
  maxPacketSize: between(154, 2048),
}

const datagrams = {
  transport: Schema.Literal("udp"),
  /** Undefined: straight to the server. */
  proxy: optional(SocksProxy),
  /** Whether the server may go on from another address. */
  float: Schema.Boolean,
  /** How often the exit is announced; undefined: not at all. */
  explicitExitNotify: optional(between(1, 255)),
  /** Largest datagram of the data channel; larger packets are split inside the tunnel. Undefined: no framing for it. */
  fragment: optional(Schema.Struct({ size: between(68, 65535), counts: Schema.Literals(["mtu", "payload"]) })),
}

/** What is for datagrams only is never there over TCP. */
const stream = {
  transport: Schema.Literal("tcp"),
  proxy: optional(ProxyServer),
  float: Schema.Literal(false),
  explicitExitNotify: Schema.Undefined,
  fragment: Schema.Undefined,
}

/** One `remote` line or `<connection>` block, with everything that may differ between them. */
export const Remote = Schema.Union([
  Schema.Struct({ ...endpoint, ...datagrams, controlWrapping: ControlWrapping }),
  Schema.Struct({ ...endpoint, ...stream, controlWrapping: ControlWrapping }),
])
export type Remote = typeof Remote.Type

/** The same where there is no control channel to wrap. */
export const PlainRemote = Schema.Union([
  Schema.Struct({ ...endpoint, ...datagrams, controlWrapping: Plain }),
  Schema.Struct({ ...endpoint, ...stream, controlWrapping: Plain }),
])
export type PlainRemote = typeof PlainRemote.Type
