/**
 * Runs Effects as `bun test` cases: `effect` under the test clock, `live` under the real one. Both close the scope and
 * print typed failures and defects; log lines are swallowed.
 */
import { test } from "bun:test"
import { Cause, Effect, Exit, Layer, Logger, type Scope } from "effect"
import { TestClock } from "effect/testing"

const run = async <A, E>(effect: Effect.Effect<A, E>) => {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
}

const quiet = Logger.layer([])

export const it = {
  effect: <A, E>(name: string, body: () => Effect.Effect<A, E, Scope.Scope>, timeout?: number) =>
    test(name, () => run(Effect.scoped(body()).pipe(Effect.provide(Layer.merge(TestClock.layer(), quiet)))), timeout),
  live: <A, E>(name: string, body: () => Effect.Effect<A, E, Scope.Scope>, timeout?: number) =>
    test(name, () => run(Effect.scoped(body()).pipe(Effect.provide(quiet))), timeout),
}
