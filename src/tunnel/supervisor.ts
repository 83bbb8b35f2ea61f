/**
 * Parts of the program that may crash and are started again: a crash is logged with its cause, and the part builds its
 * state anew. One that keeps crashing ends the program, so that whoever runs the container sees it.
 */
import { Cause, Clock, Effect, Exit, type Scope } from "effect"
import { KeepsCrashing } from "./errors.ts"
import { StatusRef } from "./status.ts"

/**
 * Runs `part`, each time in a scope of its own, for as long as the fiber lives. Any failure or defect of it is a crash;
 * fails with the fifth one within a minute.
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
    yield* status.event("part_restarted", `${name} is started again`, { facts: { part: name } })
  }
}) as <E, R>(
  name: string,
  part: Effect.Effect<never, E, R>,
) => Effect.Effect<never, KeepsCrashing, Exclude<R, Scope.Scope> | StatusRef>

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const mostCrashes = 5
/** ms */
const window = 60_000
