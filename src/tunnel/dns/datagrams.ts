/**
 * Questions over UDP. A few sockets for each family; which of them asks, and under which id, is random, so that answers are hard to
 * forge. They have ports of our own, by which the firewall tells our questions from the application's.
 */
import { createSocket, type Socket } from "node:dgram"
import { Effect } from "effect"
import { answers, type Query, withId } from "../../network/dns/index.ts"
import { covers, forwarderPorts, type Upstream } from "../../network/index.ts"
import { type Asked, freeId, NoAnswer, random } from "./question.ts"

interface Waiting extends Asked {
  readonly server: Upstream
}

interface Bound {
  readonly socket: Socket
  readonly waiting: Map<number, Waiting>
}

export class Datagrams {
  readonly #bound: { readonly [K in "udp4" | "udp6"]: Array<Bound> } = { udp4: [], udp6: [] }

  ask(bytes: Uint8Array, query: Query, server: Upstream): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.callback((resume) => {
      const { socket, waiting } = this.#pick(server.address.includes(":") ? "udp6" : "udp4")
      const id = freeId(waiting)
      waiting.set(id, { query, server, resume })
      const failed = (reason: string) => {
        waiting.delete(id)
        resume(Effect.fail(new NoAnswer({ reason })))
      }
      try {
        socket.send(withId(bytes, id), server.port, server.address, (error) => {
          if (error) failed(error.message)
        })
      } catch (error) {
        failed(String(error))
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

const socketsPerFamily = 8
