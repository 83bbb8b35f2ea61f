/**
 * One TLS connection over two memory BIOs: bytes in, bytes out, nothing waits.
 *
 * Ciphertext leaves OpenSSL through `#collect` alone, and during the handshake only after the peer's certificate, once it
 * is known, was accepted. So a refused server never sees our certificate or Finished: that flight, which OpenSSL writes
 * in the same step in which it reads the server's, is thrown away and an alert takes its place.
 */
import { decodePeer, type PeerCertificate, type PeerCheck } from "./certificate.ts"
import { describeChainFailure } from "./chain.ts"
import type { RevocationLists } from "./crl.ts"
import { libcrypto, libssl, OpenSslError, opensslError, type QueuedError, required, takeErrors } from "./library.ts"
import { allocate, cString, gathered } from "./memory.ts"

export type TlsState =
  | { readonly tag: "handshaking" }
  | {
      readonly tag: "open"
      readonly version: string
      readonly cipher: string
      readonly peer: PeerCertificate | undefined
    }
  | { readonly tag: "failed"; readonly message: string; readonly check?: PeerCheck }
  | { readonly tag: "closed" }

/** Order of use after every input: `feed`, then `read` until undefined, then `pull`. */
export class TlsConnection {
  #state: TlsState = { tag: "handshaking" }
  /** SSL, which owns both BIOs; all 0 after `free`. */
  #ssl: number
  #incoming: number
  #outgoing: number
  #output: Array<Uint8Array> = []
  #peer: PeerCertificate | undefined
  #closing = false
  readonly #revocations: RevocationLists | undefined
  readonly #role: "client" | "server"
  readonly #verify: (peer: PeerCertificate) => { readonly check: PeerCheck; readonly message: string } | undefined

  /** Made by `TlsContext`. `context` is an SSL_CTX that is borrowed for the call. */
  constructor(
    context: number,
    role: "client" | "server",
    verifyMode: number,
    verify: (peer: PeerCertificate) => { readonly check: PeerCheck; readonly message: string } | undefined,
    revocations?: RevocationLists,
  ) {
    this.#revocations = revocations
    libcrypto.ERR_clear_error()
    this.#role = role
    this.#verify = verify
    this.#ssl = required(libssl.SSL_new(context), "starting TLS")
    const memory = libcrypto.BIO_s_mem() ?? 0
    this.#incoming = libcrypto.BIO_new(memory) ?? 0
    this.#outgoing = libcrypto.BIO_new(memory) ?? 0
    libssl.SSL_set_bio(this.#ssl, this.#incoming, this.#outgoing)
    libssl.SSL_set_verify(this.#ssl, verifyMode, 0)
    if (role === "client") {
      libssl.SSL_set_connect_state(this.#ssl)
      this.#handshake()
    } else {
      libssl.SSL_set_accept_state(this.#ssl)
    }
  }

  get state(): TlsState {
    return this.#state
  }

  /** Ciphertext from the peer, cut anywhere. Whatever it is, the outcome is a state. */
  feed(ciphertext: Uint8Array): void {
    if (!this.#alive() || ciphertext.length === 0) return
    const stored = gathered([ciphertext], (address, length) => libcrypto.BIO_write(this.#incoming, address, length))
    if (stored !== ciphertext.length) this.#fail("TLS: out of memory")
    else if (this.#state.tag === "handshaking") this.#handshake()
  }

  /** All ciphertext that waits to be sent, or undefined. */
  pull(): Uint8Array | undefined {
    if (this.#output.length === 0) return undefined
    const [first, ...others] = this.#output
    this.#output = []
    return others.length === 0 ? first : concatenated([first!, ...others])
  }

  /** Sends plaintext as one record (16 KiB at most). Does nothing unless open. */
  write(plaintext: Uint8Array): void {
    if (!this.#alive() || this.#state.tag !== "open" || this.#closing || plaintext.length === 0) return
    libcrypto.ERR_clear_error()
    const result = gathered([plaintext], (address, length) => libssl.SSL_write(this.#ssl, address, length))
    if (result > 0) this.#collect()
    else this.#stopped(result, "TLS write")
  }

  /** The plaintext of the next record, or undefined. */
  read(): Uint8Array | undefined {
    if (!this.#alive() || this.#state.tag !== "open") return undefined
    libcrypto.ERR_clear_error()
    const length = libssl.SSL_read(this.#ssl, record.address, record.bytes.length)
    if (length <= 0) {
      this.#stopped(length, "TLS read")
      return undefined
    }
    const plaintext = record.bytes.slice(0, length)
    record.bytes.fill(0, 0, length)
    this.#collect()
    return plaintext
  }

  /** RFC 5705 and RFC 8446 exporter without context. Throws unless open. */
  exportKey(label: string, length: number): Uint8Array {
    if (!this.#alive() || this.#state.tag !== "open") throw new OpenSslError("exporting keys from TLS: it is not open")
    libcrypto.ERR_clear_error()
    const key = allocate(length)
    const name = cString(label)
    const done = libssl.SSL_export_keying_material(
      this.#ssl,
      key.address,
      length,
      name.address,
      name.bytes.length - 1,
      0,
      0,
      0,
    )
    if (done !== 1) throw opensslError("exporting keys from TLS")
    return key.bytes.subarray(0, length)
  }

  /** Queues a close_notify when open. */
  close(): void {
    if (!this.#alive() || this.#state.tag !== "open" || this.#closing) return
    this.#closing = true
    libcrypto.ERR_clear_error()
    libssl.SSL_shutdown(this.#ssl)
    this.#collect()
  }

  /** Idempotent; every other call does nothing afterwards, but what was queued can still be pulled. */
  free(): void {
    libssl.SSL_free(this.#ssl)
    this.#ssl = 0
    this.#incoming = 0
    this.#outgoing = 0
  }

  [Symbol.dispose](): void {
    this.free()
  }

  #alive(): boolean {
    return this.#ssl !== 0 && this.#state.tag !== "failed" && this.#state.tag !== "closed"
  }

  #handshake(): void {
    libcrypto.ERR_clear_error()
    const result = libssl.SSL_do_handshake(this.#ssl)
    const outcome = libssl.SSL_get_error(this.#ssl, result)
    const errors = takeErrors()
    if (errors.some((error) => error.code === CERTIFICATE_VERIFY_FAILED)) {
      this.#collect()
      this.#state = { tag: "failed", ...describeChainFailure(this.#ssl, this.#role) }
      return
    }
    const refusal = this.#refusal(result === 1)
    if (refusal !== undefined) {
      libcrypto.BIO_ctrl(this.#outgoing, BIO_CTRL_RESET, 0, 0)
      // Both versions of TLS let a server take an unprotected alert at this point of the handshake.
      if (this.#role === "client") this.#output.push(BAD_CERTIFICATE_ALERT.slice())
      this.#fail(refusal.message, refusal.check)
      return
    }
    this.#collect()
    if (result === 1) this.#state = this.#opened()
    else if (outcome !== SSL_ERROR_WANT_READ) this.#fail(this.#reason(errors, "TLS handshake"))
  }

  /** Judges the peer's certificate as soon as there is one; undefined when nothing is (or yet) wrong. */
  #refusal(complete: boolean): { readonly check: PeerCheck; readonly message: string } | undefined {
    if (this.#peer !== undefined) return undefined
    const x509 = libssl.SSL_get0_peer_certificate(this.#ssl)
    if (!x509) {
      // No cipher suite that the context allows does without; an unverified peer must not depend on that list alone.
      const anonymous = complete && this.#role === "client"
      return anonymous ? { check: "certificate", message: "the server has no certificate" } : undefined
    }
    const chain = this.#verifiedChain()
    const peer = decodePeer(x509, chain.slice(1))
    const revoked = this.#revocations?.hasAnyOf([x509, ...chain]) === true
    const refusal = revoked
      ? ({ check: "chain", message: "crl-verify: the certificate, or one above it, is revoked" } as const)
      : this.#verify(peer)
    if (refusal === undefined) this.#peer = peer
    return refusal
  }

  /** X509 pointers that the connection owns, the peer's own first; empty where no chain is verified. */
  #verifiedChain(): ReadonlyArray<number> {
    const chain = libssl.SSL_get0_verified_chain(this.#ssl)
    const length = chain ? libcrypto.OPENSSL_sk_num(chain) : 0
    return Array.from({ length }, (_, index) => libcrypto.OPENSSL_sk_value(chain ?? 0, index) ?? 0)
  }

  #opened(): TlsState {
    return {
      tag: "open",
      version: libssl.SSL_get_version(this.#ssl) ?? "",
      cipher: libssl.SSL_CIPHER_get_name(libssl.SSL_get_current_cipher(this.#ssl) ?? 0) ?? "",
      peer: this.#peer,
    }
  }

  /** After a read or write that moved nothing. */
  #stopped(result: number, doing: string): void {
    const code = libssl.SSL_get_error(this.#ssl, result)
    const errors = takeErrors()
    this.#collect()
    if (code === SSL_ERROR_WANT_READ) return
    if (code === SSL_ERROR_ZERO_RETURN) this.#state = { tag: "closed" }
    else this.#fail(this.#reason(errors, doing))
  }

  #fail(message: string, check?: PeerCheck): void {
    this.#state = check === undefined ? { tag: "failed", message } : { tag: "failed", message, check }
  }

  #reason(errors: ReadonlyArray<QueuedError>, doing: string): string {
    for (const { code, text } of errors) {
      if (code >= ALERT_RECEIVED && code <= ALERT_RECEIVED + 255) {
        const description = text.replace(/^(?:ssl\/tls|sslv3|tlsv1|tlsv13) (?:alert )?/, "").replace(/ \(.*\)$/, "")
        return `${this.#role === "client" ? "server" : "client"} sent TLS alert: ${description}`
      }
    }
    // What libssl makes of a failure says more than the primitive underneath it.
    const cause = errors.find(({ code }) => code >>> 23 === ERR_LIB_SSL) ?? errors[0]
    return `${doing}: ${cause?.text ?? "OpenSSL gives no reason"}`
  }

  #collect(): void {
    for (;;) {
      const length = libcrypto.BIO_read(this.#outgoing, record.address, record.bytes.length)
      if (length <= 0) return
      this.#output.push(record.bytes.slice(0, length))
    }
  }
}

function concatenated(parts: ReadonlyArray<Uint8Array>): Uint8Array {
  const whole = new Uint8Array(new ArrayBuffer(parts.reduce((total, part) => total + part.length, 0)))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** Takes the longest plaintext of a record, so that one `SSL_read` returns one record. */
const record = allocate(16 * 1024)
const SSL_ERROR_WANT_READ = 2
const SSL_ERROR_ZERO_RETURN = 6
const BIO_CTRL_RESET = 1
const ERR_LIB_SSL = 20
/** SSL_R_CERTIFICATE_VERIFY_FAILED; the first of those for received alerts (SSL_AD_REASON_OFFSET). */
const CERTIFICATE_VERIFY_FAILED = (ERR_LIB_SSL << 23) | 134
const ALERT_RECEIVED = (ERR_LIB_SSL << 23) | 1000
/** Record type alert, version 1.2 as all records of a handshake carry, 2 bytes: fatal, bad_certificate. */
const BAD_CERTIFICATE_ALERT = Uint8Array.of(0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x2a)
