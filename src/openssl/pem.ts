/** Certificates and private keys out of PEM text. Each pointer that is returned has one owner: the caller. */
import { libcrypto, OpenSslError, opensslError, required, takeErrors } from "./library.ts"
import { allocate, cString, type Slot } from "./memory.ts"

/** X509 pointers in the order of the text, at least one; other PEM blocks are passed over. Free with `freeCertificates`. */
export function readCertificates(pem: string, what: string): Array<number> {
  const read = (bio: number) => libcrypto.PEM_read_bio_X509(bio, 0, 0, 0)
  return readAll(pem, { what, kind: "certificate", read, free: (x509) => libcrypto.X509_free(x509) })
}

/** All that `read` takes from the text, at least one. Throws `OpenSslError` when one cannot be read. */
export function readAll(
  pem: string,
  {
    what,
    kind,
    read,
    free,
  }: {
    readonly what: string
    readonly kind: string
    readonly read: (bio: number) => number | null
    readonly free: (pointer: number) => void
  },
): Array<number> {
  return withBio(pem, (bio) => {
    const found: Array<number> = []
    try {
      for (;;) {
        libcrypto.ERR_clear_error()
        const pointer = read(bio)
        if (!pointer) break
        found.push(pointer)
      }
      const [error] = takeErrors()
      if (error !== undefined && error.code !== PEM_NO_START_LINE)
        throw new OpenSslError(`reading ${what}: ${kind} ${found.length + 1}: ${error.text}`)
      if (found.length === 0) throw new OpenSslError(`reading ${what}: there is no PEM ${kind} in it`)
      return found
    } catch (error) {
      for (const pointer of found) free(pointer)
      throw error
    }
  })
}

export function freeCertificates(certificates: ReadonlyArray<number>): void {
  for (const x509 of certificates) libcrypto.X509_free(x509)
}

/** An EVP_PKEY pointer. Free with `EVP_PKEY_free`. */
export function readPrivateKey(pem: string, passphrase: string | undefined): number {
  const encrypted = /ENCRYPTED/.test(pem)
  if (encrypted && passphrase === undefined) {
    throw new OpenSslError("reading the private key: it is encrypted and no passphrase is given")
  }
  return withBio(pem, (bio) => {
    libcrypto.ERR_clear_error()
    // Without a passphrase argument OpenSSL would ask on the terminal.
    const secret = cString(passphrase ?? "")
    const key = libcrypto.PEM_read_bio_PrivateKey(bio, 0, 0, secret.address)
    secret.bytes.fill(0)
    if (key) return key
    const [error] = takeErrors()
    if (error === undefined || error.code === PEM_NO_START_LINE || error.code === DECODER_UNSUPPORTED) {
      throw new OpenSslError("reading the private key: there is no PEM private key in it")
    }
    throw new OpenSslError(`reading the private key: ${error.text}${encrypted ? " (is the passphrase right?)" : ""}`)
  })
}

/** What is wrong with a certificate (the first of the text) and its key; undefined when both can be read and match. */
export function checkKeyPair(certificatePem: string, keyPem: string, passphrase?: string): string | undefined {
  let certificates: ReadonlyArray<number> = []
  let key = 0
  try {
    certificates = readCertificates(certificatePem, "the certificate")
    key = readPrivateKey(keyPem, passphrase)
    libcrypto.ERR_clear_error()
    if (libcrypto.X509_check_private_key(certificates[0]!, key) === 1) return undefined
    return opensslError("the private key does not belong to the certificate").message
  } catch (error) {
    if (error instanceof OpenSslError) return error.message
    throw error
  } finally {
    freeCertificates(certificates)
    libcrypto.EVP_PKEY_free(key)
  }
}

/** A read-only memory BIO over the text, for the time of the call. */
export function withBio<A>(pem: string, use: (bio: number) => A): A {
  const encoded = new TextEncoder().encode(pem)
  const slot: Slot = allocate(encoded.length)
  slot.bytes.set(encoded)
  encoded.fill(0)
  const bio = required(libcrypto.BIO_new_mem_buf(slot.address, pem.length === 0 ? 0 : slot.bytes.length), "reading PEM")
  try {
    return use(bio)
  } finally {
    libcrypto.BIO_free(bio)
    slot.bytes.fill(0)
  }
}

/** ERR_LIB_PEM (9), PEM_R_NO_START_LINE (108). */
const PEM_NO_START_LINE = (9 << 23) | 108
/** ERR_LIB_OSSL_DECODER (60), ERR_R_UNSUPPORTED (524 with the common-reason flag 2 << 18). */
const DECODER_UNSUPPORTED = (60 << 23) | (2 << 18) | 268
