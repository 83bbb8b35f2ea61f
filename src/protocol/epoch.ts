/**
 * Keys of the epoch format (OpenVPN 2.7, `protocol-flags aead-epoch`). Each direction has a chain of secrets, of which the first
 * is taken from the key block:
 *
 *     E(n+1) = label(E(n), "datakey upd", 32)     key = label(E(n), "data_key", key length)     IV = label(E(n), "data_iv", 12)
 *
 * label() is TLS 1.3's HKDF-Expand-Label with the prefix "ovpn " and SHA-256.
 */
import { concat, u16 } from "./bytes.ts"
import type { Crypto } from "./ports.ts"

export interface EpochKey {
  readonly key: Uint8Array
  /** 12 bytes */
  readonly implicitIv: Uint8Array
}

export const nextEpochSecret = (crypto: Pick<Crypto, "hmac">, secret: Uint8Array): Uint8Array =>
  expandLabel(crypto, secret, "datakey upd", 32)

export const epochKey = (crypto: Pick<Crypto, "hmac">, secret: Uint8Array, keyLength: number): EpochKey => ({
  key: expandLabel(crypto, secret, "data_key", keyLength),
  implicitIv: expandLabel(crypto, secret, "data_iv", 12),
})

export const expandLabel = (
  crypto: Pick<Crypto, "hmac">,
  secret: Uint8Array,
  label: string,
  length: number,
): Uint8Array => {
  const name = new TextEncoder().encode(`ovpn ${label}`)
  return hkdfExpand(crypto, secret, concat(u16(length), Uint8Array.of(name.length), name, Uint8Array.of(0)), length)
}

/** RFC 5869 §2.3 with SHA-256. */
export const hkdfExpand = (
  crypto: Pick<Crypto, "hmac">,
  secret: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array => {
  const result = new Uint8Array(length)
  let block: Uint8Array = new Uint8Array(0)
  for (let offset = 0, counter = 1; offset < length; offset += block.length, counter++) {
    block = crypto.hmac("SHA256", secret, block, info, Uint8Array.of(counter))
    result.set(block.subarray(0, length - offset), offset)
  }
  return result
}

/** Epochs are numbered from 1. From here on a new key has to be negotiated; the number has 16 bits. */
export const worryingEpoch = 0xf000
export const lastEpoch = 0xffff
/** How many epochs ahead of the present one a peer may be. */
export const futureEpochs = 16
