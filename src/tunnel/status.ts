/** What the tunnel is doing, as one value: logs, probes, metrics, page and command line all render this. */
import { Clock, Context, Effect, Layer, type Scope, SubscriptionRef } from "effect"

export type Phase = "starting" | "connecting" | "connected" | "waiting" | "paused" | "stopping"

export interface Status {
  readonly phase: Phase
  /** Unix milliseconds of the last change of phase. */
  readonly since: number
  readonly device: string | undefined
  /** `udp://192.0.2.1:1194 (vpn.example.com)` */
  readonly remote: string | undefined
  /** Attempts since the start, the present one included. */
  readonly attempts: number
  /** Times the tunnel was up. */
  readonly connects: number
  /** Unix milliseconds. */
  readonly nextTry: number | undefined
  readonly lastError: string | undefined
  /** A new connection is being established beside the one that is up. `since`: Unix milliseconds. */
  readonly handover: { readonly since: number } | undefined
  /** How the last one ended, or why there was none. `at`: Unix milliseconds. */
  readonly lastHandover: { readonly at: number; readonly ok: boolean; readonly message: string } | undefined
  readonly tls: string | undefined
  readonly cipher: string | undefined
  readonly keyId: number | undefined
  /** Unix milliseconds at which the present data key was installed. */
  readonly keySince: number | undefined
  readonly renegotiations: number
  readonly addresses: ReadonlyArray<string>
  readonly mtu: number | undefined
  /** False when somebody else sets addresses and routes. */
  readonly networkManaged: boolean
  /** "none": there was no right to set one; "lost": somebody removed it, and it cannot be set again; undefined: not yet known. */
  readonly killSwitch: "on" | "off" | "none" | "lost" | undefined
  /** Seconds without an authenticated packet after which the peer counts as dead; undefined: no such limit. */
  readonly deadAfter: number | undefined
  /** The `ip` lines in force. */
  readonly routes: ReadonlyArray<string>
  /** What `CULVERT_READY_CHECK` found; undefined when none is set. `at`: Unix milliseconds of the last try. */
  readonly readyCheck:
    | { readonly target: string; readonly ok: boolean; readonly reason: string; readonly at: number | undefined }
    | undefined
  /** The servers for names that are not the cluster's, and whether they answer; undefined: DNS is left alone. */
  readonly dns: { readonly servers: ReadonlyArray<string>; readonly ok: boolean; readonly reason: string } | undefined
  /** Queries by `SERVER OUTCOME`, counted in place. */
  readonly dnsQueries: Readonly<Record<string, number>>
  /** Packets that the kill switch refused, since the start. */
  readonly refused: { readonly ipv4: number; readonly ipv6: number }
  readonly timeline: ReadonlyArray<{ readonly at: number; readonly event: string; readonly message: string }>
}

/** One event of the tunnel, as it is logged. */
export interface Happened {
  /** Unix milliseconds. */
  readonly at: number
  readonly event: string
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
}

export class StatusRef extends Context.Service<
  StatusRef,
  {
    readonly ref: SubscriptionRef.SubscriptionRef<Status>
    readonly get: Effect.Effect<Status>
    /** Changes fields; a change of phase stamps `since`. */
    readonly update: (change: Partial<Status>) => Effect.Effect<void>
    /** Logs an event and appends it to the timeline. */
    readonly event: (
      event: string,
      message: string,
      options?: { readonly level?: "Debug" | "Info" | "Warn" | "Error"; readonly facts?: Record<string, unknown> },
    ) => Effect.Effect<void>
    /** Calls `listener`, which must not throw, at every event from now on, also those of level Debug. */
    readonly listen: (listener: (happened: Happened) => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("culvert/tunnel/StatusRef") {
  static readonly layer = Layer.effect(
    StatusRef,
    Effect.gen(function* () {
      const ref = yield* SubscriptionRef.make(initialStatus(yield* Clock.currentTimeMillis))
      const listeners = new Set<(happened: Happened) => void>()
      return StatusRef.of({
        ref,
        get: SubscriptionRef.get(ref),
        update: Effect.fnUntraced(function* (change) {
          const now = yield* Clock.currentTimeMillis
          yield* SubscriptionRef.update(ref, (status) => ({
            ...status,
            ...(change.phase !== undefined && change.phase !== status.phase ? { since: now } : {}),
            ...change,
          }))
        }),
        event: Effect.fnUntraced(function* (event, message, options) {
          const at = yield* Clock.currentTimeMillis
          for (const listener of listeners) listener({ at, event, message, facts: options?.facts ?? {} })
          if (options?.level !== "Debug") {
            yield* SubscriptionRef.update(ref, (status) => ({
              ...status,
              timeline: [...status.timeline.slice(1 - timelineLength), { at, event, message }],
            }))
          }
          yield* Effect.logWithLevel(options?.level ?? "Info")(message).pipe(
            Effect.annotateLogs({ event, ...options?.facts }),
          )
        }),
        listen: (listener) =>
          Effect.asVoid(
            Effect.acquireRelease(
              Effect.sync(() => listeners.add(listener)),
              () => Effect.sync(() => listeners.delete(listener)),
            ),
          ),
      })
    }),
  )
}

const timelineLength = 100

/** Before anything happened; `now` in Unix milliseconds. */
export const initialStatus = (now: number): Status => ({
  phase: "starting",
  since: now,
  device: undefined,
  remote: undefined,
  attempts: 0,
  connects: 0,
  nextTry: undefined,
  lastError: undefined,
  handover: undefined,
  lastHandover: undefined,
  tls: undefined,
  cipher: undefined,
  keyId: undefined,
  keySince: undefined,
  renegotiations: 0,
  addresses: [],
  mtu: undefined,
  networkManaged: true,
  killSwitch: undefined,
  deadAfter: undefined,
  routes: [],
  readyCheck: undefined,
  dns: undefined,
  dnsQueries: {},
  refused: { ipv4: 0, ipv6: 0 },
  timeline: [],
})
