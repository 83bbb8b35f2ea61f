/** Answers that may still be given again. Bounded in number and size; the oldest go first. Pure: time is a parameter, in ms. */
import { aged, lifetime, type Query } from "./message.ts"

export class Cache {
  readonly #answers = new Map<string, { readonly bytes: Uint8Array; readonly since: number; readonly until: number }>()
  #size = 0

  /** The answer with the TTLs that it has left, still with the id of the first asker. */
  get(query: Query, now: number): Uint8Array | undefined {
    const key = keyOf(query)
    const found = this.#answers.get(key)
    if (found === undefined) return undefined
    if (now >= found.until) {
      this.#remove(key)
      return undefined
    }
    return aged(found.bytes, Math.floor((now - found.since) / 1000))
  }

  put(query: Query, bytes: Uint8Array, now: number): void {
    const seconds = Math.min(lifetime(bytes), longestLife)
    if (seconds <= 0 || bytes.length > largestAnswer) return
    const key = keyOf(query)
    this.#remove(key)
    this.#answers.set(key, { bytes, since: now, until: now + seconds * 1000 })
    this.#size += bytes.length
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= mostAnswers && this.#size <= mostBytes) break
      this.#remove(oldest)
    }
  }

  clear(): void {
    this.#answers.clear()
    this.#size = 0
  }

  #remove(key: string): void {
    this.#size -= this.#answers.get(key)?.bytes.length ?? 0
    this.#answers.delete(key)
  }
}

const keyOf = (query: Query): string =>
  `${query.name.toLowerCase()} ${query.type} ${query.class} ${query.dnssecOk} ${query.checkingDisabled}`

const mostAnswers = 2000
const mostBytes = 1024 * 1024
const largestAnswer = 16 * 1024
/** Seconds. */
const longestLife = 24 * 3600
