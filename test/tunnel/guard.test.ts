import { expect } from "bun:test"
import { Effect, Queue, Result } from "effect"
import { TestClock } from "effect/testing"
import { UNKNOWN_GENERATION } from "../../src/linux/index.ts"
import { FirewallError, KillSwitch } from "../../src/network/index.ts"
import { keep } from "../../src/tunnel/guard.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

/** Watches a kill switch whose next restorations are `results`; says which events there were after each look. */
const watched = (...results: ReadonlyArray<Result.Result<boolean, FirewallError>>) =>
  Effect.gen(function* () {
    const left = [...results]
    const asked: Array<ReadonlyArray<number>> = []
    const events: Array<string> = []
    const status = yield* StatusRef
    yield* status.listen(({ event }) => events.push(event))
    const killSwitch = KillSwitch.of({
      ...KillSwitch.none,
      state: "on",
      restore: (generations) =>
        Effect.suspend(() => {
          asked.push(generations)
          return Effect.fromResult(left.shift() ?? Result.succeed(false))
        }),
    })
    const changes = yield* Queue.unbounded<number>()
    yield* keep(changes).pipe(Effect.provideService(KillSwitch, killSwitch), Effect.forkScoped)
    const look = TestClock.adjust("1 second")
    return {
      events,
      left,
      asked,
      look,
      announce: Effect.andThen(Queue.offerAll(changes, [7, 8]), look),
      status,
    }
  }).pipe(Effect.provide(StatusRef.layer))

it.effect("looks when the kernel announces a change, and tells of one that was not ours", () =>
  Effect.gen(function* () {
    const { events, left, asked, look, announce } = yield* watched(Result.succeed(false), Result.succeed(true))
    yield* look
    expect(left).toHaveLength(2)
    yield* announce
    expect({ left: left.length, events }).toEqual({ left: 1, events: [] })
    yield* announce
    expect(events).toEqual(["kill_switch_restored"])
    expect(asked).toEqual([
      [7, 8],
      [7, 8],
    ])
  }),
)

it.effect("what cannot be set again takes readiness away, is told once, and tried until it succeeds", () =>
  Effect.gen(function* () {
    const refused = Result.fail(new FirewallError({ reason: "busy" }))
    const { events, asked, announce, look, status } = yield* watched(...Array.from({ length: 7 }, () => refused))
    yield* announce
    expect((yield* status.get).killSwitch).toBe("lost")
    expect(events).toEqual(["kill_switch_lost"])
    yield* look
    expect((yield* status.get).killSwitch).toBe("on")
    expect(events).toEqual(["kill_switch_lost", "kill_switch_restored"])
    // Nothing new was announced, and it is not as it should be all the same.
    expect(asked.slice(0, 2)).toEqual([[7, 8], [UNKNOWN_GENERATION]])
  }),
)

it.effect("what others set again and again is undone five times a second at most, for good", () =>
  Effect.gen(function* () {
    const { asked, announce } = yield* watched(...Array.from({ length: 100 }, () => Result.succeed(true)))
    for (let count = 0; count < 3; count++) yield* announce
    expect(asked).toHaveLength(3)
  }),
)
