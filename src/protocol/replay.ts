/**
 * Sliding-window replay protection with OpenVPN's time component (`replay-window packets seconds`).
 *
 * The algorithm, which the data plane repeats without allocation for its 32-bit packet ids:
 *
 * - id 0 is refused.
 * - id > highest: accepted; the window slides, and a jump of a whole window or more clears it.
 * - id within the window (highest − id < packets) and not seen: accepted. Seen, or older: refused.
 * - Time: an id is refused when a higher one arrived more than `seconds` ago. Exact bookkeeping would need a time for each
 *   slot; marks (time, highest), one for each quarter of `seconds`, make that between 1 and 1.25 times `seconds`
 *   (OpenVPN reaps every 5 s, which is coarser).
 * - packets = 0: strictly the next id and no other.
 *
 * `check` changes nothing; `accept` is called after the packet proved authentic and meant for us.
 */
import type { Instant } from "./ports.ts"

export interface ReplayWindowSize {
  /** 0: strictly in order. */
  readonly packets: number
  /** 0: no time component. */
  readonly seconds: number
}

export const defaultReplayWindow: ReplayWindowSize = { packets: 64, seconds: 15 }

export class ReplayWindow {
  readonly #packets: number
  readonly #maximumAge: number
  /** Ring, indexed by id modulo its length. */
  readonly #seen: Uint8Array
  readonly #markTimes = new Float64Array(markCount)
  readonly #markIds = new Float64Array(markCount)
  #marks = 0
  #markBegan: Instant = 0
  #highest = 0
  #highestAt: Instant = 0

  constructor(size: ReplayWindowSize) {
    this.#packets = size.packets
    this.#maximumAge = size.seconds * 1000
    this.#seen = new Uint8Array(size.packets)
  }

  /** Whether `id` may still be accepted. */
  check(now: Instant, id: number): boolean {
    if (id < 1) return false
    if (this.#packets === 0) return id === this.#highest + 1
    if (id > this.#highest) return true
    if (this.#highest - id >= this.#packets) return false
    if (this.#seen[id % this.#packets] === 1) return false
    return id > this.#floor(now)
  }

  /** Marks `id`, which `check` allows, as seen. */
  accept(now: Instant, id: number): void {
    if (id > this.#highest) this.#slide(now, id)
    if (this.#packets > 0) this.#seen[id % this.#packets] = 1
  }

  #slide(now: Instant, id: number): void {
    this.#mark()
    if (id - this.#highest >= this.#packets) this.#seen.fill(0)
    else for (let between = this.#highest + 1; between < id; between++) this.#seen[between % this.#packets] = 0
    this.#highest = id
    this.#highestAt = now
  }

  /** Remembers what was the highest id until now: in a new mark, or in the present one until a quarter of the age is over. */
  #mark(): void {
    if (this.#maximumAge === 0 || this.#highest === 0) return
    if (this.#marks === 0 || this.#highestAt - this.#markBegan >= this.#maximumAge / 4) {
      this.#marks++
      this.#markBegan = this.#highestAt
    }
    const mark = (this.#marks - 1) % markCount
    this.#markTimes[mark] = this.#highestAt
    this.#markIds[mark] = this.#highest
  }

  /** The highest id that arrived `maximumAge` ago or earlier, as far as the marks tell. */
  #floor(now: Instant): number {
    if (this.#maximumAge === 0) return 0
    if (now - this.#highestAt >= this.#maximumAge) return this.#highest
    let floor = 0
    for (let index = 0; index < Math.min(this.#marks, markCount); index++)
      if (now - this.#markTimes[index]! >= this.#maximumAge) floor = Math.max(floor, this.#markIds[index]!)
    return floor
  }
}

/** The "long" replay id of the control channel: the sender's clock at its start, then a counter from 1. */
export interface ReplayId {
  /** Unix seconds; the more significant part. */
  readonly time: number
  readonly counter: number
}

/** A window for long ids: a newer time starts an empty window, an older one is refused. */
export class LongReplayWindow {
  readonly #size: ReplayWindowSize
  #time = -1
  #window: ReplayWindow

  constructor(size: ReplayWindowSize) {
    this.#size = size
    this.#window = new ReplayWindow(size)
  }

  check(now: Instant, id: ReplayId): boolean {
    if (id.time > this.#time) return id.counter >= 1
    return id.time === this.#time && this.#window.check(now, id.counter)
  }

  accept(now: Instant, id: ReplayId): void {
    if (id.time > this.#time) {
      this.#time = id.time
      this.#window = new ReplayWindow(this.#size)
    }
    this.#window.accept(now, id.counter)
  }
}

/** Enough marks, a quarter of the age apart, to reach back beyond the age. */
const markCount = 6
