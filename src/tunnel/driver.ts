/**
 * Drives a session over one link, synchronously: what a packet or a deadline makes of the session is carried out before the
 * next one is looked at. What has to wait (routes, status, policies) becomes a fact in a queue for whoever supervises.
 */
import { Deferred, Effect, Exit, Option, Queue } from "effect"
import type { Profile } from "../config/index.ts"
import { OCC_MAGIC, OCC_REQUEST, type Output, type SessionContract } from "../protocol/index.ts"
import type { Link } from "./dataplane.ts"
import { AttemptFailed, type AttemptReason } from "./errors.ts"
import type { KeyEvent } from "./rekey.ts"

/** What fibers have to act on: everything of the session but packets and the choice of keys. */
export type Fact = Exclude<Output, { readonly type: "transmit" | "introducing" | "occ" | "useKey" | "retireKey" }>

export interface Driver {
  readonly session: SessionContract
  /** Changes the session and carries out everything it then wants, in order. */
  readonly step: (change: (now: number) => void) => void
  /** In the order of the session. */
  readonly facts: Queue.Dequeue<Fact>
  readonly keyEvents: Queue.Queue<KeyEvent>
  /** `float`: the sockaddrs that the server's newest packets came from, when it is not where it was. */
  readonly moves: Queue.Dequeue<Uint8Array>
  /** The server's first authenticated packet came, or the session ended without one. */
  readonly answered: Effect.Effect<void>
  /** An authenticated data packet came: the server has the key, and data passes. */
  readonly carried: Effect.Effect<void>
  /** Asks the server something and waits for the answer: it has then taken all data packets that were sent over a stream before. */
  readonly roundTrip: Effect.Effect<void>
  /** Never succeeds; fails with why the link cannot be used any more. */
  readonly ended: Effect.Effect<never, AttemptFailed>
  readonly established: () => boolean
  readonly setEstablished: () => void
  readonly exitNotify: { times: number | undefined }
}

/**
 * Takes packets and keeps deadlines as long as the scope lives; `session` is the caller's to start. The packets that tell
 * the server who we are wait for `beforeIntroducing`.
 */
export const drive = Effect.fnUntraced(function* (
  session: SessionContract,
  link: Link,
  profile: Profile,
  now: () => number,
  beforeIntroducing: Effect.Effect<void> | undefined,
) {
  const facts = yield* Queue.unbounded<Fact>()
  const keyEvents = yield* Queue.unbounded<KeyEvent>()
  const moves = yield* Queue.sliding<Uint8Array>(1)
  const rearm = yield* Queue.sliding<void>(1)
  const answered = yield* Deferred.make<void>()
  const carried = yield* Deferred.make<void>()
  const ended = yield* Deferred.make<never, AttemptFailed>()
  const introducing = yield* Deferred.make<void>()
  const occAnswers = yield* Queue.sliding<void>(1)
  /** Packets that wait. */
  let waiting: Array<Uint8Array> | undefined
  let deadline: number | undefined
  let established = false

  const step = (change: (now: number) => void) => {
    change(now())
    for (let output = session.poll(); output !== undefined; output = session.poll()) {
      switch (output.type) {
        case "transmit":
          if (waiting === undefined) link.transmit(output.packet)
          else waiting.push(output.packet)
          break
        case "introducing":
          if (beforeIntroducing !== undefined) waiting = []
          Deferred.doneUnsafe(introducing, Exit.void)
          break
        case "occ":
          link.occ(output.message)
          break
        case "useKey":
          link.useKey(output.keyId)
          break
        case "retireKey":
          link.retireKey(output.keyId)
          break
        case "installKey":
          link.installKey(output.key, profile.replayWindow)
          Queue.offerUnsafe(facts, output)
          break
        default:
          if (output.type === "closed") Deferred.doneUnsafe(answered, Exit.void)
          Queue.offerUnsafe(facts, output)
      }
    }
    if (session.lastReceive !== undefined) Deferred.doneUnsafe(answered, Exit.void)
    const next = session.nextTimeout()?.at
    if (next !== deadline) {
      deadline = next
      Queue.offerUnsafe(rearm, undefined)
    }
  }
  const timer = Effect.gen(function* () {
    for (;;) {
      if (deadline === undefined) {
        yield* Queue.take(rearm)
        continue
      }
      const remaining = deadline - now()
      // Rounded up: a timer that fires a fraction of a millisecond early would only come back for the rest.
      const changed =
        remaining > 0 ? yield* Queue.take(rearm).pipe(Effect.timeoutOption(Math.ceil(remaining))) : Option.none()
      if (Option.isNone(changed)) step((at) => session.timeout(at))
    }
  })
  const receive = Effect.forever(
    Effect.flatMap(Queue.take(link.events), (event) => {
      switch (event.type) {
        case "control":
          step((at) => {
            const { packet, from } = event
            if (session.receive(at, packet, from !== undefined) && from !== undefined) Queue.offerUnsafe(moves, from)
          })
          return Effect.void
        case "peerMoved":
          Queue.offerUnsafe(moves, event.from)
          return Effect.void
        case "occ":
          Queue.offerUnsafe(occAnswers, undefined)
          step((at) => session.occ?.(at, event.message))
          return Effect.void
        case "transportFailed":
          return Effect.fail(
            failed({ tag: "Transport", retry: established ? "same" : "advance", message: event.message }, established),
          )
        case "remoteExit":
          return Effect.fail(
            failed({ tag: "ServerExit", retry: "same", message: "the server said that it stops" }, established),
          )
        case "keyUsed":
          Deferred.doneUnsafe(carried, Exit.void)
          step(() => session.peerUsesKey(event.keyId))
          return Effect.void
        case "keyExhausted":
          Queue.offerUnsafe(keyEvents, "exhausted")
          return Effect.void
        case "transportOpen":
          return Effect.void
      }
    }),
  )
  yield* Effect.raceFirst(receive, timer).pipe(
    Effect.onExit((exit) => Effect.sync(() => Deferred.doneUnsafe(ended, exit))),
    Effect.ignore,
    Effect.forkScoped({ startImmediately: true }),
  )
  const introduce = Effect.gen(function* () {
    yield* Deferred.await(introducing)
    yield* beforeIntroducing ?? Effect.void
    for (const packet of waiting ?? []) link.transmit(packet)
    waiting = undefined
  })
  yield* Effect.forkScoped(introduce)
  const driver: Driver = {
    session,
    step,
    facts,
    keyEvents,
    moves,
    answered: Deferred.await(answered),
    carried: Deferred.await(carried),
    roundTrip: Effect.gen(function* () {
      yield* Queue.clear(occAnswers)
      link.occ(occRequest)
      yield* Queue.take(occAnswers)
    }),
    ended: Deferred.await(ended),
    established: () => established,
    setEstablished: () => {
      established = true
    },
    exitNotify: { times: undefined },
  }
  return driver
})

export const failed = (reason: AttemptReason, established = false) => new AttemptFailed({ reason, established })

/** Which options do you have? OpenVPN answers at once, over the data channel. */
export const occRequest = Uint8Array.of(...OCC_MAGIC, OCC_REQUEST)
