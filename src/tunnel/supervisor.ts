/**
 * Parts of the program that may crash and are started again: a crash is logged with its cause, and the part builds its
 * state anew. One that keeps crashing ends the program, so that whoever runs the container sees it.
 */
import { Cause, Clock, Deferred, Effect, Exit, Fiber, type Scope } from "effect"
import { KeepsCrashing } from "./errors.ts"
import { StatusRef } from "./status.ts"

/**
 * Runs `part`, each time in a scope of its own, for as long as the fiber lives. Any failure or defect of it is a crash;
 * fails with the fifth one within a minute. It is started again after a pause, four times as long each time: what it needs, such as
 * a port, may not be free yet. A program that is run in that moment (`nft`) has the part's sockets open until it begins.
 */
export const supervised = Effect.fnUntraced(function* <E, R>(name: string, part: Effect.Effect<never, E, R>) {
  const status = yield* StatusRef
  const clock = yield* Clock.clockWith(Effect.succeed)
  let crashes: ReadonlyArray<number> = []
  for (;;) {
    const exit: Exit.Exit<never, E> = yield* Effect.exit(Effect.scoped(part))
    if (Exit.isSuccess(exit)) return exit.value
    if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
    const cause = messageOf(Cause.squash(exit.cause))
    const now = Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    crashes = [...crashes.filter((at) => now - at < window), now]
    yield* status.event("part_crashed", `${name} crashed: ${cause}`, {
      level: "Error",
      facts: { part: name, cause, crashesWithinAMinute: crashes.length },
    })
    if (crashes.length >= mostCrashes) {
      return yield* new KeepsCrashing({
        message: `${name} crashed ${crashes.length} times within a minute, the last time: ${cause}`,
      })
    }
    yield* Effect.sleep(shortestPause * 4 ** (crashes.length - 1))
    yield* status.event("part_restarted", `${name} is started again`, { facts: { part: name } })
  }
}) as <E, R>(
  name: string,
  part: Effect.Effect<never, E, R>,
) => Effect.Effect<never, KeepsCrashing, Exclude<R, Scope.Scope> | StatusRef>

/**
 * The same for a part that has to be set up before anything else goes on: `start` does that, and gives what then runs. The
 * first time its failure is the caller's, who gets to know what is wrong with the settings; later ones are crashes. Gives what
 * fails when the part keeps crashing, which the caller has to wait for.
 */
export const startSupervised = Effect.fnUntraced(function* <E, R, E2>(
  name: string,
  start: Effect.Effect<Effect.Effect<never, E2>, E, R>,
) {
  const started = yield* Deferred.make<void, E>()
  const part = Effect.gen(function* () {
    const run = yield* Effect.exit(start)
    if (Exit.isFailure(run)) {
      if (yield* Deferred.failCause(started, run.cause)) return yield* Effect.never
      return yield* Effect.failCause(run.cause)
    }
    yield* Deferred.succeed(started, undefined)
    return yield* run.value
  })
  const running = yield* Effect.forkScoped(supervised(name, part))
  yield* Deferred.await(started)
  return Fiber.join(running)
}) as <E, R, E2>(
  name: string,
  start: Effect.Effect<Effect.Effect<never, E2>, E, R>,
) => Effect.Effect<Effect.Effect<never, KeepsCrashing>, E, Exclude<R, Scope.Scope> | Scope.Scope | StatusRef>

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const mostCrashes = 5
/** ms */
const window = 60_000
/** ms */
const shortestPause = 25
