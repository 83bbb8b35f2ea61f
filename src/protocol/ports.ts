/**
 * What the pure protocol needs from outside. `openssl/` implements `Crypto` and `Tls`; tests may bring their own.
 * Nothing here reads a clock, a file or a socket, and every call is synchronous: bytes in, bytes out.
 */

/** A point in time: milliseconds of a monotonic clock with an arbitrary origin. */
export type Instant = number

export type Digest = "MD5" | "SHA1" | "SHA224" | "SHA256" | "SHA384" | "SHA512"

/** Cryptographically secure random bytes. */
export interface Random {
  bytes(length: number): Uint8Array
}

export interface Crypto {
  /** HMAC over the concatenation of `parts`; returns the full digest. */
  hmac(digest: Digest, key: Uint8Array, ...parts: ReadonlyArray<Uint8Array>): Uint8Array
  hash(digest: Digest, ...parts: ReadonlyArray<Uint8Array>): Uint8Array
  /** AES-256-CTR, 32-byte key, 16-byte initial counter block; encryption and decryption are the same operation. */
  aes256ctr(key: Uint8Array, counter: Uint8Array, data: Uint8Array): Uint8Array
  /** Comparison in constant time; false when the lengths differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean
}

/** Makes one TLS connection per key state (a renegotiation is a new TLS handshake, not a TLS renegotiation). */
export interface Tls {
  /** Starts a handshake as client. Ciphertext to send is taken with `pull` straight away. */
  connect(): TlsConnection
}

/**
 * TLS over memory buffers. Order of use after every input: `feed`, then `read` until undefined, then `pull`.
 * After `state` became "failed" every method but `pull` and `free` does nothing; `pull` may still return an alert.
 * When the peer's certificate is refused nothing that was produced after it (client certificate, Finished) is returned by `pull`.
 */
export interface TlsConnection {
  readonly state: TlsState
  /** Ciphertext from the peer; may hold any number of records or parts of one. */
  feed(ciphertext: Uint8Array): void
  /** All ciphertext that waits to be sent, or undefined. */
  pull(): Uint8Array | undefined
  /** Sends plaintext as one record per call. Only when `state.tag` is "open". */
  write(plaintext: Uint8Array): void
  /** The next plaintext that arrived (one record at most per call), or undefined. */
  read(): Uint8Array | undefined
  /** RFC 5705 exporter without context. Only when open. */
  exportKey(label: string, length: number): Uint8Array
  /** Queues a close_notify; `pull` returns it. */
  close(): void
  /** Releases the native state; idempotent. */
  free(): void
}

export type TlsState =
  | { readonly tag: "handshaking" }
  /** `version` as "TLSv1.3", `cipher` as OpenSSL names it, `peer` what was verified. */
  | {
      readonly tag: "open"
      readonly version: string
      readonly cipher: string
      readonly peer: PeerCertificate | undefined
    }
  /** `check` says which verification failed when it was one ("chain", "expired", "purpose", "name", "fingerprint", ...). */
  | { readonly tag: "failed"; readonly message: string; readonly check?: PeerCheck }
  /** The peer sent close_notify. */
  | { readonly tag: "closed" }

export type PeerCheck = "chain" | "validity" | "purpose" | "name" | "fingerprint" | "certificate"

/** The facts of a certificate that checks are made on, decoded by `openssl/`. */
export interface PeerCertificate {
  /** As OpenVPN writes it: `C=KG, ST=NA, O=OpenVPN-TEST, CN=server, emailAddress=me@example.net`, order of the certificate. */
  readonly subject: string
  readonly issuer: string
  /** The last CN of the subject, undefined when there is none. */
  readonly commonName: string | undefined
  /** The fields of the subject in the certificate's order, each as dotted OID and value; control characters are `_`. */
  readonly subjectFields: ReadonlyArray<readonly [oid: string, value: string]>
  /** The mail addresses of the extensions subjectAltName and issuerAltName, in the same way. */
  readonly emails: { readonly subjectAltName: ReadonlyArray<string>; readonly issuerAltName: ReadonlyArray<string> }
  /** Bits as in X.509 (digitalSignature 0x80 ... ), undefined when the extension is absent. */
  readonly keyUsage: number | undefined
  /** Dotted OIDs, undefined when the extension is absent. */
  readonly extendedKeyUsage: ReadonlyArray<string> | undefined
  /** Netscape certificate type bits, undefined when absent. */
  readonly netscapeCertType: number | undefined
  /** Unix seconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** SHA-256 over the DER, lower-case hex without separators. */
  readonly sha256: string
  /** Decimal. */
  readonly serial: string
  /** The rest of the verified chain, the certificate that signed this one first; empty where no chain was verified. */
  readonly issuers: ReadonlyArray<{ readonly sha1: string; readonly sha256: string; readonly serial: string }>
}
