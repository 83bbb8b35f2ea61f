import { expect } from "bun:test"
import { Effect, Layer } from "effect"
import { Control } from "../../src/tunnel/control.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

/** A tunnel that only says when it begins and ends. */
const started = Effect.gen(function* () {
  const context = yield* Layer.build(Layer.mergeAll(Control.layer, StatusRef.layer))
  const log: Array<string> = []
  const tunnel = Effect.gen(function* () {
    log.push("begin")
    return yield* Effect.never
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => void log.push("end"))))
  const control = yield* Effect.provide(Control, context)
  const reconnect = Effect.sync(() => void log.push("reconnect"))
  yield* Effect.forkScoped(Effect.provide(control.obey(tunnel, reconnect), context))
  const ask = (wish: "reconnect" | "pause" | "resume") => Effect.andThen(control.ask(wish), settle)
  const phase = Effect.map(
    Effect.provide(
      Effect.flatMap(StatusRef, (ref) => ref.get),
      context,
    ),
    ({ phase }) => phase,
  )
  yield* settle
  return { log, ask, phase }
})

const settle = Effect.yieldNow.pipe(Effect.repeat({ times: 20 }))

it.effect("to reconnect is the affair of a tunnel that runs", () =>
  Effect.gen(function* () {
    const { log, ask } = yield* started
    yield* ask("reconnect")
    expect(log).toEqual(["begin", "reconnect"])
  }),
)

it.effect("pause keeps it down until somebody says resume or reconnect", () =>
  Effect.gen(function* () {
    const { log, ask, phase } = yield* started
    yield* ask("pause")
    expect(log).toEqual(["begin", "end"])
    expect(yield* phase).toBe("paused")
    yield* ask("pause")
    expect(log).toEqual(["begin", "end"])
    yield* ask("resume")
    expect(log).toEqual(["begin", "end", "begin"])
    yield* ask("pause")
    yield* ask("reconnect")
    expect(log).toEqual(["begin", "end", "begin", "end", "begin"])
  }),
)

it.effect("resume does nothing to a tunnel that runs", () =>
  Effect.gen(function* () {
    const { log, ask } = yield* started
    yield* ask("resume")
    expect(log).toEqual(["begin"])
  }),
)
