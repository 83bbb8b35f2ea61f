/** Wishes for a new connection. The newest one counts: an older one that nobody has taken yet is forgotten. */
import { Effect, Latch } from "effect"
import type { Profile } from "../config/index.ts"

export class Wishes {
  #latest: Profile | undefined
  readonly #latch = Latch.makeUnsafe()

  /** To be connected with this profile, from now on. */
  readonly ask = (profile: Profile): Effect.Effect<void> =>
    Effect.sync(() => {
      this.#latest = profile
      this.#latch.openUnsafe()
    })

  /** Waits until there is one, and leaves it there. */
  readonly come: Effect.Effect<void> = Effect.suspend(() => this.#latch.await)

  /** Undefined: there is none. */
  take(): Profile | undefined {
    const latest = this.#latest
    this.#latest = undefined
    this.#latch.closeUnsafe()
    return latest
  }
}
