/** Whether the servers of the tunnel's names answer. What they say does not matter, only that they say something. */
import { Effect, Result } from "effect"
import { parseQuery } from "../../network/dns/index.ts"
import { serversOf, type TunnelNames } from "../../network/index.ts"
import type { Ask } from "./upstream.ts"

/** Undefined: for each set of domains somebody answers, one server or another that stands in for it; else who is silent. */
export const silentServers = Effect.fnUntraced(function* (names: TunnelNames, ask: Ask) {
  for (const { domains } of names) {
    const servers = serversOf(domains[0] ?? "", names)
    const bytes = question(domains[0] ?? "")
    const query = parseQuery(bytes)
    if (query === undefined) continue
    let answered = false
    for (const server of servers) {
      const answer = yield* Effect.result(ask(bytes, query, server, false).pipe(Effect.timeoutOption("2 seconds")))
      answered = Result.isSuccess(answer) && answer.success._tag === "Some"
      if (answered) break
    }
    if (!answered && servers.length > 0) return `no answer from ${servers.map(({ address }) => address).join(", ")}`
  }
  return undefined
})

/** Counts what `ask` meets by server and outcome, into `counts`: `ADDRESS OUTCOME`. */
export const counted =
  (ask: Ask, counts: Record<string, number>): Ask =>
  (bytes, query, server, tcp) => {
    const count = (outcome: string) =>
      Effect.sync(() => {
        const key = `${server.address} ${outcome}`
        counts[key] = (counts[key] ?? 0) + 1
      })
    return ask(bytes, query, server, tcp).pipe(
      Effect.tap((answer) => count(rcodes[answer[3]! & 0xf] ?? "OTHER")),
      Effect.tapError(() => count("FAILED")),
      Effect.onInterrupt(() => count("TIMEOUT")),
    )
  }

/** A query for the SOA record of a domain; "" is the root. RFC 1035 §4.1. */
const question = (domain: string): Uint8Array => {
  const labels = domain.split(".").filter((label) => label !== "")
  const name = labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)])
  return Uint8Array.of(0, 0, recursionDesired, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 0, typeSoa, 0, classInternet)
}

const recursionDesired = 1
const typeSoa = 6
const classInternet = 1

const rcodes = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
