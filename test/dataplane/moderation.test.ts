import { describe, expect, test } from "bun:test"
import { Moderation } from "../../src/dataplane/moderation.ts"

/** Turns `interval` ms apart, each with so many lone packets of `size` bytes: the pauses after them, in microseconds. */
function pauses(interval: number, packets: number, size: number, turns = 5000): ReadonlyArray<number> {
  return new Stream().turns(turns, interval, packets, size)
}

/** What the packets of the time so far made of it. */
class Stream {
  readonly moderation = new Moderation()
  /** ms */
  now = 1000
  private all = 0
  private lone = 0
  private bytes = 0

  /** Each with so many packets of `size` bytes, and `together` others that were read in one piece. */
  turns(count: number, interval: number, packets: number, size: number, together = 0): ReadonlyArray<number> {
    return Array.from({ length: count }, () => {
      this.now += interval
      this.all += packets + together
      this.lone += packets
      this.bytes += packets * size
      return this.moderation.pause(this.now, this.all, this.lone, this.bytes)
    })
  }
}

describe("packets that come dense, but few at a time, are made to gather", () => {
  test("as many microseconds as two dozen of them take", () => expect(pauses(0.01, 1, 1400).at(-1)).toBeCloseTo(240))
  test("300 at most", () => expect(pauses(0.1, 3, 1400).at(-1)).toBe(300))
  test("small ones as well", () => expect(pauses(0.01, 1, 92).at(-1)).toBeCloseTo(240))
  test("beside others that come in large pieces", () =>
    expect(new Stream().turns(5000, 0.1, 3, 1400, 6).at(-1)).toBe(300))
  test("which goes on with the pauses", () => expect(pauses(0.35, 12, 1400).at(-1)).toBe(300))
})

describe("nothing waits", () => {
  const none = (values: ReadonlyArray<number>) => expect(values.every((value) => value === 0)).toBe(true)
  test("in a conversation with 0.1 ms between question and answer", () => none(pauses(0.05, 1, 100)))
  test("in one of full packets", () => none(pauses(0.25, 2, 1400)))
  test("with a stream that is thin", () => none(pauses(0.2, 1, 1400)))
  test("behind a full batch", () => none(pauses(0.2, 64, 1400)))
  test("of the acknowledgements of what is sent in large pieces", () => none(new Stream().turns(5000, 0.08, 2, 90, 6)))
  test("behind a full batch, however it came", () => none(new Stream().turns(5000, 0.2, 4, 1400, 45)))
  test("behind a single answer of 64 KiB", () => none(pauses(0.02, 2, 1400, 23)))
})

test("turns without packets do not wait, and the stream is over after a few ms", () => {
  const stream = new Stream()
  expect(stream.turns(100, 0.1, 3, 1400).at(-1)).toBe(300)
  expect(stream.turns(1, 0.1, 0, 0)).toEqual([0])
  expect(stream.turns(1, 0.1, 3, 1400)).toEqual([300])
  expect(stream.turns(1, 5, 1, 1400)).toEqual([0])
})

test("who gets the processor back late from a pause makes none for 10 ms", () => {
  const stream = new Stream()
  expect(stream.turns(100, 0.35, 12, 1400).at(-1)).toBe(300)
  stream.moderation.awoke(stream.now, stream.now + 0.4)
  expect(stream.turns(1, 0.35, 12, 1400)).toEqual([300])
  stream.moderation.awoke(stream.now, stream.now + 3)
  expect(stream.turns(37, 0.35, 12, 1400).every((pause) => pause === 0)).toBe(true)
  expect(stream.turns(1, 0.35, 12, 1400)).toEqual([300])
})

test("lone packets and the answers to them are calm; a stream is not", () => {
  const stream = new Stream()
  for (let ping = 0; ping < 20; ping++) {
    for (const interval of [10, 0.2]) stream.turns(1, interval, 1, 84)
    expect(stream.moderation.isCalm).toBe(true)
  }
  stream.turns(50, 0.1, 1, 1400)
  expect(stream.moderation.isCalm).toBe(false)
  stream.turns(1, 10, 1, 84)
  expect(stream.moderation.isCalm).toBe(true)
})
