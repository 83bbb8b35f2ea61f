/**
 * Digests, HMAC, AES-256-CTR, random bytes: the `Crypto` and `Random` ports of the protocol.
 * Wrong key lengths and digests that this OpenSSL does not offer (MD5 in FIPS mode) throw `OpenSslError`: nothing that comes
 * from the network can cause either.
 */
import { check, libcrypto, OpenSslError, opensslError, required } from "./library.ts"
import { allocate, cString, gathered } from "./memory.ts"

export type Digest = "MD5" | "SHA1" | "SHA224" | "SHA256" | "SHA384" | "SHA512"

export const crypto = {
  /** HMAC over the concatenation of `parts`; the full digest. */
  hmac(digest: Digest, key: Uint8Array, ...parts: ReadonlyArray<Uint8Array>): Uint8Array {
    const { pointer, size } = digestPointer(digest)
    return gathered([key, ...parts], (address, length) => {
      const data = address + key.length
      required(
        libcrypto.HMAC(pointer, address, key.length, data, length - key.length, result.address, 0),
        `computing HMAC-${digest}`,
      )
      return takeResult(size)
    })
  },

  hash(digest: Digest, ...parts: ReadonlyArray<Uint8Array>): Uint8Array {
    const { pointer, size } = digestPointer(digest)
    return gathered(parts, (address, length) => {
      check(libcrypto.EVP_Digest(address, length, result.address, 0, pointer, 0), `computing ${digest}`)
      return takeResult(size)
    })
  },

  /** 32-byte key, 16-byte initial counter block (big-endian, all 128 bits count). */
  aes256ctr(key: Uint8Array, counter: Uint8Array, data: Uint8Array): Uint8Array {
    if (key.length !== 32) throw new OpenSslError(`AES-256-CTR: the key has ${key.length} bytes, not 32`)
    if (counter.length !== 16)
      throw new OpenSslError(`AES-256-CTR: the counter block has ${counter.length} bytes, not 16`)
    if (aes256ctrCipher === 0) aes256ctrCipher = fetchCipher("AES-256-CTR")
    const context = required(libcrypto.EVP_CIPHER_CTX_new(), "AES-256-CTR")
    try {
      return gathered([key, counter, data], (address) => {
        const output = allocate(data.length)
        check(libcrypto.EVP_EncryptInit_ex(context, aes256ctrCipher, 0, address, address + 32), "AES-256-CTR")
        const done = libcrypto.EVP_EncryptUpdate(context, output.address, result.address, address + 48, data.length)
        if (data.length > 0) check(done, "AES-256-CTR")
        return output.bytes.subarray(0, data.length)
      })
    } finally {
      libcrypto.EVP_CIPHER_CTX_free(context)
    }
  },

  /** In constant time; false when the lengths differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean {
    if (a.length !== b.length) return false
    return gathered([a, b], (address) => libcrypto.CRYPTO_memcmp(address, address + a.length, a.length) === 0)
  },
}

export const random = {
  bytes(length: number): Uint8Array {
    const slot = allocate(length)
    check(libcrypto.RAND_bytes(slot.address, length), "drawing random bytes")
    return slot.bytes.subarray(0, length)
  },
}

/** A cipher of the default provider. Ciphers and digests are fetched once and kept for the life of the process. */
export function fetchCipher(name: string): number {
  libcrypto.ERR_clear_error()
  return required(libcrypto.EVP_CIPHER_fetch(0, cString(name).address, 0), `cipher ${name}`)
}

/** The EVP_MD of a digest, kept for the life of the process, and its length in bytes. */
export function digestPointer(digest: Digest): { readonly pointer: number; readonly size: number } {
  const known = fetched.get(digest)
  if (known !== undefined) return known
  libcrypto.ERR_clear_error()
  const pointer = libcrypto.EVP_MD_fetch(0, cString(digest).address, 0)
  if (!pointer) throw opensslError(`digest ${digest}`)
  const entry = { pointer, size: digestSize[digest] }
  fetched.set(digest, entry)
  return entry
}

function takeResult(size: number): Uint8Array {
  const digest = result.bytes.slice(0, size)
  result.bytes.fill(0)
  return digest
}

const digestSize: Record<Digest, number> = { MD5: 16, SHA1: 20, SHA224: 28, SHA256: 32, SHA384: 48, SHA512: 64 }
const fetched = new Map<Digest, { readonly pointer: number; readonly size: number }>()
let aes256ctrCipher = 0
/** The longest digest; also where lengths are written that nobody reads. */
const result = allocate(64)
