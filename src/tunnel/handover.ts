/**
 * Make before break: a new connection is established beside the one that is up, and takes over when it carries data. What the
 * server does with two sessions of one certificate decides how: it may end the older one as soon as the new one has said who it is,
 * move the address to the new one, or let both live with an address each. Nothing may be lost in any of these cases, so packets
 * wait in the tun from the moment in which the server may switch until it is known which link they belong to.
 */
import { Cause, Clock, Effect, Exit, Scope } from "effect"
import type { Profile } from "../config/index.ts"
import { mergeNetwork, tunnelAddresses } from "../network/index.ts"
import { tellConnected, tellEnded } from "./connection.ts"
import { DataPlane } from "./dataplane.ts"
import { describeFully, endOf } from "./describe.ts"
import { TunDevice } from "./device.ts"
import { failed, occRequest } from "./driver.ts"
import type { AttemptFailed } from "./errors.ts"
import type { BeforeIntroducing, Established } from "./establish.ts"
import { type Formers, withoutPrefix } from "./former.ts"
import type { NoneConnected, Tries } from "./retry.ts"
import type { Up } from "./serve.ts"
import { begin, type Held, type Pending, type Services, type Serving, startServing } from "./serving.ts"
import { StatusRef } from "./status.ts"
import type { Wishes } from "./wishes.ts"

/** What the connections of one tunnel share. */
export interface Tunnel {
  readonly above: Scope.Scope
  readonly formers: Formers
  readonly wishes: Wishes
  readonly triesFor: (
    profile: Profile,
    beforeIntroducing?: BeforeIntroducing,
  ) => Effect.Effect<TunnelTries, never, Services>
}

export type TunnelTries = Tries<Held, Services>

/** How it goes on: with a connection that is up, or with none after the last one ended. */
export type Outcome =
  | { readonly tries: TunnelTries; readonly serving: Serving }
  | { readonly tries: TunnelTries; readonly serving?: undefined; readonly ended: AttemptFailed }

/** Why a new connection cannot stand beside the present one; undefined: it can. */
export const whyNotBeside = ({ profile, remote }: Established, next: Profile): string | undefined => {
  if (!(profile.pull && next.pull)) return "a connection from point to point has one peer at a time"
  const port = remote.local?.port
  const isTaken = port !== undefined && next.remotes.some(({ local }) => local?.port === port)
  return isTaken ? `both would be bound to the local port ${port}` : undefined
}

/** A connection with `profile` beside the present one. It is given up when a newer wish comes. */
export const handOver = Effect.fnUntraced(function* (
  tunnel: Tunnel,
  present: Serving,
  tries: TunnelTries,
  profile: Profile,
) {
  const status = yield* StatusRef
  const older = yield* watched(present)
  const candidate = yield* beginBeside(tunnel, present, profile)
  const exit = yield* Effect.raceAllFirst([
    older.until(candidate),
    candidate.exit,
    Effect.as(tunnel.wishes.come, undefined),
  ])
  if (exit === undefined) yield* candidate.giveUp
  candidate.introduction.present = undefined
  const moved = exit && (yield* Effect.exit(Effect.flatMap(exit, (next) => takeOver(tunnel, older, next))))
  yield* status.update({ handover: undefined })
  if (moved === undefined) return yield* staying(older, tries, candidate.tries)
  if (Exit.isSuccess(moved)) {
    const outcome: Outcome = { tries: candidate.tries, serving: moved.value }
    return outcome
  }
  yield* tellFailed(older, moved.cause)
  return yield* staying(older, tries, candidate.tries)
})

interface Candidate extends Pending<NoneConnected> {
  readonly tries: TunnelTries
  readonly introduction: Introduction
}

/** How a candidate tells the server who we are. */
interface Introduction {
  /** Until it is decided who goes on: a connection that knew the one before it would keep all there ever were in memory. */
  present: Established | undefined
  /** The server knows who we are, or soon will. */
  isDone: boolean
}

const beginBeside = Effect.fnUntraced(function* (tunnel: Tunnel, { connection }: Serving, profile: Profile) {
  const status = yield* StatusRef
  const introduction: Introduction = { present: connection, isDone: false }
  const tries = yield* tunnel.triesFor(profile, holdingPackets(yield* DataPlane, introduction))
  yield* tunnel.formers.makeRoom
  yield* status.update({ handover: { since: yield* Clock.currentTimeMillis } })
  yield* status.event("handover_started", "connecting anew beside the present connection")
  const pending = yield* begin(tunnel.above, tries.once)
  const candidate: Candidate = { ...pending, tries, introduction }
  return candidate
})

/** Outlives the candidate, as part of the tries for its profile. */
const holdingPackets = (plane: DataPlane["Service"], introduction: Introduction): BeforeIntroducing =>
  Effect.fnUntraced(function* (milliseconds) {
    // So far there were two round trips at least, and there are two more at most.
    const limit = Math.min(Math.max(2 * milliseconds, shortestHold), longestHold)
    plane.hold(limit)
    if (introduction.present?.remote.transport === "tcp") {
      // What a server has not read of a stream when it closes that is lost, and with it what it has sent and we have not received.
      yield* Effect.timeoutOption(introduction.present.driver.roundTrip, limit)
      plane.hold(limit)
    }
    introduction.isDone = true
  })

/** The connection that is to be replaced, which may end while that is under way. */
interface Older {
  readonly serving: Serving
  /** How it ended. */
  readonly ended: () => AttemptFailed | undefined
  /** Its end was made known: there is no connection. */
  readonly isTold: () => boolean
  readonly tell: Effect.Effect<void, never, StatusRef>
  /** Never ends. Closes it when it ends, and makes that known unless the candidate is about to take its place. */
  readonly until: (candidate: Candidate) => Effect.Effect<never, never, StatusRef>
}

const watched = Effect.fnUntraced(function* (serving: Serving) {
  const status = yield* StatusRef
  let ended: AttemptFailed | undefined
  let isTold = false
  const tell = Effect.suspend(() => {
    if (ended === undefined || isTold) return Effect.void
    isTold = true
    return Effect.andThen(tellEnded(ended), status.update({ phase: "connecting" }))
  })
  const older: Older = {
    serving,
    ended: () => ended,
    isTold: () => isTold,
    tell,
    until: Effect.fnUntraced(function* (candidate) {
      ended ??= yield* serving.over
      yield* Effect.uninterruptible(serving.close)
      // The server may have ended it for the new one, which is then about to be there.
      if (candidate.introduction.isDone) yield* Effect.sleep(grace)
      yield* tell
      return yield* Effect.never
    }),
  }
  return older
})

/** Gives the one that serves now. When it fails nothing of the new one is left. */
const takeOver = (tunnel: Tunnel, older: Older, next: Held) =>
  Effect.onError(takeTheHost(tunnel, older, next), () => next.close)

const takeTheHost = Effect.fnUntraced(function* (tunnel: Tunnel, older: Older, next: Held) {
  const status = yield* StatusRef
  const device = yield* TunDevice
  const present = older.serving
  const isAlone = older.ended() !== undefined
  const addresses = addressesOf(next.connection, device.type === "tap")
  const kept = addresses.map(withoutPrefix)
  const before = (yield* status.get).addresses
  // On an Ethernet it is not by their address that packets find back.
  const drained = isAlone || device.type === "tap" ? [] : before.filter((was) => !kept.includes(withoutPrefix(was)))
  yield* tunnel.formers.release(addresses)
  if (drained.length > 0) {
    present.connection.link.carry()
    yield* provenToCarry(next.connection)
  }
  const remains = yield* tunnel.formers.keep(present.connection, drained)
  next.connection.link.carry()
  const remote = describeFully(endOf(next.connection))
  const tellHandedOver = Effect.fnUntraced(function* (up: Up) {
    const message = `${remote} has taken over`
    yield* status.update({ phase: "connected", lastError: undefined })
    yield* keepOutcome(true, message)
    yield* status.event("handed_over", message, {
      facts: { ...up, remote, sessions: drained.length > 0 ? "two" : "one" },
    })
  })
  const serving = yield* startServing(tunnel.above, next, {
    hasFormer: !tunnel.formers.isEmpty || drained.length > 0,
    onUp: (up) => Effect.andThen(status.update({ remote }), older.isTold() ? tellConnected(up) : tellHandedOver(up)),
  })
  yield* Effect.raceFirst(serving.up, Effect.flatMap(serving.over, Effect.fail)).pipe(
    Effect.tapError(() => Scope.close(remains, Exit.void)),
  )
  yield* present.stop
  if (isAlone) yield* present.close
  else yield* tunnel.formers.linger(present, drained, remains)
  return serving
})

/** How it ended, until the next one has. */
export const keepOutcome = Effect.fnUntraced(function* (ok: boolean, message: string) {
  const status = yield* StatusRef
  yield* status.update({ lastHandover: { at: yield* Clock.currentTimeMillis, ok, message } })
})

const tellFailed = Effect.fnUntraced(function* (older: Older, cause: Cause.Cause<AttemptFailed | NoneConnected>) {
  const status = yield* StatusRef
  if (Cause.hasDies(cause)) return yield* Effect.die(Cause.squash(cause))
  const { message: why } = Cause.squash(cause) as AttemptFailed | NoneConnected
  const stays = older.ended() === undefined
  const message = stays ? `${why}; the present connection stays` : why
  yield* keepOutcome(false, message)
  yield* status.event("handover_failed", message, { level: "Warn", facts: { stays } })
})

/** The candidate did not take over: it goes on with the older one, if that is there still. */
const staying = Effect.fnUntraced(function* (older: Older, tries: TunnelTries, candidates: TunnelTries) {
  const ended = older.ended()
  if (ended === undefined) {
    // What waits in the tun need not wait any longer.
    older.serving.connection.link.carry()
    const outcome: Outcome = { tries, serving: older.serving }
    return outcome
  }
  yield* older.serving.close
  yield* older.tell
  const outcome: Outcome = { tries: candidates, ended }
  return outcome
})

export const addressesOf = ({ profile, pushed }: Established, isEthernet: boolean): ReadonlyArray<string> =>
  tunnelAddresses(pushed === undefined ? profile.network : mergeNetwork(profile.network, pushed.network), isEthernet)

/**
 * A data packet of the server has come. OpenVPN's answers a question for its options at once, over the data channel; one that does
 * not has to ping, when it says that it does. A server that does neither is believed for its keys.
 */
const provenToCarry = Effect.fnUntraced(function* ({ link, driver, pushed }: Established) {
  const ping = pushed?.keepalive.ping
  const limit = ping ? ping + 2 : 5
  const ask = Effect.andThen(
    Effect.sync(() => link.occ(occRequest)),
    Effect.sleep(500),
  )
  yield* Effect.raceAllFirst([driver.carried, driver.ended, Effect.forever(ask)]).pipe(
    Effect.timeoutOrElse({
      duration: limit * 1000,
      orElse: () =>
        ping
          ? Effect.fail(
              failed({
                tag: "NoAnswer",
                retry: "advance",
                message: `the new connection carries no data: not one packet of the server within ${limit} s`,
              }),
            )
          : Effect.void,
    }),
  )
})

/** ms; how long packets wait in the tun at least and at most, when the server is silent after it knows who we are. */
const shortestHold = 200
const longestHold = 1000
/** ms; for a candidate to take the place of a connection that ended because of it. */
const grace = 1000
