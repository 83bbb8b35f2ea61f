/**
 * One query to its answer: who is to be asked, what is known already, what is said when nobody may be asked. No sockets: `ask` does
 * that, so it runs in tests under virtual time.
 */
import { Clock, Effect, Result } from "effect"
import {
  askingForValidation,
  Cache,
  failure,
  fitting,
  isTruncated,
  isValidated,
  type PodNames,
  parseQuery,
  type Query,
  routeName,
  type TunnelNames,
  type Upstream,
  withId,
} from "../../network/index.ts"
import type { Ask } from "./upstream.ts"

export class Forwarder {
  /** Whose names are asked for beside the tunnel. */
  pod: PodNames
  readonly #ask: Ask
  readonly #cache = new Cache()
  #tunnel: TunnelNames | undefined
  #asking = 0

  constructor(pod: PodNames, ask: Ask) {
    this.pod = pod
    this.#ask = ask
  }

  /** Undefined: there is no tunnel now. What was answered before is forgotten: another tunnel may know it otherwise. */
  set tunnel(names: TunnelNames | undefined) {
    this.#tunnel = names
    this.#cache.clear()
  }

  /** The answer to a message; undefined: it deserves none. Never fails. */
  handle(bytes: Uint8Array, tcp: boolean): Effect.Effect<Uint8Array | undefined> {
    return Effect.gen({ self: this }, function* () {
      // An answer to an answer could go round for ever.
      if (bytes.length < 12 || (bytes[2]! & 0x80) !== 0) return undefined
      const query = parseQuery(bytes)
      if (query === undefined) return failure(bytes, undefined, "FORMERR")
      const route = routeName(query.name, this.pod, this.#tunnel)
      if (route.type === "refused") return failure(bytes, query, route.reason === "tunnelDown" ? "SERVFAIL" : "REFUSED")
      const fit = (answer: Uint8Array) => (tcp ? answer : fitting(answer, query))
      const known = this.#cache.get(query, yield* Clock.currentTimeMillis)
      if (known !== undefined) return fit(withId(known, query.id))
      if (this.#asking >= mostAtOnce) return failure(bytes, query, "SERVFAIL")
      this.#asking++
      const tunnel = this.#tunnel
      const answer = yield* this.#askInTurn(bytes, query, route.servers, tcp).pipe(
        Effect.ensuring(Effect.sync(() => this.#asking--)),
      )
      if (answer === undefined) return failure(bytes, query, "SERVFAIL")
      // An answer that comes after its tunnel has gone is still an answer, but nothing to remember.
      if (tunnel === this.#tunnel) this.#cache.put(query, answer, yield* Clock.currentTimeMillis)
      return fit(answer)
    })
  }

  /** The first server that has something to say; twice round, because datagrams get lost. */
  #askInTurn(
    bytes: Uint8Array,
    query: Query,
    servers: ReadonlyArray<Upstream>,
    tcp: boolean,
  ): Effect.Effect<Uint8Array | undefined> {
    return Effect.gen({ self: this }, function* () {
      let last: Uint8Array | undefined
      for (const server of [...servers, ...servers].slice(0, mostTries)) {
        const asked = yield* Effect.result(
          this.#ask(server.validated ? askingForValidation(bytes) : bytes, query, server, tcp).pipe(
            Effect.timeoutOption(patience),
          ),
        )
        if (Result.isFailure(asked) || asked.success._tag === "None") continue
        const answer = asked.success.value
        if (server.validated && !isTruncated(answer) && !isValidated(answer)) continue
        last = answer
        if (!giveUpOn.has(answer[3]! & 0xf)) return answer
      }
      return last
    })
  }
}

/** SERVFAIL and REFUSED: another server may know more. */
const giveUpOn: ReadonlySet<number> = new Set([2, 5])
const patience = "2 seconds"
const mostTries = 4
/** More than a pod asks at once, and a bound for what a flood may cost. */
const mostAtOnce = 500
