/**
 * The replay window of one data key (`replay-window packets seconds`), in one call per packet that allocates nothing. It is
 * asked after the packet proved authentic.
 *
 * An id is refused when it is 0, was seen, is `packets` or more below the highest, or when a higher one arrived `seconds`
 * ago. Exact bookkeeping of the last would take a time for each id; marks make it between 1 and 1.25 times `seconds`
 * (OpenVPN looks every 5 s, which is coarser).
 */
import type { ReplayWindowSize } from "./commands.ts"

export class ReplayWindow {
  private readonly packets: number
  /** ms; 0: ids do not age. */
  private readonly maximumAge: number
  /** Ring of flags, indexed by the low bits of the id; its length is a power of two and at least `packets`. */
  private readonly seen: Uint8Array
  private readonly mask: number
  /** Ring of marks: the highest id that arrived in a quarter of `maximumAge`, and when. `mark` is the current one. */
  private readonly markTimes = new Float64Array(MARKS)
  private readonly markIds = new Float64Array(MARKS)
  private mark = 0
  private markBegan = 0
  private highest = 0

  constructor(size: ReplayWindowSize) {
    this.packets = size.packets
    this.maximumAge = size.seconds * 1000
    const length = size.packets <= 1 ? 1 : 2 ** Math.ceil(Math.log2(size.packets))
    this.seen = new Uint8Array(length)
    this.mask = length - 1
  }

  /** Whether `id`, which arrived at `now` (ms), is new; if so it is remembered. */
  accept(now: number, id: number): boolean {
    if (id === 0) return false
    if (this.packets === 0) return this.acceptInOrder(id)
    if (id > this.highest) {
      this.slide(now, id)
      return true
    }
    if (this.highest - id >= this.packets) return false
    if (this.seen[id & this.mask] !== 0) return false
    if (this.maximumAge > 0 && id <= this.tooOld(now)) return false
    this.seen[id & this.mask] = 1
    return true
  }

  /** The highest id that was accepted. */
  get newest(): number {
    return this.highest
  }

  /** As if nothing had arrived yet. */
  clear(): void {
    this.seen.fill(0)
    this.markTimes.fill(0)
    this.markIds.fill(0)
    this.mark = 0
    this.markBegan = 0
    this.highest = 0
  }

  /** As OpenVPN with `replay-window 0`: the first id is free, from then on there are no gaps. */
  private acceptInOrder(id: number): boolean {
    if (this.highest !== 0 && id !== this.highest + 1) return false
    this.highest = id
    return true
  }

  private slide(now: number, id: number): void {
    const seen = this.seen
    if (id - this.highest >= seen.length) seen.fill(0)
    else for (let between = this.highest + 1; between < id; between++) seen[between & this.mask] = 0
    seen[id & this.mask] = 1
    this.highest = id
    if (now - this.markBegan >= this.maximumAge / 4) {
      this.mark = (this.mark + 1) % MARKS
      this.markBegan = now
    }
    this.markTimes[this.mark] = now
    this.markIds[this.mark] = id
  }

  /** The highest id that arrived `maximumAge` ago or earlier, as far as the marks tell; 0 when there is none. */
  private tooOld(now: number): number {
    let floor = 0
    for (let i = 0; i < MARKS; i++)
      if (this.markIds[i]! > floor && now - this.markTimes[i]! >= this.maximumAge) floor = this.markIds[i]!
    return floor
  }
}

/** A quarter of the age each: the oldest of them ended before the age began. */
const MARKS = 6
