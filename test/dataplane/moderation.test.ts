import { expect, test } from "bun:test"
import { Moderation } from "../../src/dataplane/moderation.ts"

/** How many of a hundred turns, `interval` ms apart and with `packets` each, are followed by a pause. */
function pauses(interval: number, packets: number): number {
  const moderation = new Moderation()
  let count = 0
  for (let turn = 1; turn <= 100; turn++) if (moderation.shouldPause(1000 + turn * interval, turn * packets)) count++
  return count
}

test("packets that come in quick succession, few at a time, are made to gather", () => {
  expect(pauses(0.05, 1)).toBe(83)
  expect(pauses(0.3, 10)).toBe(83)
})

test("full batches, lone packets, and turns without any do not wait", () => {
  expect(pauses(0.2, 64)).toBe(0)
  expect(pauses(0.5, 1)).toBe(0)
  expect(pauses(0.05, 0)).toBe(0)
})

test("who comes after a quiet moment does not wait; a stream goes on after one, and ends with several", () => {
  const moderation = new Moderation()
  let at = 0
  let packets = 0
  const after = (interval: number) => {
    at += interval
    packets++
    return moderation.shouldPause(at, packets)
  }
  for (let turn = 1; turn <= 50; turn++) after(0.1)
  expect(after(0.1)).toBe(true)
  expect(after(0.9)).toBe(false)
  expect(after(0.1)).toBe(true)
  expect([0.9, 0.9, 0.9, 0.9].map(after)).toEqual([false, false, false, false])
  expect(after(0.1)).toBe(false)
})

test("lone packets and the answers to them are calm; a stream is not", () => {
  const moderation = new Moderation()
  let at = 0
  let packets = 0
  const isCalmAfter = (interval: number) => {
    at += interval
    packets++
    moderation.shouldPause(at, packets)
    return moderation.isCalm
  }
  for (let ping = 0; ping < 20; ping++) expect([10, 0.2].map(isCalmAfter)).toEqual([true, true])
  for (let turn = 0; turn < 50; turn++) isCalmAfter(0.1)
  expect(isCalmAfter(0.1)).toBe(false)
  expect(isCalmAfter(10)).toBe(false)
})
