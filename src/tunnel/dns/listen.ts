/** The sockets that queries come to. */
import { createSocket } from "node:dgram"
import type { EventEmitter } from "node:events"
import { createServer, type Socket } from "node:net"
import { Cause, Data, Deferred, Effect, Exit, FiberSet } from "effect"
import type { Forwarder } from "./forwarder.ts"
import { framed, frames } from "./stream.ts"

/** A socket that queries came to is no more. */
class ForwarderCrashed extends Data.TaggedError("ForwarderCrashed")<{ readonly message: string }> {}

/** UDP and TCP on one address, until the scope ends. What it gives fails when one of the sockets is no more. */
export const listen = Effect.fnUntraced(function* (forwarder: Forwarder, address: string, port: number) {
  const run = yield* FiberSet.makeRuntime<never>()
  const answer: Answer = (message, isStream, send) => {
    run(
      forwarder.handle(message, isStream).pipe(
        Effect.map((answer) => (answer === undefined ? undefined : send(answer))),
        Effect.catchCause(tellDefect),
      ),
    )
  }
  const crashed = yield* Deferred.make<never, ForwarderCrashed>()
  const lost = (what: string, why: string) => {
    const message = `${what} on ${address}:${port}: ${why}`
    Deferred.doneUnsafe(crashed, Exit.fail(new ForwarderCrashed({ message })))
  }
  for (const [name, open] of [
    ["UDP", listenUdp],
    ["TCP", listenTcp],
  ] as const) {
    const { socket } = yield* Effect.acquireRelease(open(address, port, answer), ({ close }) => closed(close))
    socket.on("error", (error: Errno) => {
      if (!isAboutOneAnswer(error)) lost(`the ${name} socket`, error.message)
    })
    socket.on("close", () => lost(`the ${name} socket`, "it was closed"))
  }
  return Deferred.await(crashed)
})

type Errno = Error & { readonly code?: string }

/** ICMP came back for an answer, because whoever asked is gone: that says nothing about the socket. */
const isAboutOneAnswer = ({ code }: Errno) => code !== undefined && code !== "EBADF" && code !== "ENOTSOCK"

/** One query to its answer; `send` is not called when there is none. */
type Answer = (message: Uint8Array, isStream: boolean, send: (answer: Uint8Array) => void) => void

const tellDefect = (cause: Cause.Cause<never>) =>
  Cause.hasInterruptsOnly(cause)
    ? Effect.void
    : Effect.logError(`answering a DNS query: ${Cause.pretty(cause)}`).pipe(
        Effect.annotateLogs({ event: "query_failed" }),
      )

/** `close` calls back when it is done, and throws when it was before. */
interface Listening {
  readonly socket: EventEmitter
  readonly close: (done: () => void) => unknown
}

/** Waits for the end, so that the port is free for the next one. */
const closed = (close: Listening["close"]) =>
  Effect.callback<void>((resume) => {
    try {
      close(() => resume(Effect.void))
    } catch {
      resume(Effect.void)
    }
  }).pipe(Effect.timeoutOption("1 second"))

const listenUdp = (address: string, port: number, answer: Answer) =>
  Effect.callback<Listening, Error>((resume) => {
    const socket = createSocket({ type: address.includes(":") ? "udp6" : "udp4", ipv6Only: true })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("message", (message, from) => {
      answer(Uint8Array.from(message), false, (answer) => socket.send(answer, from.port, from.address, () => {}))
    })
    socket.bind(port, address, () => resume(Effect.succeed({ socket, close: (done) => socket.close(done) })))
  })

const listenTcp = (address: string, port: number, answer: Answer) =>
  Effect.callback<Listening, Error>((resume) => {
    const connections = new Set<Socket>()
    const server = createServer((socket) => {
      connections.add(socket)
      socket.on("close", () => connections.delete(socket))
      const read = frames((message) => {
        answer(message, true, (answer) => {
          if (socket.writable) socket.write(framed(answer))
        })
      })
      socket.on("error", () => {})
      socket.on("data", (chunk) => {
        if (typeof chunk === "string" || !read(chunk)) socket.destroy()
      })
      socket.setTimeout(idleLimit, () => socket.destroy())
    })
    server.maxConnections = mostConnections
    server.on("error", (error) => resume(Effect.fail(error)))
    const close = (done: () => void) => {
      for (const connection of connections) connection.destroy()
      server.close(done)
    }
    server.listen(port, address, () => resume(Effect.succeed({ socket: server, close })))
  })

/** Milliseconds. */
const idleLimit = 10_000
const mostConnections = 100
