/** Attempts of the retry policy, with what people are told of them. */
import { Clock, Effect } from "effect"
import type { Profile } from "../config/index.ts"
import { KillSwitch } from "../network/index.ts"
import { describe, describeFully, endOf } from "./describe.ts"
import { failed } from "./driver.ts"
import type { AttemptFailed } from "./errors.ts"
import type { BeforeIntroducing } from "./establish.ts"
import { makeRace } from "./race.ts"
import type { Candidates } from "./retry.ts"
import type { Up } from "./serve.ts"
import { StatusRef } from "./status.ts"

/** Attempts to connect when there is no connection. What they establish lives as long as the scope. */
export const makeAttempt = Effect.fnUntraced(function* (profile: Profile) {
  const status = yield* StatusRef
  const race = makeRace(profile, {
    onWon: (winner) =>
      Effect.andThen(
        status.update({ remote: describeFully(endOf(winner)) }),
        status.event("race_won", `${describe(winner)} answered first`, { facts: { remote: describe(winner) } }),
      ),
  })
  return Effect.fnUntraced(function* (candidates: Candidates) {
    const { attempts } = yield* status.get
    const described = candidates.map(describe).join(", ")
    yield* status.update({
      phase: "connecting",
      attempts: attempts + 1,
      remote: candidates.map(describeFully).join(", "),
      deadAfter: undefined,
    })
    yield* status.event("connecting", `connecting to ${described}`, {
      facts: { remote: described, attempt: attempts + 1 },
    })
    return yield* race(candidates).pipe(
      Effect.catch((failure) => Effect.flatMap(suspectOthers(failure), Effect.fail)),
      Effect.tapError(tellEnded),
    )
  })
})

/** Attempts beside a connection that is up: nothing is told before it is known what comes of them. */
export const makeAttemptBeside = (profile: Profile, beforeIntroducing?: BeforeIntroducing) => {
  const race = makeRace(profile, beforeIntroducing === undefined ? {} : { beforeIntroducing })
  return (candidates: Candidates) =>
    race(candidates).pipe(Effect.catch((failure) => Effect.flatMap(suspectOthers(failure), Effect.fail)))
}

/** An attempt failed, or a connection that was up. */
export const tellEnded = Effect.fnUntraced(function* (failure: AttemptFailed) {
  const status = yield* StatusRef
  yield* status.update({ phase: "waiting", lastError: failure.message })
  yield* status.event(failure.reason.tag === "AuthFailed" ? "auth_failed" : "disconnected", failure.message, {
    level: "Warn",
    facts: { reason: failure.reason.tag, established: failure.established },
  })
})

/** The tunnel is up, and was not before. */
export const tellConnected = Effect.fnUntraced(function* ({ cipher, tls, addresses, mtu }: Up) {
  const status = yield* StatusRef
  const { connects, since } = yield* status.get
  yield* status.update({ phase: "connected", connects: connects + 1, lastError: undefined })
  const seconds = ((yield* Clock.currentTimeMillis) - since) / 1000
  yield* status.event("connected", `connected: ${cipher}, ${tls}, ${addresses.join(" ") || "no address"}`, {
    facts: { cipher, tls, addresses, mtu, seconds },
  })
})

/** Nothing came back: when somebody else filters what leaves, that is worth a look. */
const suspectOthers = Effect.fnUntraced(function* (failure: AttemptFailed) {
  if (failure.reason.tag !== "NoAnswer" && failure.reason.tag !== "Transport") return failure
  const killSwitch = yield* KillSwitch
  const others = yield* killSwitch.others
  if (failure.established || others.length === 0) return failure
  const message = `${failure.reason.message}; other firewall tables filter what leaves here (${others.join(", ")}): see with 'nft list ruleset' that they let the server through`
  return failed({ ...failure.reason, message })
})
