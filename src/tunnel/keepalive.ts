/**
 * ping, ping-restart, ping-exit, inactive and session-timeout of one connection. Nothing ticks: each policy sleeps until
 * the earliest moment at which it could have to act, looks at the counters, and sleeps for what remains.
 */
import { Effect, Equal, Queue } from "effect"
import type { KeepaliveOptions } from "../config/index.ts"
import { AttemptFailed } from "./errors.ts"

/** Times in milliseconds of one clock; bytes are those of packets from and to tun. */
export interface Activity {
  readonly now: () => number
  readonly lastSend: () => number
  /** Last packet that was authenticated, of the data or of the control channel. */
  readonly lastReceive: () => number
  readonly tunnelBytes: () => number
  readonly ping: () => void
}

/** Runs as long as the connection lives; fails with the policy that ended it. Of `limits` the last ones hold. */
export const keepalive = Effect.fnUntraced(function* (limits: Queue.Dequeue<KeepaliveOptions>, activity: Activity) {
  const since = activity.now()
  for (let options = yield* Queue.take(limits); ; ) {
    options = yield* Effect.raceFirst(policies(options, since, activity), others(options, limits))
  }
})

/** The same again leaves the timers as they run. */
const others = Effect.fnUntraced(function* (options: KeepaliveOptions, limits: Queue.Dequeue<KeepaliveOptions>) {
  for (;;) {
    const next = yield* Queue.take(limits)
    if (!Equal.equals(next, options)) return next
  }
})

/** `since`: when the connection was up. */
const policies = (options: KeepaliveOptions, since: number, activity: Activity): Effect.Effect<never, AttemptFailed> =>
  Effect.raceAllFirst([
    Effect.never,
    ...enabled(options.ping, (seconds) => pings(seconds, activity)),
    ...enabled(options.silence?.seconds, (seconds) =>
      silence(seconds, activity, {
        ...afterSilence[options.silence!.then],
        message: `nothing heard from the server for ${seconds} s (ping-${options.silence!.then})`,
      }),
    ),
    ...enabled(options.sessionTimeout, (seconds) =>
      Effect.andThen(
        Effect.sleep(Math.max(0, since + seconds * 1000 - activity.now())),
        ended({
          tag: "SessionTimeout",
          retry: "never",
          message: `the session reached its ${seconds} s (session-timeout)`,
        }),
      ),
    ),
    ...enabled(options.inactive?.seconds, (seconds) => inactivity(seconds, options.inactive?.bytes ?? 0, activity)),
  ])

/** A ping after `seconds` in which nothing was sent. */
const pings = (seconds: number, activity: Activity) =>
  Effect.gen(function* () {
    const interval = seconds * 1000
    let pinged = activity.now()
    for (;;) {
      const idle = activity.now() - Math.max(activity.lastSend(), pinged)
      if (idle >= interval) {
        activity.ping()
        pinged = activity.now()
      } else {
        yield* Effect.sleep(interval - idle)
      }
    }
  })

const afterSilence = {
  restart: { tag: "PingRestart", retry: "same" },
  exit: { tag: "PingExit", retry: "never" },
} as const

const silence = (seconds: number, activity: Activity, reason: AttemptFailed["reason"]) =>
  Effect.gen(function* () {
    const started = activity.now()
    for (;;) {
      const remaining = seconds * 1000 - (activity.now() - Math.max(activity.lastReceive(), started))
      if (remaining <= 0) return yield* ended(reason)
      yield* Effect.sleep(remaining)
    }
  })

/** Ends when fewer than `bytes` (at least one) went through the tunnel in a whole period. */
const inactivity = (seconds: number, bytes: number, activity: Activity) =>
  Effect.gen(function* () {
    let before = activity.tunnelBytes()
    for (;;) {
      yield* Effect.sleep(seconds * 1000)
      const now = activity.tunnelBytes()
      if (now - before < Math.max(bytes, 1)) {
        return yield* ended({
          tag: "Inactive",
          retry: "never",
          message: `fewer than ${Math.max(bytes, 1)} bytes in ${seconds} s (inactive)`,
        })
      }
      before = now
    }
  })

const ended = (reason: AttemptFailed["reason"]) => Effect.fail(new AttemptFailed({ reason, established: true }))

/** Undefined and 0 both mean that the policy is off. */
const enabled = <A>(value: number | undefined, policy: (value: number) => A): ReadonlyArray<A> =>
  value === undefined || value === 0 ? [] : [policy(value)]
