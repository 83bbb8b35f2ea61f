import { describe, expect, test } from "bun:test"
import { LongReplayWindow, ReplayWindow } from "../../src/protocol/replay.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"

const take = (window: ReplayWindow, id: number, now = 0): boolean => {
  const fresh = window.check(now, id)
  if (fresh) window.accept(now, id)
  return fresh
}

describe("a replay window", () => {
  test("accepts each id once, in any order within the window", () => {
    const window = new ReplayWindow({ packets: 64, seconds: 15 })
    const taken = [1, 3, 2, 3, 1, 64, 65, 4, 2, 65].map((id) => take(window, id))
    expect(taken).toEqual([true, true, true, false, false, true, true, true, false, false])
  })

  test("refuses id 0 and what is a whole window behind", () => {
    const window = new ReplayWindow({ packets: 64, seconds: 15 })
    expect(take(window, 0)).toBe(false)
    expect(take(window, 100)).toBe(true)
    expect(take(window, 36)).toBe(false)
    expect(take(window, 37)).toBe(true)
  })

  test("forgets what was seen when it jumps, and nothing else", () => {
    const window = new ReplayWindow({ packets: 8, seconds: 0 })
    for (const id of [1, 2, 3, 4, 5, 6, 7, 8]) take(window, id)
    expect(take(window, 1000)).toBe(true)
    expect([993, 994, 1000].map((id) => take(window, id))).toEqual([true, true, false])
    expect(take(window, 1003)).toBe(true)
    expect([996, 1000, 1001, 1002].map((id) => take(window, id))).toEqual([true, false, true, true])
  })

  test("of size 0 takes the ids strictly in order", () => {
    const window = new ReplayWindow({ packets: 0, seconds: 15 })
    expect([1, 3, 2, 3, 3, 2].map((id) => take(window, id))).toEqual([true, false, true, true, false, false])
  })

  test("reaches to the largest id", () => {
    const window = new ReplayWindow({ packets: 64, seconds: 15 })
    expect([0xffffffff, 0xfffffffe, 0xffffffff].map((id) => take(window, id))).toEqual([true, true, false])
  })

  test("refuses what was overtaken more than its seconds ago", () => {
    const window = new ReplayWindow({ packets: 64, seconds: 15 })
    take(window, 10, 0)
    expect(window.check(14_000, 9)).toBe(true)
    expect(window.check(15_000, 9)).toBe(false)
    expect(window.check(15_000, 11)).toBe(true)
  })

  test("does so while packets go on arriving, within a quarter of its seconds", () => {
    const window = new ReplayWindow({ packets: 65536, seconds: 15 })
    for (let second = 0; second <= 60; second++) take(window, 10 + 10 * second, second * 1000)
    // Never taken, and overtaken 4, 13 and 19 s ago.
    expect(window.check(60_000, 10 + 550 + 5)).toBe(true)
    expect(window.check(60_000, 10 + 460 + 5)).toBe(true)
    expect(window.check(60_000, 10 + 400 + 5)).toBe(false)
  })

  test("remembers where a burst ended, not only where it began", () => {
    const window = new ReplayWindow({ packets: 1000, seconds: 16 })
    for (let id = 1; id <= 100; id++) if (id !== 90) take(window, id, id)
    // A little later the stream goes on; 20 s after the burst its missing packet comes at last.
    take(window, 101, 3_000)
    take(window, 102, 20_000)
    expect(take(window, 90, 20_200)).toBe(false)
  })

  test("agrees with a set of everything ever seen", () => {
    forEachSeed(50, (seed) => {
      const random = new SeededRandom(seed)
      const packets = 1 + random.below(100)
      const window = new ReplayWindow({ packets, seconds: 0 })
      const seen = new Set<number>()
      let highest = 0
      for (let step = 0; step < 500; step++) {
        const id = Math.max(0, highest + 20 - random.below(packets + 40))
        const fresh = id > 0 && !seen.has(id) && highest - id < packets
        expect(take(window, id)).toBe(fresh)
        if (fresh) seen.add(id)
        highest = Math.max(highest, fresh ? id : 0)
      }
    })
  })
})

describe("the control channel's long ids", () => {
  const taken = (ids: ReadonlyArray<readonly [time: number, counter: number]>) => {
    const window = new LongReplayWindow({ packets: 64, seconds: 15 })
    return ids.map(([time, counter]) => {
      const id = { time, counter }
      const fresh = window.check(0, id)
      if (fresh) window.accept(0, id)
      return fresh
    })
  }

  test("a newer time begins anew, an older one is refused", () => {
    const ids = [
      [100, 5],
      [100, 4],
      [101, 1],
      [100, 6],
      [101, 1],
      [101, 2],
    ] as const
    expect(taken(ids)).toEqual([true, true, true, false, false, true])
  })

  test("counter 0 is never valid", () => {
    expect(
      taken([
        [100, 0],
        [0, 1],
      ]),
    ).toEqual([false, true])
  })
})
