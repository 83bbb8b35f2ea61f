/**
 * Data packets of the CBC ciphers, in place.
 *
 *     DATA_V2: opcode/key id 1 | peer id 3 | HMAC | IV 16 | CBC( packet id 4 | payload | padding )
 *     DATA_V1: opcode/key id 1             | HMAC | IV 16 | CBC( packet id 4 | payload | padding )
 *
 * The HMAC covers IV and ciphertext; the head is not authenticated. PKCS#7 padding: 1 to 16 bytes of their own number.
 */
import type { Region } from "../linux/index.ts"
import { packetIdLimit } from "../protocol/datachannel.ts"
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

export class CbcSealer implements PacketSealer {
  readonly overhead: number
  nextPacketId = 1
  private readonly cbc: CbcContext
  private readonly headLength: 1 | 4
  private readonly head: number

  constructor(cbc: CbcContext, keyId: number, peerId: number | undefined) {
    this.cbc = cbc
    this.headLength = peerId === undefined ? 1 : 4
    this.head = peerId === undefined ? (DATA_V1 << 3) | keyId : ((((DATA_V2 << 3) | keyId) << 24) | peerId) >>> 0
    this.overhead = this.headLength + cbc.macLength + IV + PACKET_ID
  }

  get isWornOut(): boolean {
    return this.nextPacketId > packetIdLimit
  }

  seal(memory: Region, start: number, length: number): number {
    const packetId = this.nextPacketId
    if (packetId > LAST_PACKET_ID) return Drop.packetIds
    this.nextPacketId = packetId + 1
    if (this.headLength === 4) memory.view.setUint32(start, this.head)
    else memory.bytes[start] = this.head
    const mac = start + this.headLength
    const iv = mac + this.cbc.macLength
    const body = iv + IV
    memory.view.setUint32(body, packetId)
    const plain = PACKET_ID + length
    const padding = BLOCK - (plain % BLOCK)
    memory.bytes.fill(padding, body + plain, body + plain + padding)
    const padded = plain + padding
    const sealed = this.cbc.seal(memory.at(iv, IV + padded), padded, memory.at(mac, this.cbc.macLength))
    return sealed === padded ? body + padded - start : Drop.authentication
  }

  free(): void {
    this.cbc.free()
  }
}

export class CbcOpener implements PacketOpener {
  readonly replay: ReplayWindow
  readonly isWornOut = false
  payloadAt = 0
  packetId = 0
  private readonly cbc: CbcContext

  constructor(cbc: CbcContext, replay: ReplayWindow) {
    this.cbc = cbc
    this.replay = replay
  }

  open(memory: Region, start: number, length: number): number {
    const mac = start + (memory.bytes[start]! >> 3 === DATA_V2 ? 4 : 1)
    const iv = mac + this.cbc.macLength
    const body = iv + IV
    const padded = start + length - body
    if (padded < BLOCK) return Drop.short
    if (padded % BLOCK !== 0) return Drop.authentication
    const opened = this.cbc.open(memory.at(iv, IV + padded), padded, memory.at(mac, this.cbc.macLength))
    if (opened !== padded) return Drop.authentication
    const padding = memory.bytes[body + padded - 1]!
    const payloadLength = padded - padding - PACKET_ID
    // The sender was authentic, so this is its mistake and no oracle.
    if (padding < 1 || padding > BLOCK || payloadLength < 1) return Drop.malformed
    this.packetId = memory.view.getUint32(body)
    this.payloadAt = body + PACKET_ID
    return payloadLength
  }

  free(): void {
    this.cbc.free()
  }
}

const IV = 16
const BLOCK = 16
const PACKET_ID = 4
const LAST_PACKET_ID = 0xffff_ffff
