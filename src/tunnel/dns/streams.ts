/**
 * Questions over TCP and TLS. One connection for each server, kept while it is used: questions go out behind each other and answers
 * come in any order (RFC 7766 section 6.2.1). A connection for each question would cost a handshake each, and plain ones would soon
 * use up our few ports, of which each rests for a minute after it was used.
 */
import { connect, type Socket } from "node:net"
import { Effect } from "effect"
import { answers, type Query, withId } from "../../network/dns/index.ts"
import { forwarderPorts, type Upstream } from "../../network/index.ts"
import { type Asked, certificateCheck, freeId, NoAnswer, random } from "./question.ts"
import { framed, frames } from "./stream.ts"

interface Connection {
  readonly socket: Socket
  readonly waiting: Map<number, Asked>
  /** Answers so far. One that has answered may end because it was idle; that is no refusal. */
  heard: number
  readonly end: (reason: string) => void
}

export class Streams {
  readonly #open = new Map<string, Connection>()
  #port = random(forwarderPorts.last - forwarderPorts.first + 1)

  ask(bytes: Uint8Array, query: Query, server: Upstream): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.suspend(() => {
      const known = this.#open.get(keyOf(server))
      const answer = this.#askOver(known ?? this.#connect(server), bytes, query)
      // The server may have closed it while the question was under way.
      return known !== undefined && known.heard > 0
        ? Effect.catch(answer, () => this.#askOver(this.#connect(server), bytes, query))
        : answer
    })
  }

  close(): void {
    for (const { socket } of this.#open.values()) socket.destroy()
  }

  #askOver(connection: Connection, bytes: Uint8Array, query: Query): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.callback((resume) => {
      const { socket, waiting, heard } = connection
      const id = freeId(waiting)
      waiting.set(id, { query, resume })
      socket.write(framed(withId(bytes, id)))
      return Effect.sync(() => {
        waiting.delete(id)
        // Nobody may be at the other end any more, as after the tunnel came back with another address.
        if (connection.heard === heard) connection.end("no answer in time")
      })
    })
  }

  #connect(server: Upstream): Connection {
    const key = keyOf(server)
    const socket = server.transport === "DoT" ? tlsTo(server) : this.#plainTo(server)
    const waiting = new Map<number, Asked>()
    const end = (reason: string) => {
      if (this.#open.get(key) === connection) this.#open.delete(key)
      socket.destroy()
      for (const { resume } of waiting.values()) resume(Effect.fail(new NoAnswer({ reason })))
      waiting.clear()
    }
    const connection: Connection = { socket, waiting, heard: 0, end }
    const read = frames((message) => {
      const id = message.length < 2 ? -1 : (message[0]! << 8) | message[1]!
      const asked = waiting.get(id)
      if (asked === undefined) return
      connection.heard++
      waiting.delete(id)
      asked.resume(
        answers(message, asked.query, id)
          ? Effect.succeed(withId(message, asked.query.id))
          : Effect.fail(new NoAnswer({ reason: "the answer is to another question" })),
      )
    })
    socket.on("data", (chunk) => {
      if (typeof chunk === "string" || !read(chunk)) end("the answer is malformed")
    })
    socket.on("error", (error) => end(error.message))
    socket.on("close", () => end("the server closed the connection"))
    socket.setTimeout(idleLimit, () => end("nothing was heard for a while"))
    this.#open.set(key, connection)
    return connection
  }

  #plainTo({ address, port }: Upstream): Socket {
    this.#port = (this.#port + 1) % (forwarderPorts.last - forwarderPorts.first + 1)
    return connect({ host: address, port, localPort: forwarderPorts.first + this.#port })
  }
}

/** Few servers are asked so: the module is loaded for the first one. */
const tlsTo = (server: Upstream): Socket =>
  process.getBuiltinModule("node:tls").connect({ host: server.address, port: server.port, ...certificateCheck(server) })

const keyOf = ({ address, port, transport, serverName }: Upstream) => `${transport} ${address} ${port} ${serverName}`

/** ms */
const idleLimit = 10_000
