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
  parseQuery,
  type Query,
  withId,
} from "../../network/dns/index.ts"
import { type PodNames, routeName, type TunnelNames, type Upstream } from "../../network/index.ts"
import type { Ask } from "./upstream.ts"

export class Forwarder {
  /** Whose names are asked for beside the tunnel. */
  pod: PodNames
  readonly #ask: Ask
  readonly #cache = new Cache()
  #tunnel: TunnelNames | undefined
  /** Questions under way. Those that nobody behind the tunnel answers leave room for those of the cluster. */
  readonly #asking = { pod: 0, tunnel: 0 }
  /** Servers that did not answer, and until when (ms) others are asked first. */
  readonly #silentUntil = new WeakMap<Upstream, number>()

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
      if (this.#asking[route.type] >= mostAtOnce) return failure(bytes, query, "SERVFAIL")
      this.#asking[route.type]++
      const tunnel = this.#tunnel
      const answer = yield* this.#askInTurn(bytes, query, route.servers, tcp).pipe(
        Effect.ensuring(Effect.sync(() => this.#asking[route.type]--)),
      )
      if (answer === undefined) return failure(bytes, query, "SERVFAIL")
      // An answer that comes after its tunnel has gone is still an answer, but nothing to remember.
      if (tunnel === this.#tunnel) this.#cache.put(query, answer, yield* Clock.currentTimeMillis)
      return fit(answer)
    })
  }

  /** The first server that has something to say, in order, silent ones last; twice round, because datagrams get lost. */
  #askInTurn(
    bytes: Uint8Array,
    query: Query,
    servers: ReadonlyArray<Upstream>,
    tcp: boolean,
  ): Effect.Effect<Uint8Array | undefined> {
    return Effect.gen({ self: this }, function* () {
      let last: Uint8Array | undefined
      const began = yield* Clock.currentTimeMillis
      const isSilent = (server: Upstream) => (this.#silentUntil.get(server) ?? 0) > began
      const ordered = [...servers.filter((server) => !isSilent(server)), ...servers.filter(isSilent)]
      for (const server of [...ordered, ...ordered].slice(0, Math.max(mostTries, ordered.length))) {
        const asked = yield* Effect.result(
          this.#ask(server.validated ? askingForValidation(bytes) : bytes, query, server, tcp).pipe(
            Effect.timeoutOption(patience),
          ),
        )
        if (Result.isFailure(asked) || asked.success._tag === "None") {
          this.#silentUntil.set(server, (yield* Clock.currentTimeMillis) + silence)
          continue
        }
        this.#silentUntil.delete(server)
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
/** ms */
const silence = 10_000
const mostTries = 4
/** More than a pod asks at once, and a bound for what a flood may cost. */
const mostAtOnce = 500
