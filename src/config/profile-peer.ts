/** Who the server must be, and what proves to it who we are. */
import { Schema } from "effect"
import { optional, SecretString } from "./profile-words.ts"

/** What proves that the server is the right one. Without `ca` and fingerprint the authority is that of a PKCS#12 identity. */
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
  /** The fields of the subject that `name` and `name-prefix` compare; `ext:subjectAltName` its mail addresses. */
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

/** `static-challenge`: a one-time code along with the password. */
export const StaticChallenge = Schema.Struct({
  text: Schema.String,
  /** The answer may be seen while it is typed. */
  echo: Schema.Boolean,
  /** "scrv1": password and code in OpenVPN's encoding; "concat": the one behind the other, which the server cannot tell from a password. */
  form: Schema.Literals(["scrv1", "concat"]),
})
export type StaticChallenge = typeof StaticChallenge.Type

export const Credentials = Schema.TaggedUnion({
  /** In the file, or in the file that `auth-user-pass FILE` names. */
  Given: { username: Schema.String, password: SecretString, challenge: optional(StaticChallenge) },
  /** `auth-nocache`: the file that `auth-user-pass FILE` names is read at each login, and nothing of it is kept. */
  File: { path: Schema.String, challenge: optional(StaticChallenge) },
  /** Asked for when needed: both, or the password of this user. */
  Ask: { username: optional(Schema.String), challenge: optional(StaticChallenge) },
})
export type Credentials = typeof Credentials.Type
