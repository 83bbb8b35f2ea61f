/** Which format a data key has: the sealer and the opener that it asks for. */
import type { Region } from "../linux/index.ts"
import { Aead, type AeadCipher } from "../openssl/aead.ts"
import { CbcHmac } from "../openssl/cbc.ts"
import { crypto } from "../openssl/crypto.ts"
import { cipherKeyLength, isCbc } from "../protocol/datachannel.ts"
import type { DataKey, DirectionKey } from "../protocol/output.ts"
import { Opener, Sealer } from "./datapacket.ts"
import { CbcOpener, CbcSealer } from "./datapacket-cbc.ts"
import { EpochOpener, EpochSealer } from "./datapacket-epoch.ts"
import type { PacketOpener, PacketSealer } from "./format.ts"
import type { ReplayWindow } from "./replay.ts"

export interface PacketFormat {
  readonly sealer: PacketSealer
  readonly opener: PacketOpener
}

/** `nonces` are 12 bytes each. Throws when the key does not suit its cipher: a defect. */
export function formatOf(
  key: DataKey,
  nonces: { readonly seal: Region; readonly open: Region },
  newReplay: () => ReplayWindow,
): PacketFormat {
  const { keyId, peerId } = key
  if (isCbc(key.cipher)) {
    const { staticKey } = key
    const head =
      staticKey === undefined ? { keyId, peerId } : { time: staticKey.unixTime, firstPacketId: staticKey.firstPacketId }
    return {
      sealer: new CbcSealer(cbc(key, key.send, "seal"), head),
      opener: new CbcOpener(cbc(key, key.receive, "open"), newReplay(), staticKey !== undefined),
    }
  }
  if (key.staticKey !== undefined) throw new Error(`installing a data key: a static key with ${key.cipher}`)
  const { cipher } = key as DataKey & { readonly cipher: AeadCipher }
  // What is left of an eighth is for packets that come before the new key is there.
  const limit = usageLimit(cipher)
  if (key.epoch === true) {
    if (peerId === undefined) throw new Error("installing a data key: the epoch format without a peer id")
    const factory = (direction: "seal" | "open") => ({
      crypto,
      keyLength: cipherKeyLength[cipher],
      aead: (bytes: Uint8Array) => Aead.create(cipher, bytes, direction),
      usageLimit: limit,
    })
    const sealer = new EpochSealer(factory("seal"), nonces.seal, key.send.cipherKey, keyId, peerId)
    return {
      sealer,
      opener: new EpochOpener(factory("open"), nonces.open, key.receive.cipherKey, newReplay, sealer),
    }
  }
  const { send, receive } = key
  return {
    sealer: new Sealer(Aead.create(cipher, send.cipherKey, "seal"), nonces.seal, send, keyId, peerId, limit),
    opener: new Opener(Aead.create(cipher, receive.cipherKey, "open"), nonces.open, receive, newReplay(), limit),
  }
}

function cbc({ cipher, digest }: DataKey, { cipherKey, hmacKey }: DirectionKey, direction: "seal" | "open"): CbcHmac {
  if (!isCbc(cipher) || digest === undefined || hmacKey === undefined)
    throw new Error(`installing a data key: ${cipher} without an HMAC`)
  return CbcHmac.create({ cipher, digest, cipherKey, hmacKey }, direction)
}

/**
 * Packets and 16-byte blocks together, of which GCM stands 2^36 - 1 with one key (draft-irtf-cfrg-aead-limits, as OpenVPN
 * 2.7 reckons); ChaCha20-Poly1305 has no such limit.
 */
function usageLimit(cipher: AeadCipher): number {
  return cipher === "CHACHA20-POLY1305" ? Number.POSITIVE_INFINITY : Math.floor((2 ** 36 - 1) * (7 / 8))
}
