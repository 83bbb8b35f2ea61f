/**
 * From candidates to a connection that is established. Several are a race: each opens its link and begins its session, 250 ms
 * after the one before it or as soon as all before it have failed; the first that the server answers goes on, the others are closed
 * before any of them has told who we are.
 */
import { Deferred, Effect, Exit, Scope } from "effect"
import type { Profile } from "../config/index.ts"
import { describe } from "./describe.ts"
import { failed } from "./driver.ts"
import type { AttemptFailed } from "./errors.ts"
import { type BeforeIntroducing, complete, type Established, type Opened, open } from "./establish.ts"
import type { Candidate, Candidates } from "./retry.ts"

export interface RaceOptions {
  readonly beforeIntroducing?: BeforeIntroducing
  /** Of several, which one answered first. */
  readonly onWon?: (winner: Opened) => Effect.Effect<void>
}

/** One for each profile: who won and then failed does not win again before all others have failed as well. */
export const makeRace = (profile: Profile, { beforeIntroducing, onWon }: RaceOptions = {}) => {
  let disappointing: ReadonlyArray<string> = []

  return Effect.fnUntraced(function* (candidates: Candidates) {
    if (candidates.length === 1) return yield* Effect.flatMap(open(profile, candidates[0], beforeIntroducing), complete)
    const promising = candidates.filter((candidate) => !disappointing.includes(describe(candidate)))
    if (promising.length === 0) disappointing = []
    const winner = yield* first(profile, promising.length === 0 ? candidates : promising, beforeIntroducing)
    yield* onWon?.(winner) ?? Effect.void
    const established: Established = yield* complete(winner).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          disappointing = Exit.isFailure(exit) ? [...disappointing, describe(winner)] : []
        }),
      ),
    )
    return established
  })
}

/** The first that is answered, in a scope below the caller's; those of the others are closed. */
const first = Effect.fnUntraced(function* (
  profile: Profile,
  candidates: ReadonlyArray<Candidate>,
  beforeIntroducing: BeforeIntroducing | undefined,
) {
  const above = yield* Effect.scope
  const failures: Array<{ readonly candidate: Candidate; readonly failure: AttemptFailed }> = []
  const lost = candidates.map(() => Deferred.makeUnsafe<void>())
  let isWon = false

  const contend = (candidate: Candidate, index: number) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(above)
        const before = Effect.forEach(lost.slice(0, index), Deferred.await, { discard: true })
        const run = Effect.raceFirst(Effect.sleep(index * stagger), before).pipe(
          Effect.andThen(answered(profile, candidate, beforeIntroducing)),
          Effect.tapError((failure) => Effect.sync(() => void failures.push({ candidate, failure }))),
          Scope.provide(scope),
        )
        const exit: Exit.Exit<Opened, AttemptFailed> = yield* Effect.exit(restore(run))
        if (Exit.isSuccess(exit) && !isWon) {
          isWon = true
          return exit.value
        }
        yield* Scope.close(scope, exit)
        Deferred.doneUnsafe(lost[index]!, Exit.void)
        return yield* Exit.isFailure(exit) ? exit : tooLate
      }),
    )
  return yield* Effect.raceAll(candidates.map(contend)).pipe(Effect.mapError(() => allFailed(failures)))
})

/** Closing the scope before the server has answered leaves no trace there but a session that is forgotten. */
const answered = Effect.fnUntraced(function* (
  profile: Profile,
  candidate: Candidate,
  beforeIntroducing: BeforeIntroducing | undefined,
) {
  const opened = yield* open(profile, candidate, beforeIntroducing)
  const { driver } = opened
  yield* Effect.raceFirst(driver.answered, driver.ended)
  // The session ended instead, and says why.
  if (driver.session.lastReceive === undefined) return yield* complete(opened)
  return opened
})

/** One failure for all: silence counts as waited for, whatever the others said. */
const allFailed = (failures: ReadonlyArray<{ readonly candidate: Candidate; readonly failure: AttemptFailed }>) => {
  const telling = failures.find(({ failure }) => failure.reason.tag === "NoAnswer") ?? failures[0]!
  const each = failures.map(({ candidate, failure }) => `${describe(candidate)}: ${failure.reason.message}`)
  const message = `none of ${failures.length} servers answered (${each.join("; ")})`
  return failed({ ...telling.failure.reason, message })
}

const tooLate = failed({ tag: "Transport", retry: "advance", message: "another server answered first" })

const stagger = 250
