/**
 * Data packets of the CBC ciphers, in place.
 *
 *     DATA_V2: opcode/key id 1 | peer id 3 | HMAC | IV 16 | CBC( packet id 4 | payload | padding )
 *     DATA_V1: opcode/key id 1             | HMAC | IV 16 | CBC( packet id 4 | payload | padding )
 *     static key:                            HMAC | IV 16 | CBC( packet id 4 | time 4 | payload | padding )
 *
 * The HMAC covers IV and ciphertext; the head is not authenticated. PKCS#7 padding: 1 to 16 bytes of their own number.
 */
import type { Region } from "../linux/index.ts"
import { longPacketIdLength, packetIdLength, packetIdLimit } from "../protocol/datachannel.ts"
import { DATA_V1, DATA_V2 } from "./datapacket.ts"
import { Drop } from "./drop.ts"
import type { PacketOpener, PacketSealer } from "./format.ts"
import type { ReplayWindow } from "./replay.ts"

/** What is needed of `openssl/`'s CbcHmac: addresses and lengths, results in bytes or -1. */
export interface CbcContext {
  readonly macLength: number
  seal(iv: number, length: number, mac: number): number
  open(iv: number, length: number, mac: number): number
  free(): void
}

/** What stands in front of a packet: its key, or nothing with a static key, whose packet ids have a time (Unix seconds). */
export type CbcHead =
  | { readonly keyId: number; readonly peerId: number | undefined; readonly time?: undefined }
  | { readonly time: number; readonly firstPacketId: number }

export class CbcSealer implements PacketSealer {
  readonly overhead: number
  nextPacketId: number
  private readonly cbc: CbcContext
  private readonly headLength: 0 | 1 | 4
  private readonly head: number
  private readonly idLength: number
  /** 0: packet ids have none. */
  private time: number

  constructor(cbc: CbcContext, head: CbcHead) {
    this.cbc = cbc
    this.headLength = head.time !== undefined ? 0 : head.peerId === undefined ? 1 : 4
    this.head = head.time === undefined ? firstBytes(head.keyId, head.peerId) : 0
    this.time = head.time ?? 0
    this.nextPacketId = head.time === undefined ? 1 : head.firstPacketId
    this.idLength = head.time === undefined ? packetIdLength : longPacketIdLength
    this.overhead = this.headLength + cbc.macLength + IV + this.idLength
  }

  get isWornOut(): boolean {
    return this.time === 0 && this.nextPacketId > packetIdLimit
  }

  seal(memory: Region, start: number, length: number): number {
    if (this.nextPacketId > LAST_PACKET_ID && !this.beginAnew()) return Drop.packetIds
    const packetId = this.nextPacketId
    this.nextPacketId = packetId + 1
    if (this.headLength === 4) memory.view.setUint32(start, this.head)
    else if (this.headLength === 1) memory.bytes[start] = this.head
    const mac = start + this.headLength
    const iv = mac + this.cbc.macLength
    const body = iv + IV
    memory.view.setUint32(body, packetId)
    if (this.time !== 0) memory.view.setUint32(body + packetIdLength, this.time)
    const plain = this.idLength + length
    const padding = BLOCK - (plain % BLOCK)
    memory.bytes.fill(padding, body + plain, body + plain + padding)
    const padded = plain + padding
    const sealed = this.cbc.seal(memory.at(iv, IV + padded), padded, memory.at(mac, this.cbc.macLength))
    return sealed === padded ? body + padded - start : Drop.authentication
  }

  free(): void {
    this.cbc.free()
  }

  /** Ids begin again with a later time, which has surely come: so many packets take more than a second. */
  private beginAnew(): boolean {
    if (this.time === 0 || this.time === LAST_TIME) return false
    this.time++
    this.nextPacketId = 1
    return true
  }
}

export class CbcOpener implements PacketOpener {
  readonly replay: ReplayWindow
  readonly isWornOut = false
  payloadAt = 0
  packetId = 0
  private readonly cbc: CbcContext
  private readonly isStatic: boolean
  private readonly idLength: number
  /** The latest time of a packet that was authentic. */
  private time = 0

  constructor(cbc: CbcContext, replay: ReplayWindow, isStatic = false) {
    this.cbc = cbc
    this.replay = replay
    this.isStatic = isStatic
    this.idLength = isStatic ? longPacketIdLength : packetIdLength
  }

  open(memory: Region, start: number, length: number): number {
    const mac = start + (this.isStatic ? 0 : memory.bytes[start]! >> 3 === DATA_V2 ? 4 : 1)
    const iv = mac + this.cbc.macLength
    const body = iv + IV
    const padded = start + length - body
    if (padded < BLOCK) return Drop.short
    if (padded % BLOCK !== 0) return Drop.authentication
    const opened = this.cbc.open(memory.at(iv, IV + padded), padded, memory.at(mac, this.cbc.macLength))
    if (opened !== padded) return Drop.authentication
    const padding = memory.bytes[body + padded - 1]!
    const payloadLength = padded - padding - this.idLength
    // The sender was authentic, so this is its mistake and no oracle.
    if (padding < 1 || padding > BLOCK || payloadLength < 1) return Drop.malformed
    const packetId = memory.view.getUint32(body)
    this.packetId = this.isStatic ? this.idSince(memory.view.getUint32(body + packetIdLength), packetId) : packetId
    this.payloadAt = body + this.idLength
    return payloadLength
  }

  free(): void {
    this.cbc.free()
  }

  /** The id to judge: a sender that started anew has a window of its own, and what it sent before is refused (as id 0 is). */
  private idSince(time: number, id: number): number {
    if (id === 0 || time < this.time) return 0
    if (time > this.time) {
      this.time = time
      this.replay.clear()
    }
    return id
  }
}

function firstBytes(keyId: number, peerId: number | undefined): number {
  return peerId === undefined ? (DATA_V1 << 3) | keyId : ((((DATA_V2 << 3) | keyId) << 24) | peerId) >>> 0
}

const IV = 16
const BLOCK = 16
const LAST_PACKET_ID = 0xffff_ffff
const LAST_TIME = 0xffff_ffff
