import { expect } from "bun:test"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { KeepaliveOptions } from "../../src/config/index.ts"
import type { AttemptFailed } from "../../src/tunnel/errors.ts"
import { type Activity, keepalive } from "../../src/tunnel/keepalive.ts"
import { keepaliveOf } from "../../src/tunnel/serve.ts"
import { it } from "../support/effect.ts"

const off: KeepaliveOptions = {
  ping: undefined,
  silence: undefined,
  inactive: undefined,
  sessionTimeout: undefined,
}

/** An in-memory data plane: its clock is the test clock. */
const traffic = Effect.gen(function* () {
  const clock = yield* Clock.clockWith(Effect.succeed)
  const now = () => clock.currentTimeMillisUnsafe()
  const state = { lastSend: 0, lastReceive: 0, bytes: 0, pings: [] as Array<number> }
  const activity: Activity = {
    now,
    lastSend: () => state.lastSend,
    lastReceive: () => state.lastReceive,
    tunnelBytes: () => state.bytes,
    ping: () => {
      state.pings.push(now())
      state.lastSend = now()
    },
  }
  return { state, activity, now }
})

const ended = (fiber: Fiber.Fiber<never, AttemptFailed>) =>
  Effect.map(Effect.flip(Fiber.join(fiber)), (failed) => failed.reason)

it.effect("pings after an interval in which nothing was sent, and not while there is traffic", () =>
  Effect.gen(function* () {
    const { state, activity, now } = yield* traffic
    yield* Effect.forkScoped(keepalive({ ...off, ping: 10 }, activity), { startImmediately: true })
    yield* TestClock.adjust("25 seconds")
    expect(state.pings).toEqual([10_000, 20_000])
    state.lastSend = now()
    yield* TestClock.adjust("9 seconds")
    expect(state.pings).toHaveLength(2)
    yield* TestClock.adjust("1 second")
    expect(state.pings).toEqual([10_000, 20_000, 35_000])
  }),
)

it.effect("a day of keepalive sends exactly one ping an interval", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    yield* Effect.forkScoped(keepalive({ ...off, ping: 10 }, activity), { startImmediately: true })
    yield* TestClock.adjust("1 day")
    expect(state.pings).toHaveLength(8640)
  }),
)

it.effect("ping-restart ends the connection to the second, counted from the last authenticated packet", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const fiber = yield* Effect.forkScoped(keepalive({ ...off, pingRestart: 60 }, activity), { startImmediately: true })
    yield* TestClock.adjust("30 seconds")
    state.lastReceive = 30_000
    yield* TestClock.adjust("59999 millis")
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust("1 millis")
    expect(yield* ended(fiber)).toMatchObject({ tag: "PingRestart", retry: "same" })
  }),
)

it.effect("ping-exit gives up instead", () =>
  Effect.gen(function* () {
    const { activity } = yield* traffic
    const fiber = yield* Effect.forkScoped(keepalive({ ...off, pingExit: 5 }, activity), { startImmediately: true })
    yield* TestClock.adjust("5 seconds")
    expect(yield* ended(fiber)).toMatchObject({ tag: "PingExit", retry: "never" })
  }),
)

it.effect("inactive ends a tunnel that carries too little in a whole period", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const options = { ...off, inactive: { seconds: 100, bytes: 1000 } }
    const fiber = yield* Effect.forkScoped(keepalive(options, activity), { startImmediately: true })
    state.bytes = 1000
    yield* TestClock.adjust("100 seconds")
    expect(fiber.pollUnsafe()).toBeUndefined()
    state.bytes = 1999
    yield* TestClock.adjust("100 seconds")
    expect(yield* ended(fiber)).toMatchObject({ tag: "Inactive" })
  }),
)

it.effect("session-timeout ends a session that is alive", () =>
  Effect.gen(function* () {
    const { activity } = yield* traffic
    const fiber = yield* Effect.forkScoped(keepalive({ ...off, ping: 1, sessionTimeout: 3600 }, activity), {
      startImmediately: true,
    })
    yield* TestClock.adjust("1 hour")
    expect(yield* ended(fiber)).toMatchObject({ tag: "SessionTimeout" })
  }),
)

it.effect("0 switches a policy off", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const fiber = yield* Effect.forkScoped(keepalive({ ...off, ping: 0, pingRestart: 0 }, activity), {
      startImmediately: true,
    })
    yield* TestClock.adjust("1 day")
    expect(fiber.pollUnsafe()).toBeUndefined()
    expect(state.pings).toEqual([])
  }),
)

it.effect("the server's values win, and a pulling UDP client has a default", () =>
  Effect.sync(() => {
    expect(keepaliveOf({ ...off, ping: 5, pingRestart: 50 }, { ...off, ping: 10 }, "udp", true)).toMatchObject({
      ping: 10,
      pingRestart: 50,
    })
    expect(keepaliveOf(off, off, "udp", true).pingRestart).toBe(120)
    expect(keepaliveOf(off, off, "tcp", true).pingRestart).toBeUndefined()
    expect(keepaliveOf({ ...off, pingExit: 9 }, off, "udp", true).pingRestart).toBeUndefined()
    expect(keepaliveOf({ ...off, pingRestart: 0 }, off, "udp", true).pingRestart).toBe(0)
  }),
)
