/** Questions to name servers, by the transport that each of them wants: UDP, TCP, TLS (RFC 7858) and HTTPS (RFC 8484). */
import { Effect, type Scope } from "effect"
import type { Query } from "../../network/dns/index.ts"
import type { Upstream } from "../../network/index.ts"
import { Datagrams } from "./datagrams.ts"
import { Https } from "./https.ts"
import type { NoAnswer } from "./question.ts"
import { Streams } from "./streams.ts"

/** Asks one server one question; the answer has been checked to be one to it and has the question's id. */
export type Ask = (
  bytes: Uint8Array,
  query: Query,
  server: Upstream,
  tcp: boolean,
) => Effect.Effect<Uint8Array, NoAnswer>

/** Its sockets live as long as the scope. */
export const makeAsk: Effect.Effect<Ask, never, Scope.Scope> = Effect.gen(function* () {
  const [datagrams, streams, https] = yield* Effect.acquireRelease(
    Effect.sync(() => [new Datagrams(), new Streams(), new Https()] as const),
    (all) =>
      Effect.sync(() => {
        for (const one of all) one.close()
      }),
  )
  return (bytes, query, server, tcp) => {
    switch (server.transport) {
      case "plain":
        return (tcp ? streams : datagrams).ask(bytes, query, server)
      case "DoT":
        return streams.ask(bytes, query, server)
      case "DoH":
        return https.ask(bytes, query, server)
    }
  }
})
