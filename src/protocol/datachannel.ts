/**
 * The head of data packets, and the payloads that are no IP packets.
 *
 *     DATA_V1: opcode/key id 1                        DATA_V2: opcode/key id 1 | peer id 3
 *
 * followed, for the AEAD ciphers, by: packet id 4 | tag 16 | ciphertext. Nonce: packet id || implicit IV (8).
 * Associated data: V2 the first eight bytes; V1 the packet id only. The packet id starts at 1 for each key and never wraps.
 *
 * For the CBC ciphers: HMAC | IV 16 | CBC(packet id 4 | payload | PKCS#7 padding). The HMAC covers IV and ciphertext, not the head.
 *
 * With a static key (`secret`) likewise, but without the head, and the packet id is followed by a time (4 bytes, Unix seconds):
 * the id counts from 1 since then, so that a sender which starts anew with a later time is known to have.
 *
 * In the epoch format (DATA_V2 only): epoch 2 | counter 6 | ciphertext | tag 16. Associated data: the first twelve bytes.
 */
import type { CbcCipher, DataCipher } from "../config/profile.ts"
import { keyIdOf, Opcode, opcodeOf } from "./opcode.ts"

export interface DataHead {
  readonly keyId: number
  /** Undefined in DATA_V1. */
  readonly peerId: number | undefined
  /** Bytes before the packet id: 1 or 4. */
  readonly length: 1 | 4
}

/** Undefined: not a data packet, or shorter than its head. */
export const readDataHead = (packet: Uint8Array): DataHead | undefined => {
  if (packet.length < 1) return undefined
  const keyId = keyIdOf(packet[0]!)
  switch (opcodeOf(packet[0]!)) {
    case Opcode.DataV1:
      return { keyId, peerId: undefined, length: 1 }
    case Opcode.DataV2:
      if (packet.length < 4) return undefined
      return { keyId, peerId: (packet[1]! << 16) | (packet[2]! << 8) | packet[3]!, length: 4 }
    default:
      return undefined
  }
}

/** The peer id that means "none". */
export const noPeerId = 0xffffff

/** Packet ids beyond this call for a new key. */
export const packetIdLimit = 0xff000000

/** Key length in bytes of the data ciphers. Those that authenticate by themselves have 12-byte nonces and 16-byte tags. */
export const cipherKeyLength: Readonly<Record<DataCipher, 16 | 24 | 32>> = {
  "AES-256-GCM": 32,
  "AES-192-GCM": 24,
  "AES-128-GCM": 16,
  "CHACHA20-POLY1305": 32,
  "AES-256-CBC": 32,
  "AES-192-CBC": 24,
  "AES-128-CBC": 16,
}

export const isCbc = (cipher: DataCipher): cipher is CbcCipher => cipher.endsWith("-CBC")

/** What the first epoch's keys are made of. */
export const epochSecretLength = 32
export const implicitIvLength = 8
export const tagLength = 16
export const packetIdLength = 4
/** With a static key: id and time. */
export const longPacketIdLength = 8
/** Epoch and counter. */
export const epochIdLength = 8

/** The whole payload of a keepalive ping. */
export const PING_MAGIC: Uint8Array = Uint8Array.of(
  0x2a,
  0x18,
  0x7b,
  0xf3,
  0x64,
  0x1e,
  0xb4,
  0xcb,
  0x07,
  0xed,
  0x2d,
  0x0a,
  0x98,
  0x1f,
  0xc7,
  0x48,
)

/** First 16 bytes of an OCC message; the next byte says which. */
export const OCC_MAGIC: Uint8Array = Uint8Array.of(
  0x28,
  0x7f,
  0x34,
  0x6b,
  0xd4,
  0xef,
  0x7a,
  0x81,
  0x2d,
  0x56,
  0xb8,
  0xd3,
  0xaf,
  0xc5,
  0x45,
  0x9c,
)

/** OCC messages: what are your options? These are mine (followed by the options string and a zero). Goodbye. */
export const OCC_REQUEST = 0
export const OCC_REPLY = 1
export const OCC_EXIT = 6
