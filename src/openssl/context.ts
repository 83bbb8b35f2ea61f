/**
 * What all TLS connections of one profile share: trust, identity, versions and ciphers, as OpenVPN sets them up.
 *
 * No server name is sent or checked, no ALPN, no session tickets or resumption, no compression, no TLS renegotiation; the
 * system's own list of authorities is never consulted.
 */
import type { PeerCertificate, PeerCheck } from "./certificate.ts"
import { RevocationLists } from "./crl.ts"
import { check, libcrypto, libssl, OpenSslError, opensslError, required } from "./library.ts"
import { cString } from "./memory.ts"
import { freeCertificates, readCertificates, readPrivateKey } from "./pem.ts"
import { TlsConnection } from "./tls.ts"

export type TlsVersion = "1.0" | "1.1" | "1.2" | "1.3"

export interface TlsOptions {
  /** PEM, one authority or more. Without it the chain is not checked and `verify` alone decides (`peer-fingerprint`). */
  readonly ca: string | undefined
  /** PEM: our certificate first, then its chain. Given together with `key` or not at all. */
  readonly certificate: string | undefined
  /** PEM */
  readonly key: string | undefined
  readonly passphrase?: string | undefined
  /** Below 1.2 OpenSSL 3 negotiates with `certProfile` "insecure" only. */
  readonly minimum: TlsVersion
  readonly maximum?: TlsVersion | undefined
  /** TLS 1.2 and below; OpenSSL or IANA names. Undefined: OpenVPN's default. */
  readonly ciphers?: string | undefined
  /** TLS 1.3; undefined: OpenSSL's default. */
  readonly ciphersuites?: string | undefined
  /** Those that this OpenSSL does not know are passed over, as OpenVPN does. */
  readonly groups?: string | undefined
  readonly certProfile: "insecure" | "legacy" | "preferred" | "suiteb"
  /** Runs once a connection on the peer's certificate, after the chain was found good; undefined accepts. */
  readonly verify: (peer: PeerCertificate) => { readonly check: PeerCheck; readonly message: string } | undefined
  /** PEM: certificates on these lists are refused, and without a list of its authority the peer's is. */
  readonly revocations?: string | undefined
  /** Server role: a client without a certificate that `ca` vouches for is refused. */
  readonly requirePeer?: boolean | undefined
  /** Unix seconds at which certificates are judged, instead of now. */
  readonly verifyTime?: number | undefined
}

export class TlsContext {
  /** SSL_CTX; connections hold references of their own. */
  #context: number
  readonly #options: TlsOptions
  readonly #revocations: RevocationLists | undefined

  private constructor(context: number, options: TlsOptions, revocations: RevocationLists | undefined) {
    this.#context = context
    this.#options = options
    this.#revocations = revocations
  }

  /** Throws `OpenSslError` that names the option at fault. */
  static create(options: TlsOptions): TlsContext {
    libcrypto.ERR_clear_error()
    const context = required(libssl.SSL_CTX_new(libssl.TLS_method() ?? 0), "making a TLS context")
    let revocations: RevocationLists | undefined
    try {
      if (options.revocations !== undefined) revocations = RevocationLists.read(options.revocations)
      if (options.ca !== undefined) revocations?.apply(context)
      setProtocol(context, options)
      setCiphers(context, options)
      setTrust(context, options)
      setIdentity(context, options)
      return new TlsContext(context, options, revocations)
    } catch (error) {
      revocations?.free()
      libssl.SSL_CTX_free(context)
      throw error
    }
  }

  /** Starts a handshake as client; `pull` has the ClientHello. */
  connect(): TlsConnection {
    const verifyMode = this.#options.ca === undefined ? SSL_VERIFY_NONE : SSL_VERIFY_PEER
    return new TlsConnection(this.#live(), "client", verifyMode, this.#options.verify, this.#revocations)
  }

  /** Waits for a client's handshake. */
  accept(): TlsConnection {
    const verifyMode = this.#options.requirePeer ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE
    return new TlsConnection(this.#live(), "server", verifyMode, this.#options.verify)
  }

  /** Idempotent; connections that were made live on. */
  free(): void {
    libssl.SSL_CTX_free(this.#context)
    this.#context = 0
    this.#revocations?.free()
  }

  [Symbol.dispose](): void {
    this.free()
  }

  #live(): number {
    if (this.#context === 0) throw new OpenSslError("starting TLS: the context is freed")
    return this.#context
  }
}

function setProtocol(context: number, options: TlsOptions): void {
  const { minimum, maximum, certProfile } = options
  if (maximum !== undefined && WIRE_VERSION[maximum] < WIRE_VERSION[minimum]) {
    throw new OpenSslError(`TLS versions: the maximum ${maximum} is below the minimum ${minimum}`)
  }
  if (maximum !== undefined && WIRE_VERSION[maximum] < WIRE_VERSION["1.2"] && certProfile !== "insecure") {
    throw new OpenSslError(`TLS versions: TLS ${maximum} needs tls-cert-profile insecure`)
  }
  libssl.SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION)
  libssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0, 0)
  // SSL_OP_NO_TICKET alone leaves a TLS 1.3 server sending stateful tickets.
  libssl.SSL_CTX_set_num_tickets(context, 0)
  const highest = maximum === undefined ? 0 : WIRE_VERSION[maximum]
  check(
    libssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, WIRE_VERSION[minimum], 0),
    "setting the TLS minimum",
  )
  check(libssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, highest, 0), "setting the TLS maximum")
}

/** `tls-cert-profile`, `tls-cipher`, `tls-ciphersuites`, `tls-groups`. */
function setCiphers(context: number, options: TlsOptions): void {
  libssl.SSL_CTX_set_security_level(context, SECURITY_LEVEL[options.certProfile])
  if (options.certProfile === "suiteb") {
    // The Suite B rules (ciphers, curves, signature algorithms) stick: a later cipher list cannot widen them.
    check(libssl.SSL_CTX_set_cipher_list(context, cString("SUITEB128").address), "setting Suite B ciphers")
  }
  const ciphers = options.ciphers === undefined ? DEFAULT_CIPHERS : opensslCipherNames(options.ciphers)
  check(
    libssl.SSL_CTX_set_cipher_list(context, cString(ciphers + NEVER).address),
    `setting the TLS ciphers "${ciphers}"`,
  )
  if (options.ciphersuites !== undefined) {
    const suites = options.ciphersuites.replaceAll("-", "_")
    check(
      libssl.SSL_CTX_set_ciphersuites(context, cString(suites).address),
      `setting the TLS 1.3 ciphersuites "${suites}"`,
    )
  }
  if (options.groups !== undefined) setGroups(context, options.groups)
}

/** `TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384` becomes `ECDHE-RSA-AES256-GCM-SHA384`; everything else stays. */
function opensslCipherNames(list: string): string {
  return list.replace(/TLS[-_][A-Za-z0-9_-]+/g, (iana) => {
    const name = libssl.OPENSSL_cipher_name(cString(iana.replaceAll("-", "_")).address)
    return name === null || name === "(NONE)" ? iana : name
  })
}

function setGroups(context: number, groups: string): void {
  const accepted = (list: string) =>
    libssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, cString(list).address) === 1
  const known = groups.split(":").filter((group) => group !== "" && accepted(group))
  libcrypto.ERR_clear_error()
  if (known.length === 0) throw new OpenSslError(`setting the TLS groups "${groups}": none of them is known`)
  if (!accepted(known.join(":"))) throw opensslError(`setting the TLS groups "${groups}"`)
}

function setTrust(context: number, options: TlsOptions): void {
  if (options.requirePeer && options.ca === undefined) {
    throw new OpenSslError("requiring a client certificate: there is no ca to check it with")
  }
  if (options.verifyTime !== undefined) {
    libcrypto.X509_VERIFY_PARAM_set_time(libssl.SSL_CTX_get0_param(context) ?? 0, Math.trunc(options.verifyTime))
  }
  if (options.ca === undefined) return
  const authorities = readCertificates(options.ca, "the ca")
  try {
    const store = required(libssl.SSL_CTX_get_cert_store(context), "making a certificate store")
    for (const authority of authorities) check(libcrypto.X509_STORE_add_cert(store, authority), "using the ca")
  } finally {
    freeCertificates(authorities)
  }
}

function setIdentity(context: number, options: TlsOptions): void {
  if (options.certificate === undefined && options.key === undefined) return
  if (options.certificate === undefined) throw new OpenSslError("our certificate: a private key is given without it")
  if (options.key === undefined) throw new OpenSslError("our certificate: it is given without its private key")
  const [leaf, ...chain] = readCertificates(options.certificate, "our certificate")
  let key = 0
  try {
    const hint = options.certProfile === "insecure" ? "" : "; tls-cert-profile says what is strong enough"
    if (libssl.SSL_CTX_use_certificate(context, leaf!) !== 1) throw opensslError("using our certificate", hint)
    for (const link of chain) {
      if (libssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, ADD_A_REFERENCE, link) !== 1) {
        throw opensslError("using the chain of our certificate", hint)
      }
    }
    key = readPrivateKey(options.key, options.passphrase)
    check(libssl.SSL_CTX_use_PrivateKey(context, key), "the private key does not belong to our certificate")
  } finally {
    libcrypto.EVP_PKEY_free(key)
    freeCertificates([leaf!, ...chain])
  }
}

/** What OpenVPN 2.6 sets for TLS 1.2 and below without `tls-cipher`. */
const DEFAULT_CIPHERS = "DEFAULT:!EXP:!LOW:!MEDIUM:!kDH:!kECDH:!DSS:!PSK:!SRP:!kRSA"
/** Without a certificate or without encryption, `tls-cipher` may ask for what it likes. */
const NEVER = ":!aNULL:!eNULL"
const SECURITY_LEVEL = { insecure: 0, legacy: 1, preferred: 2, suiteb: 3 } as const
const WIRE_VERSION: Record<TlsVersion, number> = { "1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303, "1.3": 0x0304 }
const SSL_VERIFY_NONE = 0
const SSL_VERIFY_PEER = 1
const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2
const SSL_OP_NO_TICKET = 1 << 14
const SSL_OP_NO_COMPRESSION = 1 << 17
const SSL_OP_NO_RENEGOTIATION = 1 << 30
const SSL_CTRL_SET_SESS_CACHE_MODE = 44
const SSL_CTRL_CHAIN_CERT = 89
const SSL_CTRL_SET_GROUPS_LIST = 92
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124
const ADD_A_REFERENCE = 1
