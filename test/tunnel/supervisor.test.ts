import { expect } from "bun:test"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { StatusRef } from "../../src/tunnel/status.ts"
import { startSupervised, supervised } from "../../src/tunnel/supervisor.ts"
import { it } from "../support/effect.ts"

/** A part that crashes after each of the given seconds, then stays. Collects what happened to it. */
const crashing = (seconds: ReadonlyArray<number>, crash: () => Effect.Effect<never, Error>) => {
  const happened: Array<string> = []
  let starts = 0
  const part = Effect.gen(function* () {
    const wait = seconds[starts++]
    yield* Effect.acquireRelease(
      Effect.sync(() => happened.push(`start ${starts}`)),
      () => Effect.sync(() => happened.push(`end ${starts}`)),
    )
    if (wait === undefined) return yield* Effect.never
    yield* Effect.sleep(wait * 1000)
    return yield* crash()
  })
  return { part, happened }
}

const supervise = (seconds: ReadonlyArray<number>, crash: () => Effect.Effect<never, Error>) =>
  Effect.gen(function* () {
    const { part, happened } = crashing(seconds, crash)
    const context = yield* Effect.context<never>()
    const fiber = yield* Effect.forkScoped(
      Effect.gen(function* () {
        const status = yield* StatusRef
        const told = () => Effect.map(status.get, ({ timeline }) => timeline.map(({ message }) => message))
        const running = yield* Effect.forkScoped(supervised("the part", part), { startImmediately: true })
        yield* Fiber.await(running)
        return { exit: yield* Effect.flip(Fiber.join(running)), told: yield* told() }
      }).pipe(Effect.scoped, Effect.provide(StatusRef.layer), Effect.provide(context)),
      { startImmediately: true },
    )
    return { fiber, happened }
  })

it.effect("a part that crashes is started again, with the old one's scope closed before", () =>
  Effect.gen(function* () {
    const { happened } = yield* supervise([1, 30], () => Effect.fail(new Error("no reason")))
    yield* TestClock.adjust("2 seconds")
    expect(happened).toEqual(["start 1", "end 1", "start 2"])
    yield* TestClock.adjust("1 hour")
    expect(happened).toEqual(["start 1", "end 1", "start 2", "end 2", "start 3"])
  }),
)

it.effect(
  "the fifth crash within a minute ends it, and every one is told with its cause; a defect is a crash, too",
  () =>
    Effect.gen(function* () {
      const { fiber, happened } = yield* supervise([1, 1, 1, 1, 1], () => Effect.die(new Error("an invariant")))
      yield* TestClock.adjust("8 seconds")
      const { exit, told } = yield* Fiber.join(fiber)
      expect(exit).toMatchObject({ _tag: "KeepsCrashing" })
      expect(exit.message).toBe("the part crashed 5 times within a minute, the last time: an invariant")
      expect(told.filter((message) => message === "the part crashed: an invariant")).toHaveLength(5)
      expect(happened.at(-1)).toBe("end 5")
    }),
)

it.effect("each crash within a minute is followed by a longer pause than the one before", () =>
  Effect.gen(function* () {
    const { happened } = yield* supervise([0, 0, 0, 0], () => Effect.fail(new Error("the port is taken")))
    for (const [wait, starts] of [
      [24, 1],
      [1, 2],
      [99, 2],
      [1, 3],
      [399, 3],
      [1, 4],
      [1599, 4],
      [1, 5],
    ] as const) {
      yield* TestClock.adjust(wait)
      expect(happened.filter((what) => what.startsWith("start"))).toHaveLength(starts)
    }
  }),
)

it.effect("crashes that are further apart never end it", () =>
  Effect.gen(function* () {
    const { fiber, happened } = yield* supervise(Array(20).fill(16), () => Effect.fail(new Error("again")))
    yield* TestClock.adjust("1 hour")
    expect(fiber.pollUnsafe()).toBeUndefined()
    expect(happened.at(-1)).toBe("start 21")
  }),
)

it.effect(
  "a part that cannot be set up the first time is its caller's to deal with; later that is a crash like others",
  () =>
    Effect.gen(function* () {
      let starts = 0
      const start = (ends: ReadonlyArray<string>) =>
        Effect.suspend(() => {
          const end = ends[starts++]
          if (end === "refused") return Effect.fail(new Error("the port is taken"))
          return Effect.succeed(end === undefined ? Effect.never : Effect.fail(new Error(end)))
        })
      expect((yield* Effect.flip(startSupervised("the part", start(["refused"])))).message).toBe("the port is taken")
      expect(starts).toBe(1)

      starts = 0
      const running = yield* startSupervised("the part", start(["crash", "refused", "refused"]))
      yield* TestClock.adjust("1 minute")
      expect(starts).toBe(4)
      const fiber = yield* Effect.forkScoped(running)
      yield* TestClock.adjust("1 hour")
      expect(fiber.pollUnsafe()).toBeUndefined()

      starts = 0
      const keeps = yield* startSupervised("the part", start(["crash", ...Array(4).fill("refused")]))
      yield* TestClock.adjust("3 seconds")
      expect((yield* Effect.flip(keeps)).message).toBe(
        "the part crashed 5 times within a minute, the last time: the port is taken",
      )
    }).pipe(Effect.provide(StatusRef.layer)),
)
