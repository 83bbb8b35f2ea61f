/**
 * Keeps small what the process has in memory: of the program 50 MB are mapped by a start, of which a connection that is up needs a
 * fifth.
 */
import { readFileSync } from "node:fs"
import { Effect } from "effect"
import { unmapProgramPages } from "../linux/index.ts"
import { StatusRef } from "./status.ts"

/** Never ends. What cannot be given back stays. */
export const giveBack = Effect.suspend(() =>
  givingBack(Effect.ignore(Effect.try(() => unmapProgramPages(readFileSync("/proc/self/smaps", "latin1"))))),
)

/** `release` is run when a connection has been up for some seconds, and then less and less often. */
export const givingBack = Effect.fnUntraced(function* (release: Effect.Effect<unknown>) {
  const status = yield* StatusRef
  let seen = 0
  /** Looks until the next time, and how many there were before it. */
  let left = 0
  let pause = 0
  for (;;) {
    yield* Effect.sleep(interval)
    const { phase, connects } = yield* status.get
    if (phase !== "connected") continue
    left--
    if (connects === seen && left > 0) continue
    yield* release
    pause = connects === seen ? Math.min(2 * pause, longestPause) : 1
    left = pause
    seen = connects
  }
})

const interval = "3 seconds"
/** Looks, ten minutes: a renegotiation uses much of the program as well. */
const longestPause = 200
