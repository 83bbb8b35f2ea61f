/**
 * `fragment`: packets that are too large for a datagram are sent in pieces, each sealed by itself. In front of every packet,
 * between the encryption and the byte of a compression, stands a header of 32 bits:
 *
 *     type 2 (the lowest bits) | sequence 8 | index 5 | size / 4 14 | unused 3
 *
 * A whole packet has type 0 and nothing else. A piece has the sequence number of its packet and its index; all pieces but the
 * last (type 2) are of the same size, and the last one says which (type 1 has nothing there). In network order.
 */
import type { Arena, Region } from "../linux/index.ts"
import { fragmentHeader } from "../protocol/mtu.ts"
import type { Checksums } from "./checksum.ts"
import { Drop } from "./drop.ts"

/** Copies within the arena without an allocation. */
export type Copier = Pick<Checksums, "copy">

/** Cuts packets. `size`: the most bytes of a piece, a multiple of four. */
export class Fragmenter {
  readonly size: number
  /** Of the packet that `begin` was given last: in how many pieces it goes, and how large all but the last are. */
  pieces = 0
  pieceSize = 0
  private length = 0
  private sequence = 0

  constructor(size: number) {
    this.size = size
  }

  /** Pieces are made as equal as can be, so that the last one is not a whole datagram for a few bytes. False: too large. */
  begin(length: number): boolean {
    this.pieces = Math.ceil(length / this.size)
    if (this.pieces > MOST_PIECES) return false
    this.pieceSize = Math.ceil(length / this.pieces / 4) * 4
    this.length = length
    this.sequence = (this.sequence + 1) & 0xff
    return true
  }

  /** Writes piece `index` of the packet at the beginning of `packet`, with its header, to `at`; its length with the header. */
  lay(index: number, packet: Region, to: Region, at: number, { copy }: Copier): number {
    const isLast = index === this.pieces - 1
    const begin = index * this.pieceSize
    const length = isLast ? this.length - begin : this.pieceSize
    const type = isLast ? LAST | (this.pieceSize << (SIZE_AT - 2)) : NOT_LAST
    to.view.setUint32(at, type | (this.sequence << SEQUENCE_AT) | (index << INDEX_AT))
    copy(to.offset + at + fragmentHeader, packet.offset + begin, length)
    return fragmentHeader + length
  }
}

/** The header of a packet that goes in one piece. */
export const WHOLE_HEADER = 0

/**
 * Puts pieces together. What it holds is bounded: a fixed number of packets, of which the one begun first makes room for another
 * one, and which is forgotten when it is not complete after ten seconds.
 */
export class Reassembly {
  /** Where the packet is that `take` gave last: in the packet's own memory, or where it was put together. */
  payloadAt = 0
  memory: Region
  private readonly slots: ReadonlyArray<Slot>
  private next = 0

  constructor(arena: Arena) {
    this.slots = Array.from({ length: SLOTS }, () => new Slot(arena.allocate(HEADROOM + LARGEST)))
    this.memory = this.slots[0]!.region
  }

  /**
   * Takes the `length` bytes at `at`, a header first. The length of the packet at `payloadAt` of `memory`, which stays there until
   * the next call; 0: it is not complete; or a drop reason.
   */
  take(now: number, memory: Region, at: number, length: number, { copy }: Copier): number {
    const size = length - fragmentHeader
    if (size < 1) return Drop.malformed
    const header = memory.view.getUint32(at)
    const type = header & 3
    if (type === WHOLE) {
      this.memory = memory
      this.payloadAt = at + fragmentHeader
      return header >>> SEQUENCE_AT === 0 ? size : Drop.malformed
    }
    if (type !== NOT_LAST && type !== LAST) return Drop.malformed
    const index = (header >>> INDEX_AT) & 0x1f
    const pieceSize = type === LAST ? ((header >>> SIZE_AT) & 0x3fff) << 2 : size
    const begin = index * pieceSize
    if (size > pieceSize || begin + size > LARGEST) return Drop.malformed
    const slot = this.slotFor(now, (header >>> SEQUENCE_AT) & 0xff, pieceSize)
    const bit = 1 << index
    if ((slot.received & bit) !== 0) return 0
    slot.received |= bit
    copy(slot.region.offset + HEADROOM + begin, memory.offset + at + fragmentHeader, size)
    if (type === LAST) {
      slot.total = begin + size
      slot.wanted = bit | (bit - 1)
    }
    if (slot.received !== slot.wanted) return 0
    slot.forget()
    this.memory = slot.region
    this.payloadAt = HEADROOM
    return slot.total
  }

  /** Whatever is not complete will not be. */
  clear(): void {
    for (const slot of this.slots) slot.forget()
  }

  /** The packet that the piece belongs to; a new one in place of the oldest if there is none. */
  private slotFor(now: number, sequence: number, pieceSize: number): Slot {
    for (const slot of this.slots) {
      if (slot.sequence !== sequence) continue
      if (slot.pieceSize !== pieceSize || now - slot.began > LIFETIME) slot.begin(now, sequence, pieceSize)
      return slot
    }
    const slot = this.slots[this.next]!
    this.next = (this.next + 1) % SLOTS
    slot.begin(now, sequence, pieceSize)
    return slot
  }
}

/** A packet that is being put together. */
class Slot {
  readonly region: Region
  /** -1: none. */
  sequence = -1
  pieceSize = 0
  /** ms. */
  began = 0
  /** By index, one bit each; `wanted` is 0 until the last piece has come. */
  received = 0
  wanted = 0
  total = 0

  constructor(region: Region) {
    this.region = region
  }

  begin(now: number, sequence: number, pieceSize: number): void {
    this.sequence = sequence
    this.pieceSize = pieceSize
    this.began = now
    this.received = 0
    this.wanted = 0
    this.total = 0
  }

  forget(): void {
    this.sequence = -1
  }
}

const WHOLE = 0
const NOT_LAST = 1
const LAST = 2
const SEQUENCE_AT = 2
const INDEX_AT = 10
const SIZE_AT = 15
const MOST_PIECES = 32
/** OpenVPN keeps 25. */
const SLOTS = 16
/** Bytes of the largest packet that is put together. */
export const LARGEST = 16_384
/** What the tun may want in front of a packet. */
const HEADROOM = 16
/** ms. */
const LIFETIME = 10_000
