import { expect } from "bun:test"
import { Context, Effect, Layer, Queue } from "effect"
import { TestClock } from "effect/testing"
import { Network } from "../../src/network/index.ts"
import { renewing } from "../../src/tunnel/keeproutes.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

/** How often the routes are renewed: when the pod's network changed, with `results` in turn. */
const watched = (...results: ReadonlyArray<boolean>) =>
  Effect.gen(function* () {
    const state = { renewed: 0, fitted: [] as string[] }
    const network = Layer.mock(Network, {
      direct: [],
      fitPod: (device) => Effect.sync(() => void state.fitted.push(device)).pipe(Effect.as([])),
      renewRoutes: Effect.sync(() => results[state.renewed++] ?? true),
      current: Effect.sync(() => state.fitted.map((device) => `fits ${device}`)),
    })
    const news = yield* Queue.unbounded<void>()
    const status = yield* Layer.build(StatusRef.layer)
    const told = Context.get(status, StatusRef)
    yield* renewing("tun0", news).pipe(Effect.provide(network), Effect.provide(status), Effect.forkScoped)
    yield* TestClock.adjust(0)
    return Object.assign(state, { status: told.get, change: Queue.offer(news, undefined) })
  })

it.effect("routes are set again when the pod's network changed, and only then", () =>
  Effect.gen(function* () {
    const state = yield* watched(true)
    yield* TestClock.adjust("1 minute")
    expect(state.renewed).toBe(0)
    yield* state.change
    yield* TestClock.adjust("1 minute")
    expect(state.renewed).toBe(1)
    expect((yield* state.status).routes).toEqual(["fits tun0"])
  }),
)

it.effect("what the kernel does not take yet is tried again, less and less often, and at once when there is news", () =>
  Effect.gen(function* () {
    const state = yield* watched(...Array.from({ length: 9 }, () => false))
    yield* state.change
    yield* TestClock.adjust("1 second")
    expect(state.renewed).toBe(1)
    // After 1, 2, 4, 8 and 16 seconds, and then every 16.
    yield* TestClock.adjust("31 seconds")
    expect(state.renewed).toBe(6)
    yield* TestClock.adjust("32 seconds")
    expect(state.renewed).toBe(8)
    yield* state.change
    yield* TestClock.adjust("2 seconds")
    expect(state.renewed).toBe(10)
    yield* TestClock.adjust("1 minute")
    expect(state.renewed).toBe(10)
  }),
)
