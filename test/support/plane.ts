/**
 * A data plane without packets: every transport leads to a scripted server in the same process, the clock is Effect's.
 * Control packets pass at once; data traffic is what the test says it is.
 */
import { Clock, Effect, Layer, PubSub, Queue } from "effect"
import { DataPlane, type Endpoint, type Link, type LinkEvent } from "../../src/tunnel/dataplane.ts"
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
  /** Of the last transport. */
  current: { readonly events: Queue.Queue<LinkEvent>; readonly server: ScriptedServer | undefined } | undefined

  constructor(server: () => ScriptedServer | undefined) {
    this.server = server
  }

  /** An event of the worker on the last transport. */
  emit(event: LinkEvent): void {
    if (this.current !== undefined) Queue.offerUnsafe(this.current.events, event)
  }

  /** Lets the server speak: its packets go to the client. */
  deliver(server: ScriptedServer | undefined = this.current?.server): void {
    for (let packet = server?.outgoing(); packet !== undefined; packet = server?.outgoing()) {
      this.emit({ type: "control", generation: this.opened.length, packet })
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
      this.current = { events, server }
      yield* Effect.addFinalizer(() => Effect.sync(() => this.commands.push("detach")))
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
        occ: () => this.commands.push("occ"),
        carry: () => this.commands.push(`carry ${generation}`),
        drain: (addresses) => this.commands.push(`drain ${generation} ${addresses.join(" ")}`),
        counter: (name) => this.linkCounters[name] ?? 0,
      }
      return link
    })
  }
}
