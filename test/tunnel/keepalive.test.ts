import { expect } from "bun:test"
import { Clock, Effect, Fiber, Queue } from "effect"
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
const restart = (seconds: number) => ({ seconds, then: "restart" }) as const
const exit = (seconds: number) => ({ seconds, then: "exit" }) as const

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

/** The policies in a fiber of their own, and where they hear of changes. */
const keep = Effect.fnUntraced(function* (options: KeepaliveOptions, activity: Activity) {
  const limits = yield* Queue.sliding<KeepaliveOptions>(1)
  Queue.offerUnsafe(limits, options)
  const fiber = yield* Effect.forkScoped(keepalive(limits, activity), { startImmediately: true })
  return { fiber, limits }
})

const ended = (fiber: Fiber.Fiber<never, AttemptFailed>) =>
  Effect.map(Effect.flip(Fiber.join(fiber)), (failed) => failed.reason)

it.effect("pings after an interval in which nothing was sent, and not while there is traffic", () =>
  Effect.gen(function* () {
    const { state, activity, now } = yield* traffic
    yield* keep({ ...off, ping: 10 }, activity)
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
    yield* keep({ ...off, ping: 10 }, activity)
    yield* TestClock.adjust("1 day")
    expect(state.pings).toHaveLength(8640)
  }),
)

it.effect("ping-restart ends the connection to the second, counted from the last authenticated packet", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const { fiber } = yield* keep({ ...off, silence: restart(60) }, activity)
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
    const { fiber } = yield* keep({ ...off, silence: exit(5) }, activity)
    yield* TestClock.adjust("5 seconds")
    expect(yield* ended(fiber)).toMatchObject({ tag: "PingExit", retry: "never" })
  }),
)

it.effect("inactive ends a tunnel that carries too little in a whole period", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const options = { ...off, inactive: { seconds: 100, bytes: 1000 } }
    const { fiber } = yield* keep(options, activity)
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
    const { fiber } = yield* keep({ ...off, ping: 1, sessionTimeout: 3600 }, activity)
    yield* TestClock.adjust("1 hour")
    expect(yield* ended(fiber)).toMatchObject({ tag: "SessionTimeout" })
  }),
)

it.effect("other limits hold from the moment they come; the same again leave every timer as it runs", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const before = { ...off, ping: 10, inactive: { seconds: 100, bytes: 0 } }
    const { fiber, limits } = yield* keep(before, activity)
    yield* TestClock.adjust("15 seconds")
    Queue.offerUnsafe(limits, { ...before })
    yield* TestClock.adjust("5 seconds")
    expect(state.pings).toEqual([10_000, 20_000])
    Queue.offerUnsafe(limits, { ...off, ping: 30, silence: restart(60) })
    yield* TestClock.adjust("59 seconds")
    expect(state.pings).toEqual([10_000, 20_000, 50_000])
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust("1 second")
    expect(yield* ended(fiber)).toMatchObject({ tag: "PingRestart" })
  }),
)

it.effect("a session-timeout that comes later counts from the beginning all the same", () =>
  Effect.gen(function* () {
    const { activity } = yield* traffic
    const { fiber, limits } = yield* keep(off, activity)
    yield* TestClock.adjust("50 minutes")
    Queue.offerUnsafe(limits, { ...off, sessionTimeout: 3600 })
    yield* TestClock.adjust("599 seconds")
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust("1 second")
    expect(yield* ended(fiber)).toMatchObject({ tag: "SessionTimeout" })
  }),
)

it.effect("0 switches a policy off", () =>
  Effect.gen(function* () {
    const { state, activity } = yield* traffic
    const { fiber } = yield* keep({ ...off, ping: 0, silence: restart(0) }, activity)
    yield* TestClock.adjust("1 day")
    expect(fiber.pollUnsafe()).toBeUndefined()
    expect(state.pings).toEqual([])
  }),
)

it.effect("the server's values win, and a pulling UDP client has a default", () =>
  Effect.sync(() => {
    expect(keepaliveOf({ ...off, ping: 5, silence: restart(50) }, { ...off, ping: 10 }, "udp", true)).toMatchObject({
      ping: 10,
      silence: restart(50),
    })
    expect(keepaliveOf({ ...off, silence: restart(50) }, { ...off, silence: exit(9) }, "udp", true).silence).toEqual(
      exit(9),
    )
    expect(keepaliveOf(off, off, "udp", true).silence).toEqual(restart(120))
    expect(keepaliveOf(off, off, "tcp", true).silence).toBeUndefined()
    expect(keepaliveOf({ ...off, silence: exit(9) }, off, "udp", true).silence).toEqual(exit(9))
    expect(keepaliveOf({ ...off, silence: restart(0) }, off, "udp", true).silence).toEqual(restart(0))
  }),
)
