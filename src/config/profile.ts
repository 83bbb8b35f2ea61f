/**
 * The meaning of a client configuration: complete (every default filled in) and free of contradictions.
 * Times are in seconds as in the file, sizes in bytes. Secrets are `Redacted`: they print as `<redacted>`.
 */
import { Schema } from "effect"
import { KeepaliveOptions, NetworkOptions } from "./profile-network.ts"
import { Credentials, Identity, ServerTrust } from "./profile-peer.ts"
import { PlainRemote, Remote } from "./profile-remote.ts"
import { between, KeyDirection, optional, Seconds, StaticKey } from "./profile-words.ts"

export * from "./profile-network.ts"
export * from "./profile-peer.ts"
export * from "./profile-remote.ts"

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

/**
 * The framing of compression in the data channel. `lzo-off` is `comp-lzo no`; `stub`, `stub-v2` and `lzo-off` never compress.
 * `allow`: "no" takes uncompressed packets only, "asym" also compressed ones. What is sent is never compressed.
 */
export const Compression = Schema.Union([
  Schema.Struct({ framing: Schema.Literals(["lzo-off", "stub", "stub-v2"]), allow: Schema.Literals(["no", "asym"]) }),
  Schema.Struct({ framing: Schema.Literals(["lzo", "lz4", "lz4-v2"]), allow: Schema.Literal("asym") }),
])
export type Compression = typeof Compression.Type

const count = between(0, Number.MAX_SAFE_INTEGER)

/** What both kinds of profile have, apart from their servers. */
const common = {
  /** `name` "tun": any free name; "tun5" or "vpn0": that device, preallocated or created. */
  device: Schema.Struct({ type: Schema.Literals(["tun", "tap"]), name: Schema.String }),
  remoteRandom: Schema.Boolean,
  /** Six random bytes in hex and a dot come before the name at each look-up: no cache has it. */
  remoteRandomHostname: Schema.Boolean,
  /** Rounds over all remotes before giving up; undefined: for ever. */
  connectRetryMax: optional(between(1, 2147483647)),
  /** Seconds without a name that resolves before giving up; undefined: for ever. */
  resolvRetry: optional(Seconds),
  /** Options of the transport's socket; undefined: not said. Buffers in bytes. */
  socket: Schema.Struct({
    sendBuffer: optional(between(1, 2147483647)),
    receiveBuffer: optional(between(1, 2147483647)),
    mark: optional(between(0, 2147483647)),
    bindDevice: optional(Schema.String),
    /** UDP only: datagrams have the DSCP of the packet in them. */
    passTos: Schema.Boolean,
  }),
  /** HMAC of tls-auth and of CBC ciphers. */
  auth: DigestName,
  compression: optional(Compression),
  replayWindow: Schema.Struct({ packets: between(0, 65536), seconds: between(0, 600) }),
  timers: Schema.Struct({
    handWindow: Seconds,
    tranWindow: Seconds,
    tlsTimeout: Seconds,
    /** 0: never by time. */
    renegSec: Seconds,
    /** Each connection draws its own time between this and `renegSec`; undefined: `renegSec` itself. */
    renegSecMinimum: optional(Seconds),
    renegBytes: count,
    renegPackets: count,
  }).pipe(
    Schema.check(
      Schema.makeFilter(
        ({ renegSec, renegSecMinimum = 0 }) => renegSecMinimum <= renegSec || "renegSecMinimum above renegSec",
      ),
    ),
  ),
  keepalive: KeepaliveOptions,
  network: NetworkOptions,
  /** Leave addresses, or routes, to somebody else. */
  ifconfigNoexec: Schema.Boolean,
  routeNoexec: Schema.Boolean,
  routeNopull: Schema.Boolean,
  allowPullFqdn: Schema.Boolean,
  allowRecursiveRouting: Schema.Boolean,
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
  verb: between(0, 15),
}

/** What both kinds of `TlsProfile` have. */
const tls = {
  mode: Schema.Literal("tls"),
  ...common,
  remotes: Schema.NonEmptyArray(Remote),
  trust: ServerTrust,
  identity: optional(Identity),
  tls: Schema.Struct({
    minimum: TlsVersion,
    maximum: optional(TlsVersion),
    /** OpenSSL cipher list for TLS 1.2 and below; undefined: OpenVPN's default. */
    ciphers: optional(Schema.String),
    ciphersuites: optional(Schema.String),
    groups: optional(Schema.String),
    certProfile: Schema.Literals(["insecure", "legacy", "preferred", "suiteb"]),
  }).pipe(
    Schema.check(
      Schema.makeFilter(
        ({ minimum, maximum = "1.3" }) => Number(minimum) <= Number(maximum) || "minimum above maximum",
      ),
    ),
  ),
  dataCiphers: Schema.NonEmptyArray(DataCipher),
  dataCiphersFallback: optional(DataCipher),
  /** Decides nothing: the server is told, and may compare it with its own. */
  cipher: optional(DataCipher),
}

/** Keys are exchanged with TLS, and the server is known by `trust`. Only a client that pulls can log in. */
export const TlsProfile = Schema.Union([
  Schema.Struct({ ...tls, pull: Schema.Literal(true), credentials: optional(Credentials) }),
  Schema.Struct({ ...tls, pull: Schema.Literal(false), credentials: Schema.Undefined }),
]).pipe(
  Schema.check(
    Schema.makeFilter(
      ({ trust, identity }) =>
        trust.ca !== undefined ||
        trust.fingerprints.length > 0 ||
        identity?._tag === "Pkcs12" ||
        "nothing says which server to trust",
    ),
  ),
)
export type TlsProfile = typeof TlsProfile.Type

/** Both sides have one key; nothing is negotiated and nothing is pulled. */
export const StaticKeyProfile = Schema.Struct({
  mode: Schema.Literal("static-key"),
  ...common,
  remotes: Schema.NonEmptyArray(PlainRemote),
  pull: Schema.Literal(false),
  staticKey: Schema.Struct({ key: StaticKey, direction: KeyDirection }),
  cipher: CbcCipher,
})
export type StaticKeyProfile = typeof StaticKeyProfile.Type

export const Profile = Schema.Union([TlsProfile, StaticKeyProfile])
export type Profile = typeof Profile.Type
