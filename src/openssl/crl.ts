/** `crl-verify`: certificates that their authority has revoked. */

import { nameText, unixSeconds } from "./certificate.ts"
import { libcrypto, libssl, required } from "./library.ts"
import { allocate } from "./memory.ts"
import { readAll } from "./pem.ts"

export interface RevocationList {
  readonly issuer: string
  /** Unix seconds; an unreadable date is Infinity here and -Infinity in `nextUpdate`, so that no moment is inside. */
  readonly thisUpdate: number
  /** Undefined: it does not say when it ends. */
  readonly nextUpdate: number | undefined
}

/**
 * Revocation lists in PEM, at least one. The list of the authority that signed the peer's certificate must be among them, and
 * valid: OpenSSL checks that in the handshake. Lists of the authorities above it count where they are given.
 */
export class RevocationLists {
  /** X509_CRL pointers; empty after `free`. */
  private lists: ReadonlyArray<number>

  private constructor(lists: ReadonlyArray<number>) {
    this.lists = lists
  }

  /** Throws `OpenSslError`. */
  static read(pem: string): RevocationLists {
    return new RevocationLists(
      readAll(pem, {
        what: "crl-verify",
        kind: "revocation list",
        read: (bio) => libcrypto.PEM_read_bio_X509_CRL(bio, 0, 0, 0),
        free: (list) => libcrypto.X509_CRL_free(list),
      }),
    )
  }

  /** In the order of the text. */
  describe(): ReadonlyArray<RevocationList> {
    return this.lists.map((list) => {
      const nextUpdate = libcrypto.X509_CRL_get0_nextUpdate(list)
      return {
        issuer: nameText(libcrypto.X509_CRL_get_issuer(list) ?? 0),
        thisUpdate: unixSeconds(libcrypto.X509_CRL_get0_lastUpdate(list) ?? 0) ?? Number.POSITIVE_INFINITY,
        nextUpdate: nextUpdate ? (unixSeconds(nextUpdate) ?? Number.NEGATIVE_INFINITY) : undefined,
      }
    })
  }

  /** Makes every connection of the SSL_CTX check its peer's certificate. */
  apply(context: number): void {
    const store = required(libssl.SSL_CTX_get_cert_store(context), "using crl-verify")
    for (const list of this.lists) libcrypto.X509_STORE_add_crl(store, list)
    libcrypto.X509_VERIFY_PARAM_set_flags(libssl.SSL_CTX_get0_param(context) ?? 0, X509_V_FLAG_CRL_CHECK)
  }

  /** Whether one of these X509 is on a list of its issuer. */
  hasAnyOf(certificates: ReadonlyArray<number>): boolean {
    return certificates.some((x509) =>
      this.lists.some((list) => libcrypto.X509_CRL_get0_by_cert(list, found.address, x509) === REVOKED),
    )
  }

  free(): void {
    for (const list of this.lists) libcrypto.X509_CRL_free(list)
    this.lists = []
  }
}

/** Where OpenSSL writes the entry. */
const found = allocate(8)
const X509_V_FLAG_CRL_CHECK = 0x4
/** 2 means that the entry is there to be taken off the list again. */
const REVOKED = 1
