import { expect } from "bun:test"
import { Effect, Result } from "effect"
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
    let announced: ReadonlyArray<number> = []
    const changes = Effect.sync(() => {
      const result = announced
      announced = []
      return result
    })
    yield* keep(changes).pipe(Effect.provideService(KillSwitch, killSwitch), Effect.forkScoped)
    const look = TestClock.adjust("1 second")
    return {
      events,
      left,
      asked,
      look,
      announce: Effect.suspend(() => {
        announced = [7]
        return look
      }),
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
    expect(asked).toEqual([[7], [7]])
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
    expect(asked.slice(0, 2)).toEqual([[7], [UNKNOWN_GENERATION]])
  }),
)
