import { expect } from "bun:test"
import { Clock, Effect, Queue } from "effect"
import { TestClock } from "effect/testing"
import { type KeyEvent, rekey } from "../../src/tunnel/rekey.ts"
import { it } from "../support/effect.ts"

const timers = {
  handWindow: 60,
  tranWindow: 3600,
  tlsTimeout: 2,
  renegSec: 3600,
  renegSecMinimum: undefined,
  renegBytes: 0,
  renegPackets: 0,
}

const keys = (outcome: KeyEvent | undefined) =>
  Effect.gen(function* () {
    const clock = yield* Clock.clockWith(Effect.succeed)
    const now = () => clock.currentTimeMillisUnsafe()
    const events = yield* Queue.unbounded<KeyEvent>()
    const state = { outcome, bytes: 0, packets: 0, renegotiations: [] as Array<number> }
    const key = {
      events,
      now,
      bytes: () => state.bytes,
      packets: () => state.packets,
      renegotiate: Effect.sync(() => {
        state.renegotiations.push(now() / 1000)
        state.bytes = 0
        state.packets = 0
        if (state.outcome !== undefined) Queue.offerUnsafe(events, state.outcome)
      }),
    }
    return { state, key, events }
  })

it.effect("renegotiates every reneg-sec", () =>
  Effect.gen(function* () {
    const { state, key } = yield* keys("installed")
    yield* Effect.forkScoped(rekey(timers, key), { startImmediately: true })
    yield* TestClock.adjust("1 day")
    expect(state.renegotiations).toHaveLength(24)
    expect(state.renegotiations.slice(0, 2)).toEqual([3600, 7200])
  }),
)

it.effect("with a minimum each connection has a time of its own between both, and keeps to it", () =>
  Effect.gen(function* () {
    const firsts = new Set<number>()
    for (let connection = 0; connection < 20; connection++) {
      const { state, key } = yield* keys("installed")
      const began = key.now() / 1000
      yield* Effect.forkScoped(rekey({ ...timers, renegSecMinimum: 3000 }, key), { startImmediately: true })
      yield* TestClock.adjust("2 hours")
      const [first, second] = state.renegotiations.map((at) => at - began)
      expect(first).toBeGreaterThanOrEqual(3000)
      expect(first).toBeLessThanOrEqual(3600)
      expect(second).toBe(2 * first!)
      firsts.add(first!)
    }
    expect(firsts.size).toBeGreaterThan(10)
  }),
)

it.effect("the server's renegotiation starts the hour anew", () =>
  Effect.gen(function* () {
    const { state, key, events } = yield* keys("installed")
    yield* Effect.forkScoped(rekey(timers, key), { startImmediately: true })
    yield* TestClock.adjust("50 minutes")
    Queue.offerUnsafe(events, "installed")
    yield* TestClock.adjust("59 minutes")
    expect(state.renegotiations).toEqual([])
    yield* TestClock.adjust("1 minute")
    expect(state.renegotiations).toEqual([110 * 60])
  }),
)

it.effect("a failed renegotiation is tried again, with a pause", () =>
  Effect.gen(function* () {
    const { state, key } = yield* keys("failed")
    yield* Effect.forkScoped(rekey(timers, key), { startImmediately: true })
    yield* TestClock.adjust("3605 seconds")
    expect(state.renegotiations).toEqual([3600])
    yield* TestClock.adjust("10 seconds")
    expect(state.renegotiations).toEqual([3600, 3610])
  }),
)

it.effect("reneg-sec 0 leaves time out of it, packet ids that run out still count", () =>
  Effect.gen(function* () {
    const { state, key, events } = yield* keys("installed")
    yield* Effect.forkScoped(rekey({ ...timers, renegSec: 0 }, key), { startImmediately: true })
    yield* TestClock.adjust("30 days")
    expect(state.renegotiations).toEqual([])
    Queue.offerUnsafe(events, "exhausted")
    yield* TestClock.adjust("1 millis")
    expect(state.renegotiations).toHaveLength(1)
  }),
)

it.effect("reneg-bytes is noticed within a second", () =>
  Effect.gen(function* () {
    const { state, key } = yield* keys("installed")
    yield* Effect.forkScoped(rekey({ ...timers, renegBytes: 1000 }, key), { startImmediately: true })
    yield* TestClock.adjust("10 seconds")
    state.bytes = 1000
    yield* TestClock.adjust("1 second")
    expect(state.renegotiations).toEqual([11])
  }),
)

it.effect("reneg-pkts counts the packets of both directions", () =>
  Effect.gen(function* () {
    const { state, key } = yield* keys("installed")
    yield* Effect.forkScoped(rekey({ ...timers, renegSec: 0, renegPackets: 1000 }, key), { startImmediately: true })
    state.packets = 999
    yield* TestClock.adjust("1 hour")
    expect(state.renegotiations).toEqual([])
    state.packets = 1000
    yield* TestClock.adjust("1 second")
    expect(state.renegotiations).toHaveLength(1)
  }),
)

it.effect("a negotiation that is under way is not started twice", () =>
  Effect.gen(function* () {
    const { state, key, events } = yield* keys(undefined)
    yield* Effect.forkScoped(rekey(timers, key), { startImmediately: true })
    yield* TestClock.adjust("2 hours")
    expect(state.renegotiations).toEqual([3600])
    Queue.offerUnsafe(events, "installed")
    yield* TestClock.adjust("1 hour")
    expect(state.renegotiations).toEqual([3600, 10800])
  }),
)

it.effect("when TLS of the key broke a new one is asked for, but none before it is a minute old", () =>
  Effect.gen(function* () {
    const { state, key, events } = yield* keys("installed")
    yield* Effect.forkScoped(rekey({ ...timers, renegSec: 0 }, key), { startImmediately: true })
    yield* TestClock.adjust("10 seconds")
    for (let forged = 0; forged < 100; forged++) Queue.offerUnsafe(events, "lost")
    yield* TestClock.adjust("49 seconds")
    expect(state.renegotiations).toEqual([])
    yield* TestClock.adjust("1 second")
    expect(state.renegotiations).toEqual([60])
    yield* TestClock.adjust("1 hour")
    expect(state.renegotiations).toEqual([60])
    Queue.offerUnsafe(events, "lost")
    yield* TestClock.adjust("1 millis")
    expect(state.renegotiations).toEqual([60, 3660])
  }),
)

it.effect("that renegotiation is tried again when it fails", () =>
  Effect.gen(function* () {
    const { state, key, events } = yield* keys("failed")
    yield* Effect.forkScoped(rekey({ ...timers, renegSec: 0 }, key), { startImmediately: true })
    Queue.offerUnsafe(events, "lost")
    yield* TestClock.adjust("71 seconds")
    expect(state.renegotiations).toEqual([60, 70])
  }),
)
