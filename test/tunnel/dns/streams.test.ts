import { afterEach, beforeEach, expect } from "bun:test"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { decode, encode } from "dns-packet"
import { Effect, Fiber, Result } from "effect"
import { parseQuery } from "../../../src/network/dns/index.ts"
import type { Upstream } from "../../../src/network/index.ts"
import { framed, frames } from "../../../src/tunnel/dns/stream.ts"
import { Streams } from "../../../src/tunnel/dns/streams.ts"
import { eventually } from "../../support/child.ts"
import { it } from "../../support/effect.ts"

/** A name server that shows its connections and the questions on them, and answers when told to. */
let connections: Array<{ readonly socket: Socket; readonly asked: Array<Uint8Array> }>
let server: Server
let upstream: Upstream
let streams: Streams

beforeEach(async () => {
  connections = []
  streams = new Streams()
  server = createServer((socket) => {
    const asked: Array<Uint8Array> = []
    connections.push({ socket, asked })
    const read = frames((message) => asked.push(message))
    socket.on("data", (chunk: Buffer) => read(chunk))
    socket.on("error", () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  upstream = { address: "127.0.0.1", port, transport: "plain", serverName: undefined, validated: false }
})
afterEach(() => {
  streams.close()
  for (const { socket } of connections) socket.destroy()
  server.close()
})

const ask = (name: string) => {
  const bytes = Uint8Array.from(encode({ type: "query", id: 7, questions: [{ name, type: "A", class: "IN" }] }))
  return Effect.map(streams.ask(bytes, parseQuery(bytes)!, upstream), (answer) => {
    const { id, answers } = decode(Buffer.from(answer))
    return { id, address: answers?.[0]?.data }
  })
}
/** Answers the question number `index` of a connection with an address. */
const answer = (connection: number, index: number, address: string) => {
  const { socket, asked } = connections[connection]!
  const { id, questions } = decode(Buffer.from(asked[index]!))
  const [{ name, type } = { name: "", type: "A" }] = questions ?? []
  const answers = [{ name, type: "A", ttl: 60, data: address }]
  socket.write(framed(encode({ type: "response", id: id!, questions: [{ name, type, class: "IN" }], answers })))
}
const questions = (connection: number, count: number) =>
  Effect.promise(() => eventually(5_000, "questions", () => connections[connection]?.asked.length === count))

it.live("questions share one connection, and answers come in any order, each to its asker", () =>
  Effect.gen(function* () {
    const both = yield* Effect.forkChild(Effect.all([ask("a.example"), ask("b.example")], { concurrency: 2 }))
    yield* questions(0, 2)
    answer(0, 1, "192.0.2.2")
    answer(0, 0, "192.0.2.1")
    expect(yield* Fiber.join(both)).toEqual([
      { id: 7, address: "192.0.2.1" },
      { id: 7, address: "192.0.2.2" },
    ])
    expect(connections).toHaveLength(1)
  }),
)

it.live("a server that closes a connection that it had answered on is asked again on another one", () =>
  Effect.gen(function* () {
    const first = yield* Effect.forkChild(ask("a.example"))
    yield* questions(0, 1)
    answer(0, 0, "192.0.2.1")
    yield* Fiber.join(first)
    const second = yield* Effect.forkChild(ask("b.example"))
    yield* questions(0, 2)
    connections[0]!.socket.destroy()
    yield* questions(1, 1)
    answer(1, 0, "192.0.2.2")
    expect((yield* Fiber.join(second)).address).toBe("192.0.2.2")
  }),
)

it.live("one that closes a new connection has refused", () =>
  Effect.gen(function* () {
    const asked = yield* Effect.forkChild(Effect.result(ask("a.example")))
    yield* questions(0, 1)
    connections[0]!.socket.destroy()
    expect(Result.isFailure(yield* Fiber.join(asked))).toBe(true)
    expect(connections).toHaveLength(1)
  }),
)

it.live("a connection on which nothing was heard in time is not used again", () =>
  Effect.gen(function* () {
    const lost = yield* Effect.forkChild(ask("a.example"))
    yield* questions(0, 1)
    yield* Fiber.interrupt(lost)
    const next = yield* Effect.forkChild(ask("b.example"))
    yield* questions(1, 1)
    answer(1, 0, "192.0.2.2")
    expect((yield* Fiber.join(next)).address).toBe("192.0.2.2")
  }),
)

it.live("an answer to another question, or nonsense, is none", () =>
  Effect.gen(function* () {
    const asked = yield* Effect.forkChild(
      Effect.all([Effect.result(ask("a.example")), Effect.result(ask("b.example"))], { concurrency: 2 }),
    )
    yield* questions(0, 2)
    const [first, second] = connections[0]!.asked
    // The id of the one with the question of the other.
    connections[0]!.asked[0] = Uint8Array.of(...first!.subarray(0, 2), ...second!.subarray(2))
    answer(0, 0, "192.0.2.1")
    connections[0]!.socket.write(Uint8Array.of(0, 0))
    expect((yield* Fiber.join(asked)).map(Result.isFailure)).toEqual([true, true])
  }),
)
