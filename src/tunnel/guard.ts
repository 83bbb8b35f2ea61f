/** Watches over the kill switch: a table that somebody else removed or changed is set again at once, and that is told. */
import { Effect, Queue, Result } from "effect"
import { UNKNOWN_GENERATION, watchFilter } from "../linux/index.ts"
import { KillSwitch, tableName } from "../network/index.ts"
import { hearing } from "./hearing.ts"
import { StatusRef } from "./status.ts"

/** Never ends. */
export const guard = Effect.gen(function* () {
  const killSwitch = yield* KillSwitch
  if (killSwitch.state === "none") return yield* Effect.never
  return yield* hearing((heard, failed) => watchFilter(tableName, heard, failed), keep)
})

/** `changes`: the generations in which the table changed. Our own changes are among them. */
export const keep = Effect.fnUntraced(function* (changes: Queue.Dequeue<number>) {
  const killSwitch = yield* KillSwitch
  const status = yield* StatusRef
  let isLost = false
  for (;;) {
    const generations = yield* Queue.takeAll(changes)
    let restored = yield* Effect.result(killSwitch.restore(generations))
    while (Result.isFailure(restored)) {
      if (!isLost) {
        yield* status.update({ killSwitch: "lost" })
        const message = `the kill switch is not as it was set, and it cannot be set again: ${restored.failure.message}`
        yield* status.event("kill_switch_lost", message, { level: "Error" })
      }
      isLost = true
      yield* Effect.sleep(interval)
      restored = yield* Effect.result(killSwitch.restore([UNKNOWN_GENERATION]))
    }
    if (!restored.success && !isLost) continue
    isLost = false
    yield* status.update({ killSwitch: killSwitch.state })
    const message = "somebody else removed or changed the kill switch's table; it is set again"
    yield* status.event("kill_switch_restored", message, { level: "Error" })
    // Two programs that undo each other's work do not take all of the processor.
    yield* Effect.sleep(interval)
  }
})

const interval = "200 millis"
