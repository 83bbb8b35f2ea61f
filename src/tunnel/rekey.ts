/**
 * When to renegotiate: reneg-sec, reneg-bytes, reneg-pkts, and packet ids that run out. A renegotiation started by the
 * server counts as ours. One that fails leaves the old key working and is tried again.
 */
import { Effect, Option, Queue, Random } from "effect"
import type { Profile } from "../config/index.ts"

export type KeyEvent = "installed" | "failed" | "exhausted" | "lost"

export interface KeyLife {
  /** Every key that was installed, every renegotiation that failed, the data plane's warning, and that TLS of the key broke. */
  readonly events: Queue.Dequeue<KeyEvent>
  readonly now: () => number
  /** Bytes and packets under the present sending key. */
  readonly bytes: () => number
  readonly packets: () => number
  readonly renegotiate: Effect.Effect<void>
}

/** Starts when the first key is in place. */
export const rekey = (options: Profile["timers"], key: KeyLife): Effect.Effect<never> =>
  Effect.gen(function* () {
    const timers = yield* drawn(options)
    let [since, isLost] = [key.now(), false]
    for (;;) {
      const event = yield* nextEvent(timers, key, since, isLost)
      if (event === "lost") isLost = true
      if (event === "installed") [since, isLost] = [key.now(), false]
      if (event !== "exhausted") continue
      yield* key.renegotiate
      // Both outcomes are events; hand-window bounds the wait inside the session.
      const outcome = yield* takeOutcome(key.events)
      if (outcome === "failed") yield* Effect.sleep(retryAfter(timers))
      else [since, isLost] = [key.now(), false]
    }
  })

/** With a minimum beside `reneg-sec` a thousand clients that connected together do not renegotiate together. */
const drawn = Effect.fnUntraced(function* (timers: Profile["timers"]) {
  const { renegSec, renegSecMinimum } = timers
  if (renegSecMinimum === undefined) return timers
  return { ...timers, renegSec: yield* Random.nextIntBetween(renegSecMinimum, renegSec) }
})

/** "exhausted" as soon as a limit is reached, "installed" when the server was first. */
const nextEvent = Effect.fnUntraced(function* (
  timers: Profile["timers"],
  key: KeyLife,
  since: number,
  isLost: boolean,
) {
  const longest = timers.renegSec > 0 ? timers.renegSec * 1000 : Number.POSITIVE_INFINITY
  const until = since + (isLost ? Math.min(longest, leastLife) : longest)
  const limited = timers.renegBytes > 0 || timers.renegPackets > 0
  for (;;) {
    const remaining = until - key.now()
    if (remaining <= 0 || reached(timers, key)) return "exhausted" as const
    const wait = Math.min(remaining, limited ? pollInterval : Number.POSITIVE_INFINITY)
    const event = yield* Number.isFinite(wait)
      ? Queue.take(key.events).pipe(Effect.timeoutOption(wait), Effect.map(Option.getOrUndefined))
      : Queue.take(key.events)
    if (event === "installed" || event === "exhausted" || (event === "lost" && !isLost)) return event
  }
})

const takeOutcome = Effect.fnUntraced(function* (events: Queue.Dequeue<KeyEvent>) {
  for (;;) {
    const event = yield* Queue.take(events)
    if (event === "installed" || event === "failed") return event
  }
})

const reached = (timers: Profile["timers"], key: KeyLife): boolean =>
  (timers.renegBytes > 0 && key.bytes() >= timers.renegBytes) ||
  (timers.renegPackets > 0 && key.packets() >= timers.renegPackets)

/** A failed renegotiation took its hand-window already; the pause only keeps an immediate refusal from becoming a storm. */
const retryAfter = (timers: Profile["timers"]) => Math.min(Math.max(timers.handWindow, 1), 10) * 1000

const pollInterval = 1000

/** ms; where control packets are not authenticated by a key of their own, who can forge them gets a renegotiation a minute at most. */
const leastLife = 60_000
