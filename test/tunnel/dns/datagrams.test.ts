import { expect } from "bun:test"
import { createSocket } from "node:dgram"
import { decode, encode } from "dns-packet"
import { Effect, Fiber, Option, Result } from "effect"
import { parseQuery } from "../../../src/network/dns/index.ts"
import { forwarderPorts, type Upstream } from "../../../src/network/index.ts"
import { Datagrams } from "../../../src/tunnel/dns/datagrams.ts"
import { eventually } from "../../support/child.ts"
import { it } from "../../support/effect.ts"

const upstream = (address: string, port: number): Upstream => ({
  ...{ address, port, transport: "plain", serverName: undefined, validated: false },
})
const query = (name: string) =>
  Uint8Array.from(encode({ type: "query", id: 7, questions: [{ name, type: "A", class: "IN" }] }))

/** A name server that answers each question with `answer`; also the ports that asked. */
const server = (answer: (id: number, name: string) => Uint8Array | undefined) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly asked: Array<number>; readonly close: () => void }>((resume) => {
      const socket = createSocket("udp4")
      const asked: Array<number> = []
      socket.on("message", (message, from) => {
        asked.push(from.port)
        const { id = 0, questions } = decode(message)
        const said = answer(id, questions![0]!.name)
        if (said !== undefined) socket.send(said, from.port, from.address)
      })
      socket.bind(0, "127.0.0.1", () =>
        resume(Effect.succeed({ port: socket.address().port, asked, close: () => socket.close() })),
      )
    }),
    ({ close }) => Effect.sync(close),
  )
const datagrams = Effect.acquireRelease(
  Effect.sync(() => new Datagrams()),
  (open) => Effect.sync(() => open.close()),
)
const addressed = (id: number, name: string) =>
  encode({
    type: "response",
    id,
    questions: [{ name, type: "A", class: "IN" }],
    answers: [{ name, type: "A", ttl: 60, data: "192.0.2.1" }],
  })

it.live("asks from the ports that the firewall knows, and the answer has the asker's id", () =>
  Effect.gen(function* () {
    const { port, asked } = yield* server(addressed)
    const { ask } = yield* Effect.map(datagrams, (open) => ({ ask: open.ask.bind(open) }))
    for (let i = 0; i < 20; i++) {
      const bytes = query(`n${i}.example`)
      expect(decode(Buffer.from(yield* ask(bytes, parseQuery(bytes)!, upstream("127.0.0.1", port)))).id).toBe(7)
    }
    for (const from of asked) {
      expect(from).toBeGreaterThanOrEqual(forwarderPorts.first)
      expect(from).toBeLessThanOrEqual(forwarderPorts.last)
    }
    // Several, because one would be easy to guess.
    expect(new Set(asked).size).toBeGreaterThan(1)
  }),
)

it.live("an answer to another question, or with another id, is not taken", () =>
  Effect.gen(function* () {
    const { port, asked } = yield* server((id, name) =>
      name === "other.example" ? addressed(id, "a.example") : addressed((id + 1) & 0xffff, name),
    )
    const open = yield* datagrams
    for (const name of ["other.example", "wrong.example"]) {
      const bytes = query(name)
      const before = asked.length
      const answer = yield* Effect.forkChild(open.ask(bytes, parseQuery(bytes)!, upstream("127.0.0.1", port)))
      yield* Effect.promise(() => eventually(5_000, "the question", () => asked.length === before + 1))
      expect(Option.isNone(yield* Effect.timeoutOption(Fiber.join(answer), "100 millis"))).toBe(true)
      yield* Fiber.interrupt(answer)
    }
  }),
)

it.live("what cannot be sent is told at once", () =>
  Effect.gen(function* () {
    const open = yield* datagrams
    const bytes = query("a.example")
    // A broadcast address takes a right that this socket does not have.
    const asked = yield* Effect.result(open.ask(bytes, parseQuery(bytes)!, upstream("255.255.255.255", 53)))
    expect(Result.isFailure(asked) && asked.failure.reason).toMatch(/EACCES|ENETUNREACH|EPERM/)
  }),
)
