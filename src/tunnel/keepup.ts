/**
 * Keeps one connection up. Without one the retry policy brings one about, or a wish begins with another configuration; with one a
 * wish brings its successor about beside it.
 */
import { Effect } from "effect"
import type { Profile } from "../config/index.ts"
import { makeAttempt, makeAttemptBeside, tellConnected, tellEnded } from "./connection.ts"
import { TunDevice } from "./device.ts"
import type { AttemptFailed } from "./errors.ts"
import type { BeforeIntroducing } from "./establish.ts"
import { makeFormers } from "./former.ts"
import {
  addressesOf,
  handOver,
  keepOutcome,
  type Outcome,
  type Tunnel,
  type TunnelTries,
  whyNotBeside,
} from "./handover.ts"
import { type ConnectMode, makeTries } from "./retry.ts"
import { begin, type Held, hold, type Serving, startServing } from "./serving.ts"
import { StatusRef } from "./status.ts"
import type { Wishes } from "./wishes.ts"

/** Fails when there is nothing left to try. Interrupting it says good-bye to every server and closes every link. */
export const keepUp = (first: Profile, wishes: Wishes, mode: ConnectMode) =>
  Effect.scoped(
    Effect.gen(function* () {
      const above = yield* Effect.scope
      const formers = yield* makeFormers
      const triesFor = Effect.fnUntraced(function* (profile: Profile, beforeIntroducing?: BeforeIntroducing) {
        const [attempt, beside] = [yield* makeAttempt(profile), makeAttemptBeside(profile, beforeIntroducing)]
        return yield* makeTries(profile, mode, {
          alone: (candidates) => hold(above, attempt(candidates)),
          beside: (candidates) => hold(above, beside(candidates)),
        })
      })
      const tunnel: Tunnel = { above, formers, wishes, triesFor }
      let state: State = { tries: yield* triesFor(first) }
      for (;;) {
        const pending = yield* begin(above, state.tries.connect(state.ended))
        const exit = yield* Effect.raceFirst(pending.exit, Effect.as(wishes.come, undefined))
        if (exit === undefined) {
          yield* pending.giveUp
          state = { tries: yield* triesFor(wishes.take() ?? state.tries.profile) }
        } else state = yield* whileUp(tunnel, state.tries, yield* exit)
      }
    }),
  )

interface State {
  readonly tries: TunnelTries
  /** How the last connection ended, if there was one. */
  readonly ended?: AttemptFailed
}

/** From one connection to the next, until there is none. */
const whileUp = Effect.fnUntraced(function* (tunnel: Tunnel, tries: TunnelTries, held: Held) {
  const status = yield* StatusRef
  const { above, formers, wishes } = tunnel
  yield* formers.release(addressesOf(held.connection, (yield* TunDevice).type === "tap"))
  const first = yield* startServing(above, held, { hasFormer: !formers.isEmpty, onUp: tellConnected })
  let outcome: Outcome = { tries, serving: first }
  while (outcome.serving !== undefined) {
    const serving: Serving = outcome.serving
    const ended = yield* Effect.raceFirst(serving.over, Effect.as(wishes.come, undefined))
    if (ended !== undefined) {
      yield* tellEnded(ended)
      yield* serving.close
      const state: State = { tries: outcome.tries, ended }
      return state
    }
    const profile: Profile = wishes.take() ?? outcome.tries.profile
    const why = whyNotBeside(serving.connection, profile)
    if (why !== undefined) {
      const message = `the present connection ends before the new one begins: ${why}`
      yield* keepOutcome(false, message)
      yield* status.event("handover_impossible", message)
      yield* serving.stop
      yield* serving.close
      yield* status.update({ phase: "connecting" })
      const state: State = { tries: yield* tunnel.triesFor(profile) }
      return state
    }
    outcome = yield* handOver(tunnel, serving, outcome.tries, profile)
  }
  const state: State = outcome
  return state
})
