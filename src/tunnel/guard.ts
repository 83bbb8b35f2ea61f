/** Watches over the kill switch: a table that somebody else removed or changed is set again at once, and that is told. */
import { Effect, Result } from "effect"
import { closeFd, filterChanges, openFilterWatch, UNKNOWN_GENERATION } from "../linux/index.ts"
import { KillSwitch, tableName } from "../network/index.ts"
import { StatusRef } from "./status.ts"

/** Never ends. */
export const guard = Effect.scoped(
  Effect.gen(function* () {
    const killSwitch = yield* KillSwitch
    if (killSwitch.state === "none") return yield* Effect.never
    const watch = yield* Effect.acquireRelease(Effect.sync(openFilterWatch), (fd) => Effect.sync(() => closeFd(fd)))
    return yield* keep(Effect.sync(() => filterChanges(watch, tableName)))
  }),
)

/** `changes`: the generations in which the table changed since it was asked last. Our own changes are among them. */
export const keep = Effect.fnUntraced(function* (changes: Effect.Effect<ReadonlyArray<number>>) {
  const killSwitch = yield* KillSwitch
  const status = yield* StatusRef
  let isLost = false
  for (;;) {
    yield* Effect.sleep(interval)
    const generations = yield* changes
    if (generations.length === 0 && !isLost) continue
    const restored = yield* Effect.result(killSwitch.restore(isLost ? [UNKNOWN_GENERATION] : generations))
    if (Result.isFailure(restored)) {
      if (!isLost) {
        yield* status.update({ killSwitch: "lost" })
        const message = `the kill switch is not as it was set, and it cannot be set again: ${restored.failure.message}`
        yield* status.event("kill_switch_lost", message, { level: "Error" })
      }
      isLost = true
    } else if (restored.success || isLost) {
      yield* status.update({ killSwitch: killSwitch.state })
      const message = "somebody else removed or changed the kill switch's table; it is set again"
      yield* status.event("kill_switch_restored", message, { level: "Error" })
      isLost = false
    }
  }
})

const interval = "200 millis"
