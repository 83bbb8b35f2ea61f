/**
 * Which remote and address comes next, how long to wait before it, and what ends it all. The order and the waits are
 * OpenVPN's: every address of a remote, then the next remote; the wait doubles from the fifth round over the list on,
 * and is jittered so that a thousand sidecars do not knock together.
 */
import { Clock, Data, Effect, Random, Result } from "effect"
import type { Profile, Remote } from "../config/index.ts"
import { KillSwitch } from "../network/index.ts"
import type { RetryAdvice } from "../protocol/index.ts"
import { Credentials } from "./credentials.ts"
import { type AttemptFailed, AuthenticationRefused, GaveUp } from "./errors.ts"
import { firstHop } from "./proxy.ts"
import { type Address, type ResolveError, Resolver } from "./resolve.ts"
import { StatusRef } from "./status.ts"

/** One address of one remote. */
export interface Candidate {
  readonly remote: Remote
  readonly address: Address
}

export type Candidates = readonly [Candidate, ...ReadonlyArray<Candidate>]

/** "sequential": one candidate an attempt, in the order of the list; "race": all of the list at once. */
export type ConnectMode = "sequential" | "race"

export type Attempt<A, R> = (candidates: Candidates) => Effect.Effect<A, AttemptFailed, R>

/** With no connection, which is what people are told of, and beside one that is up. */
export interface Attempts<A, R> {
  readonly alone: Attempt<A, R>
  readonly beside: Attempt<A, R>
}

/** The list was gone through once and nothing came of it. */
export class NoneConnected extends Data.TaggedError("NoneConnected")<{ readonly message: string }> {}

export interface Tries<A, R> {
  readonly profile: Profile
  /**
   * Goes on until an attempt succeeds; fails only when there is nothing left to try or trying is not wanted. `ended`: how
   * what the last one gave came to its end.
   */
  readonly connect: (
    ended?: AttemptFailed,
  ) => Effect.Effect<A, AuthenticationRefused | GaveUp, R | Resolver | KillSwitch | StatusRef | Credentials>
  /** Each candidate once, without a pause, and the status is left alone. A refused login is not tried elsewhere. */
  readonly once: Effect.Effect<A, NoneConnected, R | Resolver | KillSwitch>
}

/** One for each profile: it remembers where the list stands. */
export const makeTries = Effect.fnUntraced(function* <A, R>(
  profile: Profile,
  mode: ConnectMode,
  attempts: Attempts<A, R>,
) {
  const remotes = profile.remoteRandom ? yield* Random.shuffle(profile.remotes) : profile.remotes
  let position: Position = { remote: 0, address: 0, failures: 0 }
  /** Of the remote that was tried last. */
  let addresses = 1
  let unresolvedSince: number | undefined

  const resolve = Effect.fnUntraced(function* (remote: Remote) {
    const resolver = yield* Resolver
    const fresh = profile.remoteRandomHostname && remote.proxy === undefined
    const found = yield* resolver.resolve(firstHop(remote).host, remote.family, fresh)
    return found.map((address): Candidate => ({ remote, address }))
  })
  const next = Effect.suspend(() =>
    Effect.map(resolve(remotes[position.remote]!), (found): Candidates => {
      addresses = found.length
      return [found[position.address % found.length]!]
    }),
  )
  const all = Effect.gen(function* () {
    const found = yield* Effect.forEach(remotes, (remote) => Effect.result(resolve(remote)), {
      concurrency: "unbounded",
    })
    const [first, ...others] = found.flatMap((result) => (Result.isSuccess(result) ? result.success : []))
    if (first !== undefined) return [first, ...others] as Candidates
    return yield* Effect.fromResult(found[0] as Result.Result<never, ResolveError>)
  })

  const step = Effect.fnUntraced(function* (attempt: Attempt<A, R>) {
    const killSwitch = yield* KillSwitch
    const began = yield* Clock.currentTimeMillis
    const candidates = yield* Effect.result(killSwitch.resolving(mode === "race" ? all : next))
    if (Result.isFailure(candidates)) {
      unresolvedSince ??= began
      const unresolved = { retry: "advance", message: candidates.failure.message } as const
      return Result.fail<Judged>({ ...unresolved, established: false, backoff: 0, waited: 0 })
    }
    unresolvedSince = undefined
    const result = yield* Effect.result(attempt(candidates.success))
    if (Result.isSuccess(result)) return Result.succeed(result.success)
    const judged = yield* judge(profile, result.failure)
    const isSilent = result.failure.reason.tag === "NoAnswer"
    const waited = isSilent ? ((yield* Clock.currentTimeMillis) - began) / 1000 : 0
    return Result.fail<Judged>({ ...judged, waited })
  })

  const advanced = (judged: Judged) => {
    const moved = advance(position, { ...judged, addresses, remotes: remotes.length })
    // A race is a whole round.
    return mode === "race" && moved.failures > 0 ? { ...moved, failures: position.failures + remotes.length } : moved
  }

  const pause = Effect.fnUntraced(function* (judged: Judged) {
    const status = yield* StatusRef
    const { connectRetry } = remotes[position.remote]!
    position = advanced(judged)
    if (profile.connectRetryMax !== undefined && position.failures >= profile.connectRetryMax * remotes.length) {
      return yield* new GaveUp({
        message: `gave up after ${position.failures} attempts (connect-retry-max ${profile.connectRetryMax}); the last one: ${judged.message}`,
      })
    }
    if (judged.login === "refused" && profile.authRetry === "interact") {
      yield* status.update({ phase: "waiting", lastError: judged.message, nextTry: undefined })
      return yield* otherCode(profile)
    }
    const base = waitSeconds(connectRetry, Math.floor(position.failures / remotes.length))
    // The time in which a server did not answer was a wait already.
    const seconds = Math.max(base - judged.waited, judged.backoff, 0) * (yield* Random.nextBetween(0.9, 1.1))
    yield* status.update({
      phase: "waiting",
      lastError: judged.message,
      nextTry: Math.round((yield* Clock.currentTimeMillis) + seconds * 1000),
    })
    yield* status.event("retry_scheduled", `next attempt in ${seconds.toFixed(1)} s`, { facts: { seconds } })
    yield* Effect.sleep(seconds * 1000)
  })

  const connect = Effect.fnUntraced(function* (ended?: AttemptFailed) {
    const status = yield* StatusRef
    let judged: Judged | undefined = ended && { ...(yield* judge(profile, ended)), waited: 0 }
    for (;;) {
      if (judged !== undefined) yield* pause(judged)
      yield* status.update({ phase: "connecting", nextTry: undefined })
      const outcome: Result.Result<A, Judged> = yield* step(attempts.alone)
      if (Result.isSuccess(outcome)) return outcome.success
      judged = outcome.failure
      yield* hopeResolving(profile, unresolvedSince, judged.message)
    }
  })

  const once = Effect.gen(function* () {
    position = { remote: 0, address: 0, failures: 0 }
    for (;;) {
      const outcome: Result.Result<A, Judged> = yield* step(attempts.beside)
      if (Result.isSuccess(outcome)) return outcome.success
      const judged = outcome.failure
      if (judged.login === "again") continue
      const retry = judged.retry === "same" ? "advance" : judged.retry
      position = advanced({ ...judged, retry })
      const isRound = mode === "race" || (position.remote === 0 && position.address === 0)
      if (isRound || judged.login === "refused") return yield* new NoneConnected({ message: judged.message })
    }
  }).pipe(Effect.mapError(({ message }) => new NoneConnected({ message })))

  const tries: Tries<A, R> = { profile, connect, once }
  return tries
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

interface Judged {
  readonly retry: Step
  readonly established: boolean
  readonly message: string
  /** Seconds that the server wants us to stay away. */
  readonly backoff: number
  /** Seconds that passed without an answer. */
  readonly waited: number
  /** A login that was refused for good, or that has something else to offer. */
  readonly login?: "refused" | "again"
}

/** What the profile's policies make of a failed attempt: a way on, or the end. */
const judge = Effect.fnUntraced(function* (profile: Profile, failed: AttemptFailed) {
  const reason = failed.reason
  const judged = { established: failed.established, message: reason.message, backoff: 0 }
  if (reason.tag === "AuthFailed") {
    if (reason.temporary) return { ...judged, retry: retryOf(reason.retry), backoff: reason.backoffSeconds ?? 0 }
    if (reason.again) return { ...judged, retry: "same" as const, login: "again" as const }
    if (profile.authRetry === "none") {
      return yield* new AuthenticationRefused({
        message: `${reason.message}; check the user name and password (auth-retry nointeract would keep trying)`,
      })
    }
    return { ...judged, retry: "same" as const, backoff: authRetryPause, login: "refused" as const }
  }
  if (reason.retry === "never") return yield* new GaveUp({ message: reason.message })
  return { ...judged, retry: retryOf(reason.retry) }
})

/**
 * `auth-retry interact`: there is nobody to ask, but somebody may write another one-time code. Other credentials make everything
 * begin anew (`reload.ts`), so only the code is looked at.
 */
const otherCode = Effect.fnUntraced(function* (profile: Profile) {
  const status = yield* StatusRef
  const credentials = yield* Credentials
  const login = credentials.login(profile)
  yield* status.event(
    "credentials_awaited",
    "waiting for other credentials or another one-time code: the same would be refused again (auth-retry interact)",
    { level: "Warn" },
  )
  do yield* Effect.sleep("1 second")
  while (!login.hasOtherCode)
})

/** `resolv-retry`: how long it goes on while no name of the list resolves. */
const hopeResolving = Effect.fnUntraced(function* (
  { resolvRetry }: Profile,
  unresolvedSince: number | undefined,
  last: string,
) {
  if (resolvRetry === undefined || unresolvedSince === undefined) return
  if ((yield* Clock.currentTimeMillis) - unresolvedSince < resolvRetry * 1000) return
  return yield* new GaveUp({
    message: `no server name resolved for ${resolvRetry} s (resolv-retry); the last one: ${last}`,
  })
})

const retryOf = (retry: RetryAdvice): Step => (retry === "never" ? "advance" : retry)

/** Seconds; a server that bans addresses for failed logins must not be provoked. */
const authRetryPause = 10
