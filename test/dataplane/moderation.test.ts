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

test("one quiet moment ends it", () => {
  const moderation = new Moderation()
  for (let turn = 1; turn <= 50; turn++) moderation.shouldPause(turn * 0.1, turn)
  expect(moderation.shouldPause(5.1, 51)).toBe(true)
  expect(moderation.shouldPause(6, 52)).toBe(false)
  expect(moderation.shouldPause(6.1, 53)).toBe(false)
})
