/**
 * The server's options once they hold: the list as it was pushed, and the parts of a PUSH_UPDATE until the last one came.
 * A server changes routes, addresses and names with it while the connection stays.
 */
import { type PushPolicy, type PushUpdated, pushOptions, updatePush } from "../config/index.ts"
import { maxPushLength } from "./pull.ts"

export class PushedOptions {
  readonly #policy: PushPolicy
  #options: ReadonlyArray<string>
  #parts: Array<string> = []
  #size = 0

  /** `messages`: all parts of the PUSH_REPLY. */
  constructor(messages: ReadonlyArray<string>, policy: PushPolicy) {
    this.#policy = policy
    this.#options = pushOptions(messages)
  }

  /** One part; with the last one, what holds then. */
  update(options: string, more: boolean): "incomplete" | "tooLong" | PushUpdated {
    this.#size += options.length + 1
    if (this.#size > maxPushLength) return "tooLong"
    this.#parts.push(options)
    if (more) return "incomplete"
    const updated = updatePush(this.#options, this.#parts, this.#policy)
    this.#parts = []
    this.#size = 0
    if (updated.restart === undefined) this.#options = updated.options
    return updated
  }
}
