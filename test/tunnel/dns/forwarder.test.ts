import { expect } from "bun:test"
import { decode, encode } from "dns-packet"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { podNames, type TunnelNames, type Upstream } from "../../../src/network/index.ts"
import { Forwarder } from "../../../src/tunnel/dns/forwarder.ts"
import { NoAnswer } from "../../../src/tunnel/dns/question.ts"
import type { Ask } from "../../../src/tunnel/dns/upstream.ts"
import { it } from "../../support/effect.ts"

const upstream = (address: string, validated = false): Upstream => ({
  address,
  port: 53,
  transport: "plain",
  serverName: undefined,
  validated,
})
const pod = podNames({ nameservers: ["10.96.0.10"], search: ["cluster.local"], options: [] }, [], ["vpn.example"])
const through = (...servers: ReadonlyArray<Upstream>): TunnelNames => [{ servers, domains: [] }]

/** What a server says: an address, a response code, "validated", or nothing. */
type Says = string | number | undefined

/** A forwarder among servers that answer as told; `asked` remembers who was asked, and how. */
const world = (says: Readonly<Record<string, Says>>) => {
  const asked: Array<string> = []
  const ask: Ask = (bytes, query, server, tcp) => {
    asked.push(`${server.address}${tcp ? " tcp" : ""}${(bytes[3]! & 0x20) === 0 ? "" : " ad"}`)
    const said = says[server.address]
    if (said === undefined) return Effect.never
    if (said === "refused") return Effect.fail(new NoAnswer({ reason: said }))
    const { name, type, class: of } = query
    return Effect.succeed(
      Uint8Array.from(
        encode({
          type: "response",
          id: query.id,
          flags: typeof said === "number" ? said : said === "validated" ? 0x20 : 0,
          questions: [{ name, type, class: of }],
          answers:
            typeof said === "number"
              ? []
              : [{ name, type: "A", ttl: 60, data: said.replace("validated", "192.0.2.9") }],
        }),
      ),
    )
  }
  return { asked, forwarder: new Forwarder(pod, ask) }
}
const query = (name: string, id = 1) =>
  Uint8Array.from(encode({ type: "query", id, flags: 0x0100, questions: [{ name, type: "A", class: "IN" }] }))
/** The address, or the response code. */
const said = (bytes: Uint8Array | undefined) => {
  const packet = decode(Buffer.from(bytes!)) as ReturnType<typeof decode> & { readonly rcode: string }
  return packet.answers?.[0]?.data ?? packet.rcode
}

it.effect("without a tunnel: the cluster answers, the VPN server is found, all else fails at once", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({ "10.96.0.10": "10.244.0.9" })
    expect(said(yield* forwarder.handle(query("web.cluster.local"), false))).toBe("10.244.0.9")
    expect(said(yield* forwarder.handle(query("vpn.example"), false))).toBe("10.244.0.9")
    expect(said(yield* forwarder.handle(query("example.com"), false))).toBe("SERVFAIL")
    expect(asked).toEqual(["10.96.0.10", "10.96.0.10"])
  }),
)

it.effect("another VPN server is found after a reload, also with the prefix of remote-random-hostname", () =>
  Effect.gen(function* () {
    const { forwarder } = world({ "10.96.0.10": "10.244.0.9" })
    expect(said(yield* forwarder.handle(query("other.example"), false))).toBe("SERVFAIL")
    forwarder.pod = podNames({ nameservers: ["10.96.0.10"], search: [], options: [] }, [], ["other.example"])
    expect(said(yield* forwarder.handle(query("other.example"), false))).toBe("10.244.0.9")
    expect(said(yield* forwarder.handle(query("0123456789ab.other.example"), false))).toBe("10.244.0.9")
    expect(said(yield* forwarder.handle(query("data.other.example"), false))).toBe("SERVFAIL")
    expect(said(yield* forwarder.handle(query("vpn.example"), false))).toBe("SERVFAIL")
  }),
)

it.effect("with a tunnel its servers answer, and the second question is answered from memory with its own id", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({ "10.8.0.1": "192.0.2.1" })
    forwarder.tunnel = through(upstream("10.8.0.1"))
    expect(said(yield* forwarder.handle(query("example.com", 1), false))).toBe("192.0.2.1")
    const again = yield* forwarder.handle(query("example.com", 77), false)
    expect(decode(Buffer.from(again!)).id).toBe(77)
    expect(asked).toEqual(["10.8.0.1"])
    // The tunnel's end is the end of what it told.
    forwarder.tunnel = undefined
    expect(said(yield* forwarder.handle(query("example.com"), false))).toBe("SERVFAIL")
    forwarder.tunnel = []
    expect(said(yield* forwarder.handle(query("example.com"), false))).toBe("REFUSED")
  }),
)

it.effect("servers in turn: one that refuses, one that fails, one that is silent for two seconds", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({ "10.8.0.1": "refused", "10.8.0.2": 2, "10.8.0.4": "192.0.2.4" })
    forwarder.tunnel = through(...["10.8.0.1", "10.8.0.2", "10.8.0.3", "10.8.0.4"].map((address) => upstream(address)))
    const answer = yield* Effect.forkChild(forwarder.handle(query("example.com"), false), { startImmediately: true })
    yield* TestClock.adjust("2 seconds")
    expect(said(yield* Fiber.join(answer))).toBe("192.0.2.4")
    expect(asked).toEqual(["10.8.0.1", "10.8.0.2", "10.8.0.3", "10.8.0.4"])
  }),
)

it.effect("a server that was silent is asked last for ten seconds, and then in its turn again", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({ "10.8.0.2": 3, "10.8.0.3": 3 })
    forwarder.tunnel = through(...["10.8.0.1", "10.8.0.2", "10.8.0.3"].map((address) => upstream(address)))
    const handle = (name: string) => Effect.forkChild(forwarder.handle(query(name), false), { startImmediately: true })
    const first = yield* handle("a.example")
    yield* TestClock.adjust("2 seconds")
    yield* Fiber.join(first)
    expect(asked.splice(0)).toEqual(["10.8.0.1", "10.8.0.2"])
    yield* Fiber.join(yield* handle("b.example"))
    expect(asked.splice(0)).toEqual(["10.8.0.2"])
    yield* TestClock.adjust("10 seconds")
    yield* handle("c.example")
    expect(asked).toEqual(["10.8.0.1"])
  }),
)

it.effect("questions that the tunnel's servers leave open are bounded, and leave room for the cluster's", () =>
  Effect.gen(function* () {
    const { forwarder } = world({ "10.96.0.10": "10.244.0.9" })
    forwarder.tunnel = through(upstream("10.8.0.1"))
    for (let i = 0; i < 500; i++) yield* Effect.forkChild(forwarder.handle(query(`n${i}.example`), false))
    yield* Effect.yieldNow
    expect(said(yield* forwarder.handle(query("one.more.example"), false))).toBe("SERVFAIL")
    expect(said(yield* forwarder.handle(query("web.cluster.local"), false))).toBe("10.244.0.9")
  }),
)

it.effect("when nobody answers the asker is told so", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({})
    forwarder.tunnel = through(upstream("10.8.0.1"))
    const answer = yield* Effect.forkChild(forwarder.handle(query("example.com"), true), { startImmediately: true })
    yield* TestClock.adjust("4 seconds")
    expect(said(yield* Fiber.join(answer))).toBe("SERVFAIL")
    expect(asked).toEqual(["10.8.0.1 tcp", "10.8.0.1 tcp"])
  }),
)

it.effect("a server that has to validate is asked to, and what it did not validate is refused", () =>
  Effect.gen(function* () {
    const { asked, forwarder } = world({ "10.8.0.1": "192.0.2.1", "10.8.0.2": "validated" })
    forwarder.tunnel = through(upstream("10.8.0.1", true))
    expect(said(yield* forwarder.handle(query("example.com"), false))).toBe("SERVFAIL")
    forwarder.tunnel = through(upstream("10.8.0.2", true))
    expect(said(yield* forwarder.handle(query("example.com"), false))).toBe("192.0.2.9")
    expect(asked.at(-1)).toBe("10.8.0.2 ad")
  }),
)

it.effect("nonsense is answered as such; answers are not answered", () =>
  Effect.gen(function* () {
    const { forwarder } = world({})
    const nonsense = query("example.com").slice(0, 20)
    expect(said(yield* forwarder.handle(nonsense, false))).toBe("FORMERR")
    const answer = query("example.com")
    answer[2] = answer[2]! | 0x80
    expect(yield* forwarder.handle(answer, false)).toBeUndefined()
    expect(yield* forwarder.handle(new Uint8Array(5), false)).toBeUndefined()
  }),
)
