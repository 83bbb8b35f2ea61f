/**
 * Data packets in place: the payload is sealed and opened where it stands, and the head is written in front of it.
 *
 *     DATA_V2: opcode/key id 1 | peer id 3 | packet id 4 | tag 16 | ciphertext      associated data: the first 8 bytes
 *     DATA_V1: opcode/key id 1             | packet id 4 | tag 16 | ciphertext      associated data: the packet id
 *
 * Nonce: packet id || implicit IV (8). All numbers are in network order. `start` is where the packet begins in `memory`.
 */

import type { Region } from "../linux/index.ts"
import { packetIdLimit } from "../protocol/datachannel.ts"
import type { DirectionKey } from "../protocol/output.ts"
import { Drop } from "./drop.ts"
import type { PacketOpener, PacketSealer } from "./format.ts"
import type { ReplayWindow } from "./replay.ts"

/** What is needed of `openssl/`'s Aead. All but the lengths are addresses; results are bytes, or -1. */
export interface AeadContext {
  seal(
    nonce: number,
    aad: number,
    aadLength: number,
    input: number,
    length: number,
    output: number,
    tag: number,
  ): number
  open(
    nonce: number,
    aad: number,
    aadLength: number,
    input: number,
    length: number,
    output: number,
    tag: number,
  ): number
  free(): void
}

/** Bytes before the payload. */
export const OVERHEAD_V1 = 21
export const OVERHEAD_V2 = 24

/** One key of the sending direction. `usageLimit`: packets and 16-byte blocks together, after which the key is worn out. */
export class Sealer implements PacketSealer {
  readonly overhead: number
  /** The packet id of the next packet: 1 at first, never reused. */
  nextPacketId = 1
  private readonly aead: AeadContext
  private readonly nonce: Region
  /** The first four bytes of DATA_V2, the first one of DATA_V1. */
  private readonly head: number
  private readonly usageLimit: number
  /** Packets and blocks so far. */
  usage = 0

  /** `nonce` is 12 bytes that belong to this object until `free`. */
  constructor(
    aead: AeadContext,
    nonce: Region,
    key: DirectionKey,
    keyId: number,
    peerId: number | undefined,
    usageLimit = Number.POSITIVE_INFINITY,
  ) {
    this.aead = aead
    this.usageLimit = usageLimit
    this.nonce = nonce
    this.overhead = peerId === undefined ? OVERHEAD_V1 : OVERHEAD_V2
    this.head = peerId === undefined ? (DATA_V1 << 3) | keyId : ((((DATA_V2 << 3) | keyId) << 24) | peerId) >>> 0
    nonce.bytes.set(key.implicitIv, 4)
  }

  get isWornOut(): boolean {
    return this.nextPacketId > packetIdLimit || this.usage > this.usageLimit
  }

  seal(memory: Region, start: number, length: number): number {
    const packetId = this.nextPacketId
    if (packetId > LAST_PACKET_ID) return Drop.packetIds
    this.nextPacketId = packetId + 1
    this.usage += usageOf(length)
    const isV2 = this.overhead === OVERHEAD_V2
    const idAt = isV2 ? start + 4 : start + 1
    if (isV2) memory.view.setUint32(start, this.head)
    else memory.bytes[start] = this.head
    memory.view.setUint32(idAt, packetId)
    this.nonce.view.setUint32(0, packetId)
    const aad = isV2 ? memory.at(start, 8) : memory.at(idAt, 4)
    const payload = memory.at(start + this.overhead, length)
    const tag = memory.at(idAt + 4, 16)
    if (this.aead.seal(this.nonce.address, aad, isV2 ? 8 : 4, payload, length, payload, tag) !== length)
      return Drop.authentication
    return this.overhead + length
  }

  free(): void {
    this.aead.free()
    this.nonce.bytes.fill(0)
  }
}

/** One key of the receiving direction. `usageLimit` as in `Sealer`. */
export class Opener implements PacketOpener {
  readonly replay: ReplayWindow
  payloadAt = 0
  packetId = 0
  private readonly aead: AeadContext
  private readonly nonce: Region
  private readonly usageLimit: number
  /** Packets and blocks so far, and packets that were not authentic. */
  usage = 0
  forgeries = 0

  /** `nonce` is 12 bytes that belong to this object until `free`. */
  constructor(
    aead: AeadContext,
    nonce: Region,
    key: DirectionKey,
    replay: ReplayWindow,
    usageLimit = Number.POSITIVE_INFINITY,
  ) {
    this.aead = aead
    this.nonce = nonce
    this.replay = replay
    this.usageLimit = usageLimit
    nonce.bytes.set(key.implicitIv, 4)
  }

  get isWornOut(): boolean {
    return this.usage > this.usageLimit || this.forgeries > FORGERY_LIMIT
  }

  open(memory: Region, start: number, length: number): number {
    const overhead = payloadOffset(memory.bytes[start]!)
    const payloadLength = length - overhead
    if (payloadLength < 1) return Drop.short
    if (this.forgeries > MOST_FORGERIES) return Drop.authentication
    const idAt = start + overhead - 20
    const packetId = memory.view.getUint32(idAt)
    this.nonce.view.setUint32(0, packetId)
    const aad = overhead === OVERHEAD_V2 ? memory.at(start, 8) : memory.at(idAt, 4)
    const payload = memory.at(start + overhead, payloadLength)
    const tag = memory.at(idAt + 4, 16)
    const aadLength = overhead === OVERHEAD_V2 ? 8 : 4
    if (this.aead.open(this.nonce.address, aad, aadLength, payload, payloadLength, payload, tag) !== payloadLength) {
      this.forgeries++
      return Drop.authentication
    }
    this.usage += usageOf(payloadLength)
    this.packetId = packetId
    this.payloadAt = start + overhead
    return payloadLength
  }

  free(): void {
    this.aead.free()
    this.nonce.bytes.fill(0)
  }
}

/** What one packet takes of a key's limit: itself, and its blocks of 16 bytes. */
export function usageOf(length: number): number {
  return 1 + ((length + 15) >>> 4)
}

/** By the first byte of a data packet: how many bytes come before its payload. */
function payloadOffset(firstByte: number): number {
  return firstByte >> 3 === DATA_V2 ? OVERHEAD_V2 : OVERHEAD_V1
}

export const DATA_V1 = 6
export const DATA_V2 = 9

/** Forged packets that a key stands (draft-irtf-cfrg-aead-limits); OpenVPN 2.7 begins to renegotiate here as well. */
export const FORGERY_LIMIT = 2 ** 35

/** Beyond this a key opens nothing any more, as in 2.7. */
export const MOST_FORGERIES = 2 ** 36

/** The id after this one would repeat a nonce. */
const LAST_PACKET_ID = 0xffff_ffff
