/**
 * Which remote and address comes next, how long to wait before it, and what ends it all. The order and the waits are
 * OpenVPN's: every address of a remote, then the next remote; the wait doubles from the fifth round over the list on,
 * and is jittered so that a thousand sidecars do not knock together.
 */
import { Clock, Effect, Random } from "effect"
import type { Profile, Remote } from "../config/index.ts"
import { KillSwitch } from "../network/index.ts"
import type { RetryAdvice } from "../protocol/index.ts"
import { type AttemptFailed, AuthenticationRefused, GaveUp } from "./errors.ts"
import { firstHop } from "./proxy.ts"
import { type Address, Resolver } from "./resolve.ts"
import { StatusRef } from "./status.ts"

/** Runs one attempt; it never succeeds, because a connection that ends has failed. */
export type RunAttempt<R> = (remote: Remote, address: Address) => Effect.Effect<never, AttemptFailed, R>

/** Keeps the tunnel up: fails only when there is nothing left to try or trying is not wanted. */
export const retry = Effect.fnUntraced(function* <R>(profile: Profile, attempt: RunAttempt<R>) {
  const resolver = yield* Resolver
  const killSwitch = yield* KillSwitch
  const status = yield* StatusRef
  const remotes = profile.remoteRandom ? yield* Random.shuffle(profile.remotes) : profile.remotes
  let position: Position = { remote: 0, address: 0, failures: 0 }
  let unresolvedSince: number | undefined

  for (;;) {
    const remote = remotes[position.remote]!
    yield* status.update({ phase: "connecting", nextTry: undefined })
    const { host } = firstHop(remote)
    const began = yield* Clock.currentTimeMillis
    const addresses = yield* Effect.result(
      killSwitch.resolving(
        resolver.resolve(host, remote.family, profile.remoteRandomHostname && remote.proxy === undefined),
      ),
    )
    if (addresses._tag === "Failure") {
      unresolvedSince ??= began
      yield* hopeResolving(profile, (yield* Clock.currentTimeMillis) - unresolvedSince, addresses.failure.message)
    } else unresolvedSince = undefined
    const failure =
      addresses._tag === "Failure"
        ? {
            retry: "advance" as Step,
            established: false,
            message: addresses.failure.message,
            backoff: 0,
            waited: 0,
            addresses: 1,
          }
        : yield* attempt(remote, addresses.success[position.address % addresses.success.length]!).pipe(
            Effect.flip,
            Effect.flatMap((failed) => judge(profile, failed)),
            Effect.map((judged) => ({ ...judged, addresses: addresses.success.length })),
            Effect.zipWith(Clock.currentTimeMillis, (judged, now) => ({
              ...judged,
              waited: judged.unanswered ? (now - began) / 1000 : 0,
            })),
          )

    position = advance(position, { ...failure, remotes: remotes.length })
    if (profile.connectRetryMax !== undefined && position.failures >= profile.connectRetryMax * remotes.length) {
      return yield* new GaveUp({
        message: `gave up after ${position.failures} attempts (connect-retry-max ${profile.connectRetryMax}); the last one: ${failure.message}`,
      })
    }
    const base = waitSeconds(remote.connectRetry, Math.floor(position.failures / remotes.length))
    // The time in which a server did not answer was a wait already.
    const seconds = Math.max(base - failure.waited, failure.backoff, 0) * (yield* Random.nextBetween(0.9, 1.1))
    yield* status.update({
      phase: "waiting",
      lastError: failure.message,
      nextTry: Math.round((yield* Clock.currentTimeMillis) + seconds * 1000),
    })
    yield* status.event("retry_scheduled", `next attempt in ${seconds.toFixed(1)} s`, { facts: { seconds } })
    yield* Effect.sleep(seconds * 1000)
  }
})

/** Where the list stands. `failures` counts attempts since traffic last flowed. */
export interface Position {
  readonly remote: number
  readonly address: number
  readonly failures: number
}

type Step = Exclude<RetryAdvice, "never">

/**
 * After traffic has flowed the same address is tried again first. "same" stays, "advance" goes to the next address of
 * the remote and from the last one to the next remote; "advanceRemote" is a server's wish and goes there at once.
 */
export const advance = (
  position: Position,
  failure: {
    readonly retry: Step
    readonly established: boolean
    readonly addresses: number
    readonly remotes: number
  },
): Position => {
  const failures = failure.established ? 0 : position.failures + 1
  const next = { remote: (position.remote + 1) % failure.remotes, address: 0, failures }
  if (failure.retry === "advanceRemote") return next
  if (failure.established || failure.retry === "same") return { ...position, failures }
  const address = position.address + 1
  return address < failure.addresses ? { remote: position.remote, address, failures } : next
}

/** `rounds` is the number of full failed passes over the list. */
export const waitSeconds = (connectRetry: Remote["connectRetry"], rounds: number): number =>
  Math.min(
    connectRetry.wait * 2 ** Math.min(Math.max(rounds - 4, 0), 16),
    Math.max(connectRetry.maximum, connectRetry.wait),
  )

/** What the profile's policies make of a failed attempt: a way on, or the end. */
const judge = Effect.fnUntraced(function* (profile: Profile, failed: AttemptFailed) {
  const reason = failed.reason
  const unanswered = reason.tag === "NoAnswer"
  const judged = { established: failed.established, message: reason.message, backoff: 0, unanswered }
  if (reason.tag === "AuthFailed") {
    if (reason.temporary) return { ...judged, retry: retryOf(reason.retry), backoff: reason.backoffSeconds ?? 0 }
    if (reason.again) return { ...judged, retry: "same" as const }
    if (profile.authRetry === "none") {
      return yield* new AuthenticationRefused({
        message: `${reason.message}; check the user name and password (auth-retry nointeract would keep trying)`,
      })
    }
    return { ...judged, retry: "same" as const, backoff: authRetryPause }
  }
  if (reason.retry === "never") return yield* new GaveUp({ message: reason.message })
  return { ...judged, retry: retryOf(reason.retry) }
})

/** `resolv-retry`: how long it goes on while no name of the list resolves. */
const hopeResolving = Effect.fnUntraced(function* ({ resolvRetry }: Profile, milliseconds: number, last: string) {
  if (resolvRetry === undefined || milliseconds < resolvRetry * 1000) return
  return yield* new GaveUp({
    message: `no server name resolved for ${resolvRetry} s (resolv-retry); the last one: ${last}`,
  })
})

const retryOf = (retry: RetryAdvice): Step => (retry === "never" ? "advance" : retry)

/** Seconds; a server that bans addresses for failed logins must not be provoked. */
const authRetryPause = 10
