import { expect } from "bun:test"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { FirewallError, KillSwitch } from "../../src/network/index.ts"
import { keep } from "../../src/tunnel/guard.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

/** Watches a kill switch whose next restorations are `results`; says which events there were after each look. */
const watched = (...results: ReadonlyArray<Result.Result<boolean, FirewallError>>) =>
  Effect.gen(function* () {
    const left = [...results]
    const events: Array<string> = []
    const status = yield* StatusRef
    yield* status.listen(({ event }) => events.push(event))
    const killSwitch = KillSwitch.of({
      ...KillSwitch.none,
      state: "on",
      restore: Effect.suspend(() => Effect.fromResult(left.shift() ?? Result.succeed(false))),
    })
    let announced = false
    const changed = Effect.sync(() => {
      const result = announced
      announced = false
      return result
    })
    yield* keep(changed).pipe(Effect.provideService(KillSwitch, killSwitch), Effect.forkScoped)
    const look = TestClock.adjust("1 second")
    return {
      events,
      left,
      look,
      announce: Effect.suspend(() => {
        announced = true
        return look
      }),
      status,
    }
  }).pipe(Effect.provide(StatusRef.layer))

it.effect("looks when the kernel announces a change, and tells of one that was not ours", () =>
  Effect.gen(function* () {
    const { events, left, look, announce } = yield* watched(Result.succeed(false), Result.succeed(true))
    yield* look
    expect(left).toHaveLength(2)
    yield* announce
    expect({ left: left.length, events }).toEqual({ left: 1, events: [] })
    yield* announce
    expect(events).toEqual(["kill_switch_restored"])
  }),
)

it.effect("what cannot be set again takes readiness away, is told once, and tried until it succeeds", () =>
  Effect.gen(function* () {
    const refused = Result.fail(new FirewallError({ reason: "busy" }))
    const { events, announce, look, status } = yield* watched(...Array.from({ length: 7 }, () => refused))
    yield* announce
    expect((yield* status.get).killSwitch).toBe("lost")
    expect(events).toEqual(["kill_switch_lost"])
    yield* look
    expect((yield* status.get).killSwitch).toBe("on")
    expect(events).toEqual(["kill_switch_lost", "kill_switch_restored"])
  }),
)
