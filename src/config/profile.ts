/**
 * The meaning of a client configuration: complete (every default filled in) and free of contradictions.
 * Times are in seconds as in the file, sizes in bytes. Secrets are `Redacted`: they print as `<redacted>`.
 */
import { Schema } from "effect"

export const Transport = Schema.Literals(["udp", "tcp"])
export type Transport = typeof Transport.Type

export const AddressFamily = Schema.Literals(["any", "ipv4", "ipv6"])
export type AddressFamily = typeof AddressFamily.Type

/** The ciphers of the data channel that can be negotiated, by OpenVPN's names. */
export const DataCipher = Schema.Literals(["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"])
export type DataCipher = typeof DataCipher.Type

export const DigestName = Schema.Literals(["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
export type DigestName = typeof DigestName.Type

export const TlsVersion = Schema.Literals(["1.0", "1.1", "1.2", "1.3"])
export type TlsVersion = typeof TlsVersion.Type

const optional = Schema.UndefinedOr
const SecretString = Schema.Redacted(Schema.String)
/** 256 bytes: two slots of 64 bytes cipher key and 64 bytes HMAC key. */
const StaticKey = Schema.Redacted(Schema.Uint8Array)

/** How control packets are authenticated or encrypted, apart from TLS. */
export const ControlWrapping = Schema.TaggedUnion({
  Plain: {},
  /** `direction` as in the file: 0, 1, or undefined for one key in both directions. */
  TlsAuth: { key: StaticKey, direction: optional(Schema.Literals([0, 1])) },
  TlsCrypt: { key: StaticKey },
})
export type ControlWrapping = typeof ControlWrapping.Type

/** One `remote` line or `<connection>` block, with everything that may differ between them. */
export const Remote = Schema.Struct({
  host: Schema.String,
  port: Schema.Int,
  transport: Transport,
  family: AddressFamily,
  /** Where the socket is bound; undefined: wherever the kernel likes. */
  local: optional(Schema.Struct({ address: optional(Schema.String), port: optional(Schema.Int) })),
  float: Schema.Boolean,
  /** From the first packet to the server's first answer. */
  connectTimeout: Schema.Int,
  connectRetry: Schema.Struct({ wait: Schema.Int, maximum: Schema.Int }),
  /** How often the exit is announced; undefined: not at all. UDP only. */
  explicitExitNotify: optional(Schema.Int),
  controlWrapping: ControlWrapping,
  tunMtu: Schema.Int,
  /** MSS clamp: "off", or a size that counts the outer headers (`mtu`), the UDP payload (`payload`) or the inner packet (`fixed`). */
  mssfix: Schema.Union([
    Schema.Literal("off"),
    Schema.Struct({ size: Schema.Int, counts: Schema.Literals(["mtu", "payload", "fixed"]) }),
  ]),
  /** Largest control datagram, IP and UDP headers included. */
  maxPacketSize: Schema.Int,
})
export type Remote = typeof Remote.Type

/** What proves that the server is the right one. At least one of `ca` and `fingerprints` is given. */
export const ServerTrust = Schema.Struct({
  /** PEM, one certificate or more. */
  ca: optional(Schema.String),
  /** SHA-256 of the leaf, lower-case hex without colons. */
  fingerprints: Schema.Array(Schema.String),
  remoteCertTls: optional(Schema.Literals(["server", "client"])),
  verifyX509Name: optional(
    Schema.Struct({ form: Schema.Literals(["subject", "name", "name-prefix"]), value: Schema.String }),
  ),
})
export type ServerTrust = typeof ServerTrust.Type

export const Identity = Schema.Struct({
  /** PEM; the first certificate is ours, others are its chain. */
  certificate: Schema.String,
  key: SecretString,
})
export type Identity = typeof Identity.Type

export const Credentials = Schema.TaggedUnion({
  /** In the file, or in the file that `auth-user-pass FILE` names. */
  Given: { username: Schema.String, password: SecretString },
  /** `auth-user-pass` without an argument: asked for when needed. */
  Ask: {},
})
export type Credentials = typeof Credentials.Type

export const Route = Schema.Struct({
  /** IPv4 or IPv6 address, a host name, or `vpn_gateway`/`net_gateway`/`remote_host`. */
  network: Schema.String,
  prefix: Schema.Int,
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

/** Addresses, routes and names: what a file or a push says about the network. */
export const NetworkOptions = Schema.Struct({
  topology: optional(Schema.Literals(["net30", "p2p", "subnet"])),
  /** `second` is a netmask with topology subnet, else the peer's address. */
  ifconfig: optional(Schema.Struct({ local: Schema.String, second: Schema.String })),
  ifconfigIpv6: optional(Schema.Struct({ local: Schema.String, prefix: Schema.Int, remote: Schema.String })),
  routeGateway: optional(Schema.String),
  routeMetric: optional(Schema.Int),
  routes: Schema.Array(Route),
  routesIpv6: Schema.Array(Route),
  redirectGateway: optional(Schema.Array(RedirectFlag)),
  redirectPrivate: optional(Schema.Array(RedirectFlag)),
  blockIpv6: Schema.Boolean,
  /** `dhcp-option` as written: type in capitals, value. */
  dhcpOptions: Schema.Array(Schema.Struct({ type: Schema.String, value: Schema.String })),
})
export type NetworkOptions = typeof NetworkOptions.Type

/** Undefined: not said. 0: switched off. */
export const KeepaliveOptions = Schema.Struct({
  ping: optional(Schema.Int),
  pingRestart: optional(Schema.Int),
  pingExit: optional(Schema.Int),
  inactive: optional(Schema.Struct({ seconds: Schema.Int, bytes: Schema.Int })),
  sessionTimeout: optional(Schema.Int),
})
export type KeepaliveOptions = typeof KeepaliveOptions.Type

export const Profile = Schema.Struct({
  /** `name` "tun": any free name; "tun5" or "vpn0": that device, preallocated or created. */
  device: Schema.Struct({ type: Schema.Literal("tun"), name: Schema.String }),
  remotes: Schema.NonEmptyArray(Remote),
  remoteRandom: Schema.Boolean,
  /** Rounds over all remotes before giving up; undefined: for ever. */
  connectRetryMax: optional(Schema.Int),
  /** Seconds; undefined: infinite. */
  resolvRetry: optional(Schema.Int),
  pull: Schema.Boolean,
  trust: ServerTrust,
  identity: optional(Identity),
  credentials: optional(Credentials),
  authRetry: Schema.Literals(["none", "nointeract", "interact"]),
  tls: Schema.Struct({
    minimum: TlsVersion,
    maximum: optional(TlsVersion),
    /** OpenSSL cipher list for TLS 1.2 and below; undefined: OpenVPN's default. */
    ciphers: optional(Schema.String),
    ciphersuites: optional(Schema.String),
    groups: optional(Schema.String),
    certProfile: Schema.Literals(["insecure", "legacy", "preferred", "suiteb"]),
  }),
  /** HMAC of tls-auth (and of CBC ciphers). */
  auth: DigestName,
  dataCiphers: Schema.NonEmptyArray(DataCipher),
  dataCiphersFallback: optional(DataCipher),
  replayWindow: Schema.Struct({ packets: Schema.Int, seconds: Schema.Int }),
  timers: Schema.Struct({
    handWindow: Schema.Int,
    tranWindow: Schema.Int,
    tlsTimeout: Schema.Int,
    /** 0: never by time. */
    renegSec: Schema.Int,
    renegBytes: Schema.Int,
    renegPackets: Schema.Int,
  }),
  keepalive: KeepaliveOptions,
  network: NetworkOptions,
  routeNopull: Schema.Boolean,
  pullFilters: Schema.Array(
    Schema.Struct({ action: Schema.Literals(["accept", "ignore", "reject"]), prefix: Schema.String }),
  ),
  /** `push-peer-info`, and the UV_* and IV_* variables that `setenv` sets. */
  peerInfo: Schema.Struct({
    push: Schema.Boolean,
    variables: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  }),
  persistTun: Schema.Boolean,
  verb: Schema.Int,
})
export type Profile = typeof Profile.Type
