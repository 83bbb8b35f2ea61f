import { expect } from "bun:test"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { givingBack } from "../../src/tunnel/footprint.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

const watched = Effect.gen(function* () {
  const state = { released: 0 }
  yield* givingBack(Effect.sync(() => state.released++)).pipe(Effect.forkScoped)
  yield* TestClock.adjust(0)
  return state
})

it.effect("memory is given back seconds after each connection, and then less and less often", () =>
  Effect.gen(function* () {
    const status = yield* StatusRef
    const state = yield* watched
    yield* TestClock.adjust("1 minute")
    expect(state.released).toBe(0)
    yield* status.update({ phase: "connected", connects: 1 })
    // After 3, 6, 12, 24, 48 seconds, and in the end every 10 minutes.
    yield* TestClock.adjust("48 seconds")
    expect(state.released).toBe(5)
    yield* TestClock.adjust("20 minutes")
    const { released } = state
    expect(released).toBeLessThan(12)
    yield* TestClock.adjust("10 minutes")
    expect(state.released).toBe(released + 1)
    yield* status.update({ phase: "waiting" })
    yield* TestClock.adjust("10 minutes")
    expect(state.released).toBe(released + 1)
    yield* status.update({ phase: "connected", connects: 2 })
    yield* TestClock.adjust("6 seconds")
    expect(state.released).toBe(released + 3)
  }).pipe(Effect.provide(StatusRef.layer)),
)
