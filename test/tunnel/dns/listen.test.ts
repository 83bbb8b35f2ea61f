import { expect } from "bun:test"
import { createSocket, type Socket } from "node:dgram"
import { Effect, Fiber, Option } from "effect"
import type { Forwarder } from "../../../src/tunnel/dns/forwarder.ts"
import { listen } from "../../../src/tunnel/dns/listen.ts"
import { eventually } from "../../support/child.ts"
import { it } from "../../support/effect.ts"

const address = "127.0.0.1"

it.live("an asker that does not wait for its answer is nothing to the socket", () =>
  Effect.gen(function* () {
    const port = yield* freePort
    const asked: Array<string> = []
    const handle = (bytes: Uint8Array) =>
      Effect.sync(() => {
        asked.push(new TextDecoder().decode(bytes))
        return bytes
      })
    const crashed = yield* listen({ handle } as unknown as Forwarder, address, port)
    const crash = yield* Effect.forkChild(Effect.flip(crashed))
    // Nothing is read before the asker has gone: its answer comes back to the socket in the middle of reading.
    Bun.spawnSync(["bash", "-c", `echo -n first >/dev/udp/${address}/${port}`])
    yield* Effect.promise(() => eventually(5_000, "the first query", () => asked.includes("first")))
    for (const question of ["second", "third"]) expect(yield* ask(question, port)).toBe(question)
    expect(Option.isNone(yield* Effect.timeoutOption(Fiber.join(crash), "100 millis"))).toBe(true)
  }),
)

const freePort = Effect.callback<number>((resume) => {
  const socket = createSocket("udp4")
  socket.bind(0, address, () => {
    const { port } = socket.address()
    socket.close(() => resume(Effect.succeed(port)))
  })
})

/** Repeated, because the error of the first answer may swallow a datagram. */
const ask = (question: string, port: number) =>
  Effect.promise(async () => {
    const socket: Socket = createSocket("udp4")
    let said: string | undefined
    socket.on("message", (answer) => {
      said = answer.toString()
    })
    try {
      return await eventually(5_000, `an answer to ${question}`, () => {
        socket.send(question, port, address)
        return said
      })
    } finally {
      socket.close()
    }
  })
