/**
 * Questions to name servers: over UDP, TCP, TLS (RFC 7858) and HTTPS (RFC 8484). Plain ones leave from a few ports of our own, by
 * which the firewall tells them from the application's.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram"
import { request } from "node:https"
import { connect, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { Data, Effect, type Scope } from "effect"
import { answers, covers, forwarderPorts, type Query, type Upstream, withId } from "../../network/index.ts"
import { framed, frames } from "./stream.ts"

export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly reason: string }> {}

/** Asks one server one question; the answer has been checked to be one to it and has the question's id. */
export type Ask = (
  bytes: Uint8Array,
  query: Query,
  server: Upstream,
  tcp: boolean,
) => Effect.Effect<Uint8Array, NoAnswer>

/** Its sockets live as long as the scope. */
export const makeAsk: Effect.Effect<Ask, never, Scope.Scope> = Effect.gen(function* () {
  const udp = yield* Effect.acquireRelease(
    Effect.sync(() => new UdpSockets()),
    (sockets) => Effect.sync(() => sockets.close()),
  )
  return (bytes, query, server, tcp) => {
    switch (server.transport) {
      case "plain":
        return tcp ? overStream(bytes, query, plainStream(server)) : udp.ask(bytes, query, server)
      case "DoT":
        return overStream(bytes, query, () => tlsStream(server))
      case "DoH":
        return overHttps(bytes, query, server)
    }
  }
})

interface Waiting {
  readonly query: Query
  readonly server: Upstream
  readonly resume: (effect: Effect.Effect<Uint8Array, NoAnswer>) => void
}

interface Bound {
  readonly socket: UdpSocket
  readonly waiting: Map<number, Waiting>
}

/** A few sockets for each family; which of them asks, and under which id, is random, so that answers are hard to forge. */
class UdpSockets {
  readonly #bound: { readonly [K in "udp4" | "udp6"]: Array<Bound> } = { udp4: [], udp6: [] }

  ask(bytes: Uint8Array, query: Query, server: Upstream): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.callback((resume) => {
      const { socket, waiting } = this.#pick(server.address.includes(":") ? "udp6" : "udp4")
      let id = random(0x10000)
      while (waiting.has(id)) id = random(0x10000)
      waiting.set(id, { query, server, resume })
      try {
        socket.send(withId(bytes, id), server.port, server.address, (error) => {
          if (error) resume(Effect.fail(new NoAnswer({ reason: error.message })))
        })
      } catch (error) {
        resume(Effect.fail(new NoAnswer({ reason: String(error) })))
      }
      return Effect.sync(() => waiting.delete(id))
    })
  }

  close(): void {
    for (const { socket } of [...this.#bound.udp4, ...this.#bound.udp6]) socket.close()
  }

  #pick(family: "udp4" | "udp6"): Bound {
    const bound = this.#bound[family]
    if (bound.length < socketsPerFamily) {
      const made = bind(family, bound.length)
      bound.push(made)
      return made
    }
    return bound[random(bound.length)]!
  }
}

/** Each socket has a slice of the ports to itself and takes a random one of it. */
const bind = (family: "udp4" | "udp6", index: number): Bound => {
  const slice = Math.floor((forwarderPorts.last - forwarderPorts.first + 1) / socketsPerFamily)
  const socket = createSocket({ type: family, ipv6Only: true })
  const waiting = new Map<number, Waiting>()
  // What failed is noticed by its time limit.
  socket.on("error", () => {})
  socket.on("message", (message, from) => {
    const bytes = Uint8Array.from(message)
    const id = bytes.length < 2 ? -1 : (bytes[0]! << 8) | bytes[1]!
    const found = waiting.get(id)
    if (found === undefined || from.port !== found.server.port || !covers(found.server.address, from.address)) return
    if (!answers(bytes, found.query, id)) return
    waiting.delete(id)
    found.resume(Effect.succeed(withId(bytes, found.query.id)))
  })
  socket.bind(forwarderPorts.first + index * slice + random(slice))
  socket.unref()
  return { socket, waiting }
}

const plainStream = (server: Upstream) => () =>
  connect({
    host: server.address,
    port: server.port,
    localPort: forwarderPorts.first + random(forwarderPorts.last - forwarderPorts.first + 1),
  })

const tlsStream = (server: Upstream): Socket =>
  connectTls({
    host: server.address,
    port: server.port,
    // Without a name there is nothing to check; the tunnel around it has been.
    ...(server.serverName === undefined ? { rejectUnauthorized: false } : { servername: server.serverName }),
  })

const overStream = (bytes: Uint8Array, query: Query, open: () => Socket): Effect.Effect<Uint8Array, NoAnswer> =>
  Effect.callback((resume) => {
    const socket = open()
    const failed = (reason: string) => resume(Effect.fail(new NoAnswer({ reason })))
    const read = frames((message) => {
      socket.destroy()
      if (answers(message, query, query.id)) resume(Effect.succeed(message))
      else failed("the answer is to another question")
    })
    socket.on("data", (chunk) => {
      if (typeof chunk === "string" || !read(chunk)) failed("the answer is malformed")
    })
    socket.on("error", (error) => failed(error.message))
    socket.on("close", () => failed("the server closed the connection"))
    socket.write(framed(bytes))
    return Effect.sync(() => socket.destroy())
  })

const overHttps = (bytes: Uint8Array, query: Query, server: Upstream): Effect.Effect<Uint8Array, NoAnswer> =>
  Effect.callback((resume) => {
    const failed = (reason: string) => resume(Effect.fail(new NoAnswer({ reason })))
    const type = "application/dns-message"
    const asked = request(
      {
        host: server.address,
        port: server.port,
        path: "/dns-query",
        method: "POST",
        headers: { host: server.serverName ?? server.address, accept: type, "content-type": type },
        ...(server.serverName === undefined ? { rejectUnauthorized: false } : { servername: server.serverName }),
      },
      (response) => {
        const chunks: Array<Buffer> = []
        let size = 0
        response.on("data", (chunk: Buffer) => {
          size += chunk.length
          if (size > largestMessage) asked.destroy()
          else chunks.push(chunk)
        })
        response.on("error", (error) => failed(error.message))
        response.on("end", () => {
          const message = Uint8Array.from(Buffer.concat(chunks))
          if (response.statusCode !== 200) failed(`HTTP status ${response.statusCode}`)
          else if (answers(message, query, query.id)) resume(Effect.succeed(message))
          else failed("the answer is to another question")
        })
      },
    )
    asked.on("error", (error) => failed(error.message))
    asked.end(bytes)
    return Effect.sync(() => asked.destroy())
  })

const random = (below: number): number => crypto.getRandomValues(new Uint32Array(1))[0]! % below

const socketsPerFamily = 8
const largestMessage = 65_535
