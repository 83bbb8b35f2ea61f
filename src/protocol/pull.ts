/**
 * Waiting for the server's configuration: when to ask, how long to wait, and collecting the parts of a PUSH_REPLY.
 *
 * A server that saw REQUEST_PUSH in IV_PROTO pushes by itself, so the first request goes a second after the key exchange.
 * Requests go on while authentication is pending: their acknowledgements show that the server is alive.
 */
import type { Instant } from "./ports.ts"
import type { SessionTimers } from "./sessionoptions.ts"

export class Pull {
  readonly #handWindow: number
  readonly #renegSec: number
  readonly #since: Instant
  readonly #parts: Array<string> = []
  #size = 0
  #deadline: Instant
  #requestAt: Instant

  /** From the end of the first key exchange. */
  constructor(now: Instant, timers: SessionTimers) {
    this.#handWindow = timers.handWindow * 1000
    this.#renegSec = timers.renegSec * 1000
    this.#since = now
    this.#deadline = now + this.#handWindow
    this.#requestAt = now + firstRequest
  }

  get requestAt(): Instant {
    return this.#requestAt
  }

  requested(now: Instant): void {
    this.#requestAt = now + requestInterval
  }

  /** When to give up, given when the server was last heard of: hand-window of silence is the end in any case. */
  deadline(lastReceive: Instant | undefined): Instant {
    return Math.min(this.#deadline, (lastReceive ?? this.#since) + this.#handWindow)
  }

  /** `AUTH_PENDING[,timeout N]`: wait longer, but no longer than half a renegotiation period (or hand-window). */
  authPending(timeoutSeconds: number | undefined): void {
    const asked = timeoutSeconds === undefined ? this.#handWindow : timeoutSeconds * 1000
    this.#deadline = this.#since + Math.min(Math.max(this.#renegSec / 2, this.#handWindow), asked)
  }

  /** Adds one part; all of them when it was the last. */
  add(options: string, more: boolean): "incomplete" | "tooLong" | ReadonlyArray<string> {
    this.#size += options.length + 1
    if (this.#size > maxPushLength) return "tooLong"
    this.#parts.push(options)
    return more ? "incomplete" : this.#parts
  }
}

/** Characters in all parts together; 2.x servers push a few thousand, access servers with many routes more. */
export const maxPushLength = 262_144
const firstRequest = 1000
const requestInterval = 5000
