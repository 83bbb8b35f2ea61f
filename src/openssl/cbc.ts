/**
 * AES-CBC with HMAC, encrypt-then-MAC, on raw addresses: the data channel of servers without AEAD ciphers. The HMAC covers
 * the initialisation vector and the ciphertext behind it. Contexts are made once a key; a packet allocates nothing and
 * nothing throws.
 */
import { digestPointer, fetchCipher } from "./crypto.ts"
import { check, libcrypto, OpenSslError, required } from "./library.ts"
import { allocate, gathered } from "./memory.ts"

export type CbcCipher = "AES-256-CBC" | "AES-192-CBC" | "AES-128-CBC"
export type CbcDigest = "MD5" | "SHA1" | "SHA224" | "SHA256" | "SHA384" | "SHA512"

export interface CbcKey {
  readonly cipher: CbcCipher
  readonly digest: CbcDigest
  readonly cipherKey: Uint8Array
  /** As long as the digest. */
  readonly hmacKey: Uint8Array
}

export class CbcHmac {
  readonly macLength: number
  /** EVP_CIPHER_CTX and HMAC_CTX; 0 after `free`. */
  private context: number
  private mac: number
  private readonly isSealing: boolean

  private constructor(context: number, mac: number, macLength: number, isSealing: boolean) {
    this.context = context
    this.mac = mac
    this.macLength = macLength
    this.isSealing = isSealing
  }

  /** Throws `OpenSslError` when a key has the wrong length. The keys are copied; the caller may wipe them. */
  static create(key: CbcKey, direction: "seal" | "open"): CbcHmac {
    const { cipher, digest, cipherKey, hmacKey } = key
    const { pointer, size } = digestPointer(digest)
    const keyLength = Number(cipher.slice(4, 7)) / 8
    if (cipherKey.length !== keyLength || hmacKey.length !== size) {
      throw new OpenSslError(`${cipher} with ${digest}: keys of ${cipherKey.length} and ${hmacKey.length} bytes`)
    }
    const doing = `preparing a ${cipher} key`
    const type = fetched.get(cipher) ?? fetchCipher(cipher)
    fetched.set(cipher, type)
    libcrypto.ERR_clear_error()
    const context = required(libcrypto.EVP_CIPHER_CTX_new(), doing)
    const mac = required(libcrypto.HMAC_CTX_new(), doing)
    try {
      const initialise = direction === "seal" ? libcrypto.EVP_EncryptInit_ex : libcrypto.EVP_DecryptInit_ex
      gathered([cipherKey], (address) => check(initialise(context, type, 0, address, 0), doing))
      // The padding is written and checked here: it is inside the MAC, and a block less is copied.
      libcrypto.EVP_CIPHER_CTX_set_padding(context, 0)
      gathered([hmacKey], (address, length) => check(libcrypto.HMAC_Init_ex(mac, address, length, pointer, 0), doing))
      return new CbcHmac(context, mac, size, direction === "seal")
    } catch (error) {
      libcrypto.EVP_CIPHER_CTX_free(context)
      libcrypto.HMAC_CTX_free(mac)
      throw error
    }
  }

  /**
   * Draws an initialisation vector into the 16 bytes at `iv`, encrypts the `length` bytes behind it (whole blocks) in place
   * and writes the MAC at `mac`. `length`, or -1.
   */
  seal(iv: number, length: number, mac: number): number {
    const { context } = this
    if (context === 0 || !this.isSealing || length % blockLength !== 0) return -1
    if (libcrypto.RAND_bytes(iv, blockLength) !== 1) return -1
    if (libcrypto.EVP_EncryptInit_ex(context, 0, 0, 0, iv) !== 1) return -1
    const body = iv + blockLength
    if (libcrypto.EVP_EncryptUpdate(context, body, written.address, body, length) !== 1) return -1
    return this.authenticate(iv, length, mac) ? length : -1
  }

  /** Checks the MAC over the 16 bytes at `iv` and the `length` behind them, then decrypts those in place. `length`, or -1. */
  open(iv: number, length: number, mac: number): number {
    const { context } = this
    if (context === 0 || this.isSealing || length === 0 || length % blockLength !== 0) return -1
    if (!this.authenticate(iv, length, expected.address)) return -1
    if (libcrypto.CRYPTO_memcmp(expected.address, mac, this.macLength) !== 0) return -1
    if (libcrypto.EVP_DecryptInit_ex(context, 0, 0, 0, iv) !== 1) return -1
    const body = iv + blockLength
    return libcrypto.EVP_DecryptUpdate(context, body, written.address, body, length) === 1 ? length : -1
  }

  /** Wipes and releases the keys; idempotent. */
  free(): void {
    if (this.context === 0) return
    libcrypto.EVP_CIPHER_CTX_free(this.context)
    libcrypto.HMAC_CTX_free(this.mac)
    this.context = 0
    this.mac = 0
  }

  private authenticate(iv: number, length: number, output: number): boolean {
    // Without a key the context begins anew with the one it has.
    return (
      libcrypto.HMAC_Init_ex(this.mac, 0, 0, 0, 0) === 1 &&
      libcrypto.HMAC_Update(this.mac, iv, blockLength + length) === 1 &&
      libcrypto.HMAC_Final(this.mac, output, 0) === 1
    )
  }
}

const blockLength = 16
const fetched = new Map<CbcCipher, number>()
/** Where OpenSSL writes lengths, always those that went in; and the MAC that a packet should have. */
const written = allocate(8)
const expected = allocate(64)
