/**
 * Data packets that came before the first key of their link. Behind its configuration a server may send at once, and those
 * packets are here before the key has been worked out. Anybody may send such packets, so their memory is bounded.
 */
import type { Arena, Region } from "../linux/index.ts"

export class Parking {
  readonly memory: Region
  private used = 0
  private count = 0
  /** By packet: the link's generation, where it begins, and its bytes. */
  private readonly generations = new Float64Array(MOST_PACKETS)
  private readonly offsets = new Int32Array(MOST_PACKETS)
  private readonly lengths = new Int32Array(MOST_PACKETS)

  constructor(arena: Arena) {
    this.memory = arena.allocate(SIZE)
  }

  /** False: there is no room. */
  keep(generation: number, memory: Region, start: number, length: number): boolean {
    const at = this.used + HEADROOM
    if (this.count === MOST_PACKETS || at + length > SIZE) return false
    this.memory.bytes.set(memory.bytes.subarray(start, start + length), at)
    this.generations[this.count] = generation
    this.offsets[this.count] = at
    this.lengths[this.count] = length
    this.count++
    this.used = at + length
    return true
  }

  /** Calls `take` with where each packet of this link is, in the order they came; they stay in place until `forget`. */
  each(generation: number, take: (start: number, length: number) => void): void {
    for (let i = 0; i < this.count; i++)
      if (this.generations[i] === generation) take(this.offsets[i]!, this.lengths[i]!)
  }

  /** Drops what is left of this link. */
  forget(generation: number): void {
    let kept = 0
    let used = 0
    for (let i = 0; i < this.count; i++) {
      if (this.generations[i] === generation) continue
      const from = this.offsets[i]!
      const length = this.lengths[i]!
      const at = used + HEADROOM
      this.memory.bytes.copyWithin(at, from, from + length)
      this.generations[kept] = this.generations[i]!
      this.offsets[kept] = at
      this.lengths[kept] = length
      kept++
      used = at + length
    }
    this.count = kept
    this.used = used
  }
}

/** Bytes: a few milliseconds at full speed. */
const SIZE = 256 * 1024
const MOST_PACKETS = 1024
/** The tun may want a header in front of a packet. */
const HEADROOM = 16
