/** Attempts of the retry policy, with what people are told of them. */
import { Effect } from "effect"
import type { Profile } from "../config/index.ts"
import { KillSwitch } from "../network/index.ts"
import { failed } from "./driver.ts"
import type { AttemptFailed } from "./errors.ts"
import { firstHop } from "./proxy.ts"
import { describe, makeRace } from "./race.ts"
import type { Candidate, Candidates } from "./retry.ts"
import { serve } from "./serve.ts"
import { StatusRef } from "./status.ts"

/** Attempts to connect when there is no connection. What they establish lives as long as the scope. */
export const makeAttempt = Effect.fnUntraced(function* (profile: Profile) {
  const status = yield* StatusRef
  const race = makeRace(profile, {
    onWon: (winner) =>
      Effect.andThen(
        status.update({ remote: describeFully(winner) }),
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
export const makeAttemptBeside = (profile: Profile, onIntroducing: (milliseconds: number) => void) => {
  const race = makeRace(profile, { onIntroducing })
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

export const connection = (profile: Profile, remote: Candidate["remote"], address: Candidate["address"]) =>
  Effect.scoped(
    Effect.gen(function* () {
      const attempt = yield* makeAttempt(profile)
      const established = yield* attempt([{ remote, address }])
      return yield* serve(established).pipe(Effect.tapError(tellEnded))
    }),
  )

/** With the name that the address was found by. */
export const describeFully = (candidate: Candidate): string => {
  const { host } = firstHop(candidate.remote)
  return host === candidate.address.address ? describe(candidate) : `${describe(candidate)} (${host})`
}

/** Nothing came back: when somebody else filters what leaves, that is worth a look. */
const suspectOthers = Effect.fnUntraced(function* (failure: AttemptFailed) {
  if (failure.reason.tag !== "NoAnswer" && failure.reason.tag !== "Transport") return failure
  const killSwitch = yield* KillSwitch
  const others = yield* killSwitch.others
  if (failure.established || others.length === 0) return failure
  const message = `${failure.reason.message}; other firewall tables filter what leaves here (${others.join(", ")}): see with 'nft list ruleset' that they let the server through`
  return failed({ ...failure.reason, message })
})
