import { expect } from "bun:test"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { watch } from "../../src/tunnel/readycheck.ts"
import { Resolver } from "../../src/tunnel/resolve.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

const resolver = Layer.succeed(
  Resolver,
  Resolver.of({ resolve: () => Effect.succeed([{ address: "192.0.2.9", family: "ipv4" }]) }),
)

const watched = Effect.gen(function* () {
  const context = yield* Layer.build(Layer.mergeAll(StatusRef.layer, resolver))
  const world = { answers: true, tries: 0 }
  const reach = (address: string, local: string) =>
    Effect.suspend(() => {
      expect([address, local]).toEqual(["192.0.2.9", "10.8.0.6"])
      world.tries++
      return world.answers ? Effect.void : Effect.fail("ECONNREFUSED")
    })
  yield* Effect.forkScoped(Effect.provide(watch({ protocol: "tcp", host: "db.internal", port: 5432 }, reach), context))
  const status = yield* Effect.provide(StatusRef, context)
  const pass = (seconds: number) => Effect.andThen(TestClock.adjust(`${seconds} seconds`), Effect.yieldNow)
  const check = Effect.map(status.get, ({ readyCheck }) => readyCheck)
  yield* pass(0)
  return { world, status, pass, check }
})

it.effect("nothing is tried while the tunnel is down, and the check does not hold", () =>
  Effect.gen(function* () {
    const { world, pass, check } = yield* watched
    yield* pass(60)
    expect(world.tries).toBe(0)
    expect(yield* check).toMatchObject({ ok: false, target: "tcp:db.internal:5432" })
  }),
)

it.effect("holds once the target answers, and not any more after three failures in a row", () =>
  Effect.gen(function* () {
    const { world, status, pass, check } = yield* watched
    yield* status.update({ phase: "connected", addresses: ["fd00:8::6/64"] })
    yield* pass(1)
    expect(yield* check).toMatchObject({ ok: false, reason: "the tunnel has no address of the family of 192.0.2.9" })
    yield* status.update({ addresses: ["fd00:8::6/64", "10.8.0.6/24"] })
    yield* pass(1)
    expect(yield* check).toMatchObject({ ok: true, reason: "answers" })
    world.answers = false
    yield* pass(10)
    yield* pass(10)
    expect(yield* check).toMatchObject({ ok: true })
    yield* pass(10)
    expect(yield* check).toMatchObject({ ok: false, reason: "ECONNREFUSED" })
    world.answers = true
    yield* pass(1)
    expect(yield* check).toMatchObject({ ok: true })
  }),
)
