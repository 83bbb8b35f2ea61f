/**
 * The meaning of a client configuration: complete (every default filled in) and free of contradictions.
 * Times are in seconds as in the file, sizes in bytes. Secrets are `Redacted`: they print as `<redacted>`.
 */
import { Schema } from "effect"

export const Transport = Schema.Literals(["udp", "tcp"])
export type Transport = typeof Transport.Type

export const AddressFamily = Schema.Literals(["any", "ipv4", "ipv6"])
export type AddressFamily = typeof AddressFamily.Type

/** The ciphers of the data channel that authenticate by themselves, by OpenVPN's names. */
export const AeadCipher = Schema.Literals(["AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305"])
export type AeadCipher = typeof AeadCipher.Type

/** The ciphers that need a digest (`auth`) beside them. */
export const CbcCipher = Schema.Literals(["AES-256-CBC", "AES-192-CBC", "AES-128-CBC"])
export type CbcCipher = typeof CbcCipher.Type

/** What can be negotiated for the data channel. */
export const DataCipher = Schema.Union([AeadCipher, CbcCipher])
export type DataCipher = typeof DataCipher.Type

export const DigestName = Schema.Literals(["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
export type DigestName = typeof DigestName.Type

export const TlsVersion = Schema.Literals(["1.0", "1.1", "1.2", "1.3"])
export type TlsVersion = typeof TlsVersion.Type

const optional = Schema.UndefinedOr
const SecretString = Schema.Redacted(Schema.String)
/** 256 bytes: two slots of 64 bytes cipher key and 64 bytes HMAC key. */
const StaticKey = Schema.Redacted(Schema.Uint8Array)
/** As in the file: 0, 1, or undefined for one key in both directions. */
const KeyDirection = optional(Schema.Literals([0, 1]))

/** How control packets are authenticated or encrypted, apart from TLS. */
export const ControlWrapping = Schema.TaggedUnion({
  Plain: {},
  TlsAuth: { key: StaticKey, direction: KeyDirection },
  TlsCrypt: { key: StaticKey },
  /** `wrapped`: the client key as only the server can read it, sent along with the first packet. */
  TlsCryptV2: { key: StaticKey, wrapped: Schema.Redacted(Schema.Uint8Array) },
})
export type ControlWrapping = typeof ControlWrapping.Type

/** User name and password of a proxy: in the file, or asked for when the proxy wants them. */
export const ProxyLogin = Schema.TaggedUnion({
  Given: { username: Schema.String, password: SecretString },
  Ask: {},
})
export type ProxyLogin = typeof ProxyLogin.Type

/** What the connection to a server goes through. */
export const ProxyServer = Schema.TaggedUnion({
  Http: {
    host: Schema.String,
    port: Schema.Int,
    /** "any": the strongest that the proxy offers; "any-but-basic": the same, but the password never goes in clear. */
    authentication: optional(
      Schema.Struct({ method: Schema.Literals(["basic", "ntlm", "ntlm2", "any", "any-but-basic"]), login: ProxyLogin }),
    ),
    version: Schema.Literals(["1.0", "1.1"]),
    userAgent: optional(Schema.String),
    headers: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  },
  Socks: { host: Schema.String, port: Schema.Int, login: optional(ProxyLogin) },
})
export type ProxyServer = typeof ProxyServer.Type

/** One `remote` line or `<connection>` block, with everything that may differ between them. */
export const Remote = Schema.Struct({
  host: Schema.String,
  port: Schema.Int,
  transport: Transport,
  family: AddressFamily,
  /** Undefined: straight to the server. */
  proxy: optional(ProxyServer),
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
  /** Largest datagram of the data channel; larger packets are split inside the tunnel. Undefined: no framing for it. UDP only. */
  fragment: optional(Schema.Struct({ size: Schema.Int, counts: Schema.Literals(["mtu", "payload"]) })),
  /** Largest control datagram, IP and UDP headers included. */
  maxPacketSize: Schema.Int,
})
export type Remote = typeof Remote.Type

/** What proves that the server is the right one. At least one of `ca`, `fingerprints` and a PKCS#12 identity is given. */
export const ServerTrust = Schema.Struct({
  /** PEM, one certificate or more. */
  ca: optional(Schema.String),
  /** SHA-256 of the leaf, lower-case hex without colons. */
  fingerprints: Schema.Array(Schema.String),
  /** Of the certificate that signed the leaf, in the same form; any of them will do. */
  issuerFingerprints: optional(
    Schema.Struct({ digest: Schema.Literals(["SHA1", "SHA256"]), values: Schema.NonEmptyArray(Schema.String) }),
  ),
  /** `Directory` holds a file for each revoked certificate, named by its serial number in decimal. */
  revoked: optional(Schema.TaggedUnion({ List: { pem: Schema.String }, Directory: { path: Schema.String } })),
  remoteCertTls: optional(Schema.Literals(["server", "client"])),
  /** The key usage has all bits of one of these; an empty list: it has any. X.509 bits as in `openvpn`, digitalSignature 0x80. */
  remoteCertKu: optional(Schema.Array(Schema.Int)),
  /** Dotted, or a name that OpenSSL knows. */
  remoteCertEku: optional(Schema.String),
  nsCertType: optional(Schema.Literals(["server", "client"])),
  verifyX509Name: optional(
    Schema.Struct({ form: Schema.Literals(["subject", "name", "name-prefix"]), value: Schema.String }),
  ),
  /** The fields of the subject that `name` and `name-prefix` compare; `ext:` before the name of an extension. */
  x509UsernameFields: Schema.NonEmptyArray(Schema.String),
})
export type ServerTrust = typeof ServerTrust.Type

/** Our certificate and key. `passphrase`: undefined when the file does not give one. */
export const Identity = Schema.TaggedUnion({
  /** The first certificate is ours, others are its chain. */
  Pem: { certificate: Schema.String, key: SecretString, passphrase: optional(SecretString) },
  /** DER with certificate, key and, when `ca` is not given, the authority. `chain`: further certificates in PEM. */
  Pkcs12: {
    bytes: Schema.Redacted(Schema.Uint8Array),
    chain: optional(Schema.String),
    passphrase: optional(SecretString),
  },
})
export type Identity = typeof Identity.Type

export const Credentials = Schema.TaggedUnion({
  /** In the file, or in the file that `auth-user-pass FILE` names. */
  Given: { username: Schema.String, password: SecretString },
  /** Asked for when needed: both, or the password of this user. */
  Ask: { username: optional(Schema.String) },
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

/** One `dns server N`. */
export const DnsServer = Schema.Struct({
  /** The lowest is asked first. */
  priority: Schema.Int,
  /** With the port of each; undefined: that of the transport. */
  addresses: Schema.NonEmptyArray(Schema.Struct({ address: Schema.String, port: optional(Schema.Int) })),
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
  ifconfigIpv6: optional(Schema.Struct({ local: Schema.String, prefix: Schema.Int, remote: Schema.String })),
  routeGateway: optional(Schema.String),
  routeIpv6Gateway: optional(Schema.String),
  routeMetric: optional(Schema.Int),
  routes: Schema.Array(Route),
  routesIpv6: Schema.Array(Route),
  redirectGateway: optional(Schema.Array(RedirectFlag)),
  redirectPrivate: optional(Schema.Array(RedirectFlag)),
  blockIpv6: Schema.Boolean,
  /** One-to-one translation of addresses; `snat` of our networks, `dnat` of those behind the server. */
  clientNat: Schema.Array(
    Schema.Struct({
      kind: Schema.Literals(["snat", "dnat"]),
      network: Schema.String,
      prefix: Schema.Int,
      alias: Schema.String,
    }),
  ),
  /** `dhcp-option` as written: type in capitals, value. */
  dhcpOptions: Schema.Array(Schema.Struct({ type: Schema.String, value: Schema.String })),
  /** Of `dns`, servers by ascending priority. */
  dns: Schema.Struct({ servers: Schema.Array(DnsServer), searchDomains: Schema.Array(Schema.String) }),
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

/**
 * The framing of compression in the data channel. `lzo-off` is `comp-lzo no`; `stub`, `stub-v2` and `lzo-off` never compress.
 * `allow`: "no" takes uncompressed packets only, "asym" also compressed ones. What is sent is never compressed.
 */
export const Compression = Schema.Struct({
  framing: Schema.Literals(["lzo-off", "lzo", "stub", "stub-v2", "lz4", "lz4-v2"]),
  allow: Schema.Literals(["no", "asym"]),
})
export type Compression = typeof Compression.Type

/** What both kinds of profile have. */
const common = {
  /** `name` "tun": any free name; "tun5" or "vpn0": that device, preallocated or created. */
  device: Schema.Struct({ type: Schema.Literals(["tun", "tap"]), name: Schema.String }),
  remotes: Schema.NonEmptyArray(Remote),
  remoteRandom: Schema.Boolean,
  /** Six random bytes in hex and a dot come before the name at each look-up: no cache has it. */
  remoteRandomHostname: Schema.Boolean,
  /** Rounds over all remotes before giving up; undefined: for ever. */
  connectRetryMax: optional(Schema.Int),
  /** Seconds without a name that resolves before giving up; undefined: for ever. */
  resolvRetry: optional(Schema.Int),
  /** Options of the transport's socket; undefined: the kernel's. Buffers in bytes. */
  socket: Schema.Struct({
    sendBuffer: optional(Schema.Int),
    receiveBuffer: optional(Schema.Int),
    mark: optional(Schema.Int),
    bindDevice: optional(Schema.String),
  }),
  /** HMAC of tls-auth and of CBC ciphers. */
  auth: DigestName,
  compression: optional(Compression),
  replayWindow: Schema.Struct({ packets: Schema.Int, seconds: Schema.Int }),
  timers: Schema.Struct({
    handWindow: Schema.Int,
    tranWindow: Schema.Int,
    tlsTimeout: Schema.Int,
    /** 0: never by time. */
    renegSec: Schema.Int,
    /** Each connection draws its own time between this and `renegSec`; undefined: `renegSec` itself. */
    renegSecMinimum: optional(Schema.Int),
    renegBytes: Schema.Int,
    renegPackets: Schema.Int,
  }),
  keepalive: KeepaliveOptions,
  network: NetworkOptions,
  /** Leave addresses, or routes, to somebody else. */
  ifconfigNoexec: Schema.Boolean,
  routeNoexec: Schema.Boolean,
  routeNopull: Schema.Boolean,
  allowPullFqdn: Schema.Boolean,
  pullFilters: Schema.Array(
    Schema.Struct({ action: Schema.Literals(["accept", "ignore", "reject"]), prefix: Schema.String }),
  ),
  /** `push-peer-info`, and the UV_* and IV_* variables that `setenv` sets. */
  peerInfo: Schema.Struct({
    push: Schema.Boolean,
    variables: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  }),
  authRetry: Schema.Literals(["none", "nointeract", "interact"]),
  persistTun: Schema.Boolean,
  verb: Schema.Int,
}

/** Keys are exchanged with TLS, and the server is known by `trust`. */
export const TlsProfile = Schema.Struct({
  mode: Schema.Literal("tls"),
  ...common,
  pull: Schema.Boolean,
  trust: ServerTrust,
  identity: optional(Identity),
  credentials: optional(Credentials),
  /** Asked for along with the password; `echo`: the answer may be seen while it is typed. */
  staticChallenge: optional(Schema.Struct({ text: Schema.String, echo: Schema.Boolean })),
  tls: Schema.Struct({
    minimum: TlsVersion,
    maximum: optional(TlsVersion),
    /** OpenSSL cipher list for TLS 1.2 and below; undefined: OpenVPN's default. */
    ciphers: optional(Schema.String),
    ciphersuites: optional(Schema.String),
    groups: optional(Schema.String),
    certProfile: Schema.Literals(["insecure", "legacy", "preferred", "suiteb"]),
  }),
  dataCiphers: Schema.NonEmptyArray(DataCipher),
  dataCiphersFallback: optional(DataCipher),
})
export type TlsProfile = typeof TlsProfile.Type

/** Both sides have one key; nothing is negotiated and nothing is pulled. Its remotes have plain control wrapping. */
export const StaticKeyProfile = Schema.Struct({
  mode: Schema.Literal("static-key"),
  ...common,
  pull: Schema.Literal(false),
  staticKey: Schema.Struct({ key: StaticKey, direction: KeyDirection }),
  cipher: CbcCipher,
})
export type StaticKeyProfile = typeof StaticKeyProfile.Type

export const Profile = Schema.Union([TlsProfile, StaticKeyProfile])
export type Profile = typeof Profile.Type
