/**
 * A data plane without packets: every transport leads to a scripted server in the same process, the clock is Effect's.
 * Control packets pass at once; data traffic is what the test says it is.
 */
import { Clock, Effect, Layer, PubSub, Queue } from "effect"
import { readSocketAddress } from "../../src/linux/index.ts"
import { OCC_MAGIC, OCC_REPLY } from "../../src/protocol/index.ts"
import { DataPlane, type Link, type LinkEvent } from "../../src/tunnel/dataplane.ts"
import type { Endpoint } from "../../src/tunnel/socket.ts"
import type { ScriptedServer } from "./server.ts"

export class MemoryPlane {
  /** Transports opened so far, in order. */
  readonly opened: Array<Endpoint> = []
  /** What the worker would have been told, in order: `useKey 0`, `ping`, `detach`... */
  readonly commands: Array<string> = []
  readonly counters: Record<string, number> = { lastReceive: 0, heartbeat: 0 }
  /** Of each link that there is, of all of them together. */
  readonly linkCounters: Record<string, number> = { lastReceive: 0, lastSend: 0, keyBytes: 0 }
  /** The MSS of each change of it, for IPv4. */
  readonly clamped: Array<number> = []
  /** What the worker says when the path does not carry a packet. */
  datagramTooLarge: () => void = () => {}
  /** The peer of the next transport; undefined: nobody answers. */
  server: () => ScriptedServer | undefined
  /** Whether servers say which options they have, over the data channel. */
  answersOcc = true
  /** By generation, those that are closed included. */
  readonly links: Array<{ readonly events: Queue.Queue<LinkEvent>; readonly server: ScriptedServer | undefined }> = []
  /** To see which of them are still known to anybody. */
  readonly made: Array<WeakRef<Link>> = []
  /** Generations of the transports that are open. */
  readonly open = new Set<number>()

  constructor(server: () => ScriptedServer | undefined) {
    this.server = server
  }

  /** An event of the worker on the transport that it names. */
  emit(event: LinkEvent): void {
    const link = this.links[event.generation - 1]
    if (link !== undefined) Queue.offerUnsafe(link.events, event)
  }

  /** Lets a server speak, that of the last transport unless said: its packets go to the client. */
  deliver(server: ScriptedServer | undefined = this.links.at(-1)?.server): void {
    const generation = this.links.findLastIndex((link) => link.server === server) + 1
    for (let packet = server?.outgoing(); packet !== undefined; packet = server?.outgoing()) {
      this.emit({ type: "control", generation, packet })
    }
  }

  get layer(): Layer.Layer<DataPlane> {
    return Layer.effect(
      DataPlane,
      Effect.gen({ self: this }, function* () {
        const clock = yield* Clock.clockWith(Effect.succeed)
        const pathTooSmall = yield* PubSub.sliding<void>(1)
        this.datagramTooLarge = () => PubSub.publishUnsafe(pathTooSmall, undefined)
        const now = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
        return DataPlane.of({
          open: (endpoint) => this.#open(endpoint, now),
          attachTun: () => Effect.void,
          hold: (milliseconds) => void this.commands.push(`hold ${milliseconds}`),
          clampMss: ({ ipv4 }) => this.clamped.push(ipv4),
          counter: (name) => this.counters[name] ?? 0,
          counters: () => this.counters,
          now,
          pathTooSmall,
          flush: Effect.void,
          lost: Effect.never,
        })
      }),
    )
  }

  #open(endpoint: Endpoint, now: () => number) {
    return Effect.gen({ self: this }, function* () {
      const events = yield* Queue.unbounded<LinkEvent>()
      const server = this.server()
      const generation = this.opened.push(endpoint)
      this.links.push({ events, server })
      this.open.add(generation)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.open.delete(generation)
          this.commands.push("detach")
        }),
      )
      Queue.offerUnsafe(events, { type: "transportOpen", generation })
      const link: Link = {
        events,
        transmit: (packet) => {
          server?.receive(now(), packet)
          this.deliver(server)
        },
        installKey: (key) => this.commands.push(`installKey ${key.keyId}`),
        useKey: (keyId) => this.commands.push(`useKey ${keyId}`),
        retireKey: (keyId) => this.commands.push(`retireKey ${keyId}`),
        ping: () => {
          this.commands.push("ping")
          this.linkCounters.lastSend = now()
        },
        occExit: () => this.commands.push("occExit"),
        occ: () => {
          this.commands.push("occ")
          if (server === undefined || !this.answersOcc) return
          this.emit({ type: "keyUsed", generation, keyId: 0 })
          this.emit({ type: "occ", generation, message: Uint8Array.of(...OCC_MAGIC, OCC_REPLY) })
        },
        roam: (to) => this.commands.push(`roam ${readSocketAddress(to).address}`),
        resizeBuffers: (send, receive) => this.commands.push(`resizeBuffers ${send} ${receive}`),
        carry: () => this.commands.push(`carry ${generation}`),
        drain: (addresses) => this.commands.push(`drain ${generation} ${addresses.join(" ")}`),
        counter: (name) => this.linkCounters[name] ?? 0,
      }
      this.made.push(new WeakRef(link))
      return link
    })
  }
}
