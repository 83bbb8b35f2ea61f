/** The data plane as an Effect service: one `Link` per transport, its events in a queue, its end in the scope. */
import { Context, Data, Deferred, Effect, Exit, Layer, PubSub, Queue, type Scope } from "effect"
import { parseIpv4, parseIpv6 } from "../config/address.ts"
import {
  type Command,
  type CounterName,
  counterReader,
  createCounterMemory,
  createLinkCounterMemory,
  type DataPlaneHandle,
  type Event,
  type LinkCounterName,
  linkCounterReader,
  type OffloadName,
  startDataPlane,
} from "../dataplane/index.ts"
import { closeFd, monotonicMilliseconds, readSocketAddress } from "../linux/index.ts"
import type { DataKey } from "../protocol/index.ts"
import { HostRefused, type KeepsCrashing } from "./errors.ts"
import { roaming } from "./roaming.ts"
import { dial, type Endpoint, openStrays, type TransportError } from "./socket.ts"
import { StatusRef } from "./status.ts"
import { supervised } from "./supervisor.ts"

/** Makes a socket usable before the worker gets it, from as many as `dial` opens. The descriptor is then the caller's. */
export type Through = (dial: Effect.Effect<number, TransportError>) => Effect.Effect<number, TransportError>

class WorkerCrashed extends Data.TaggedError("WorkerCrashed")<{ readonly message: string }> {}

export type LinkEvent = Extract<Event, { readonly generation: number }>

export interface Link {
  readonly events: Queue.Dequeue<LinkEvent>
  readonly transmit: (packet: Uint8Array) => void
  readonly installKey: (key: DataKey, replayWindow: { readonly packets: number; readonly seconds: number }) => void
  readonly useKey: (keyId: number) => void
  readonly retireKey: (keyId: number) => void
  readonly ping: () => void
  readonly occExit: () => void
  readonly occ: (message: Uint8Array) => void
  /** Packets go there from now on: a sockaddr. */
  readonly roam: (to: Uint8Array) => void
  /** The buffers of its socket, in bytes; undefined: they stay as they are. */
  readonly resizeBuffers: (send: number | undefined, receive: number | undefined) => void
  /** Packets from the tun go through this link from now on; without such a link they are dropped. */
  readonly carry: () => void
  /** Packets from these addresses go through this link, whichever carries; none with an empty list. */
  readonly drain: (addresses: ReadonlyArray<string>) => void
  /** What went through this link alone. */
  readonly counter: (name: LinkCounterName) => number
}

export class DataPlane extends Context.Service<
  DataPlane,
  {
    /** Opens a socket and hands it to the worker; closed, with its keys, when the scope ends. */
    readonly open: (endpoint: Endpoint, through?: Through) => Effect.Effect<Link, TransportError, Scope.Scope>
    readonly attachTun: (fd: number) => Effect.Effect<void, never, Scope.Scope>
    /** Packets from the tun wait in its queue until the next `carry`, or until this time has passed. */
    readonly hold: (milliseconds: number) => void
    readonly clampMss: (mss: { readonly ipv4: number; readonly ipv6: number }) => void
    readonly counter: (name: CounterName) => number
    readonly counters: () => Record<string, number>
    /** Milliseconds of the clock that `lastReceive`, `lastSend` and `heartbeat` are written with. */
    readonly now: () => number
    /** Published when the path to a server does not carry a packet that was sent. */
    readonly pathTooSmall: PubSub.PubSub<void>
    /** Everything sent before has been handled by the worker. */
    readonly flush: Effect.Effect<void>
    /**
     * Never succeeds; fails when the tun device is lost, or a worker that crashes has been started again too often. A single
     * crash is the end of every link, and of nothing else.
     */
    readonly lost: Effect.Effect<never, HostRefused | KeepsCrashing>
  }
>()("culvert/tunnel/DataPlane") {
  static readonly layer = (disabledOffloads: ReadonlyArray<OffloadName> = []) =>
    Layer.effect(
      DataPlane,
      Effect.gen(function* () {
        const status = yield* StatusRef
        const notes = yield* Queue.unbounded<Note>()
        const pathTooSmall = yield* PubSub.sliding<void>(1)
        const lost = yield* Deferred.make<never, HostRefused | KeepsCrashing>()
        const links = new Map<number, Queue.Queue<LinkEvent>>()
        const barriers = new Map<number, Deferred.Deferred<void>>()
        const memory = createCounterMemory()
        const counters = counterReader(memory)
        let generation = 0
        let barrier = 0
        let worker: DataPlaneHandle | undefined
        let running = yield* Deferred.make<void>()
        // What a worker that replaces a crashed one has to be told.
        let tun: number | undefined
        let mss: { readonly ipv4: number; readonly ipv6: number } | undefined

        const send = (command: Command) => worker?.send(command)
        const onEvent = (event: Event) => {
          if ("generation" in event) {
            const queue = links.get(event.generation)
            if (queue !== undefined) Queue.offerUnsafe(queue, event)
          } else if (event.type === "pong") {
            const waiting = barriers.get(event.number)
            barriers.delete(event.number)
            if (waiting !== undefined) Deferred.doneUnsafe(waiting, Exit.void)
          } else if (event.type === "tunFailed") {
            Deferred.doneUnsafe(lost, Exit.fail(new HostRefused({ message: `tun device: ${event.message}` })))
          } else if (event.type === "transportError") {
            Queue.offerUnsafe(notes, event)
          } else if (event.type === "pathTooSmall") {
            PubSub.publishUnsafe(pathTooSmall, undefined)
          } else if (event.type === "offload") Queue.offerUnsafe(notes, event)
        }
        const runWorker = Effect.gen(function* () {
          const ended = yield* Deferred.make<never, WorkerCrashed>()
          const onCrash = (message: string) => {
            worker = undefined
            running = Deferred.makeUnsafe()
            // Nobody answers these any more; whoever waits is about to close a link that is gone.
            for (const waiting of barriers.values()) Deferred.doneUnsafe(waiting, Exit.void)
            barriers.clear()
            for (const [number, queue] of links) Queue.offerUnsafe(queue, crashed(number, message))
            Deferred.doneUnsafe(ended, Exit.fail(new WorkerCrashed({ message })))
          }
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              const handle = startDataPlane({ counters: memory, disabledOffloads, onEvent, onCrash })
              worker = handle
              if (tun !== undefined) send({ type: "attachTun", fd: tun })
              if (mss !== undefined) send({ type: "clampMss", ...mss })
              Deferred.doneUnsafe(running, Exit.void)
              return handle
            }),
            (handle) => Effect.promise(() => handle.stop()).pipe(Effect.timeoutOption("500 millis")),
          )
          return yield* Deferred.await(ended)
        })
        yield* supervised("data plane worker", runWorker).pipe(
          Effect.catch((error) => Deferred.fail(lost, error)),
          Effect.forkScoped({ startImmediately: true }),
        )
        yield* Queue.take(notes).pipe(
          Effect.flatMap((note) => tell(note, status)),
          Effect.forever,
          Effect.forkScoped,
        )
        const flush = Effect.gen(function* () {
          if (worker === undefined) return
          const number = ++barrier
          const waiting = yield* Deferred.make<void>()
          barriers.set(number, waiting)
          send({ type: "sync", number })
          yield* Deferred.await(waiting)
        }).pipe(Effect.timeoutOption("500 millis"), Effect.asVoid)

        return DataPlane.of({
          open: Effect.fnUntraced(function* (endpoint, through = direct) {
            yield* Deferred.await(running)
            const number = ++generation
            const events = yield* Queue.unbounded<LinkEvent>()
            const counters = createLinkCounterMemory()
            const { transport, relay } = endpoint
            const header = relay === undefined ? {} : { header: relay.header }
            const { passTos } = endpoint.socket
            yield* Effect.uninterruptibleMask((restore) =>
              Effect.gen(function* () {
                const fd = yield* restore(through(dial(endpoint)))
                const strays = yield* openStrays(fd, endpoint)
                links.set(number, events)
                if (worker === undefined) {
                  closeFd(fd)
                  if (strays !== undefined) closeFd(strays.fd)
                  Queue.offerUnsafe(events, crashed(number, "it is being started again"))
                } else
                  send({
                    type: "attachTransport",
                    generation: number,
                    fd,
                    transport,
                    counters,
                    passTos,
                    keepsBuffer: endpoint.socket.receiveBuffer !== undefined,
                    ...header,
                    ...(strays && { strays }),
                  })
                yield* Effect.addFinalizer(() =>
                  Effect.sync(() => {
                    links.delete(number)
                    send({ type: "detachTransport", generation: number })
                  }),
                )
              }),
            )
            if (relay !== undefined) {
              const failed = ({ message }: TransportError) =>
                Queue.offer(events, { type: "transportFailed", generation: number, message })
              yield* relay.ended.pipe(Effect.catch(failed), Effect.forkScoped)
            }
            let server = endpoint.address
            const roam = (to?: Uint8Array) => {
              if (to !== undefined) server = readSocketAddress(to).address
              send({ type: "roam", generation: number, ...(to && { to }) })
            }
            if (transport === "udp" && endpoint.local?.address === undefined)
              yield* Effect.forkScoped(roaming(() => server, status, roam))
            return { ...linkOf(number, events, linkCounterReader(counters), send), roam }
          }),
          hold: (milliseconds) => send({ type: "hold", milliseconds }),
          attachTun: (fd) =>
            Effect.acquireRelease(
              Effect.sync(() => {
                tun = fd
                send({ type: "attachTun", fd })
              }),
              // The descriptor is closed by its owner next: the worker must have let go of it.
              () =>
                Effect.andThen(
                  Effect.sync(() => {
                    tun = undefined
                    send({ type: "detachTun" })
                  }),
                  flush,
                ),
            ),
          clampMss: (wanted) => {
            mss = wanted
            send({ type: "clampMss", ...wanted })
          },
          counter: counters.read,
          counters: counters.all,
          now: monotonicMilliseconds,
          pathTooSmall,
          flush,
          lost: Deferred.await(lost),
        })
      }),
    )
}

/** What the worker tells for the log alone. */
type Note = Extract<Event, { readonly type: "offload" | "transportError" }>

const tell = (note: Note, status: StatusRef["Service"]) => {
  if (note.type === "transportError") {
    const { error } = note
    const meaning = errorMeanings[error]
    const message = `sending to the server meets ${error}${meaning === undefined ? "" : `: ${meaning}`}`
    return status.event("transport_error", message, { level: "Warn", facts: { error } })
  }
  const { name, isOn, reason } = note
  return Effect.logInfo(`offload ${name}: ${isOn ? "on" : `off (${reason})`}`).pipe(
    Effect.annotateLogs({ event: "offload", offload: name, on: isOn }),
  )
}

const errorMeanings: Readonly<Record<string, string>> = {
  EPERM: "a firewall here refuses the packets",
  EACCES: "a rule or a route here refuses the packets",
  ENETUNREACH: "no route leads there",
  EHOSTUNREACH: "the network says that the host cannot be reached",
  ECONNREFUSED: "nobody listens there",
  ENETDOWN: "the network device is down",
  ENOBUFS: "the device's queue is full",
  EINVAL: "our own address is gone",
  EDESTADDRREQ: "no route led there at the last try",
}

const linkOf = (
  generation: number,
  events: Queue.Dequeue<LinkEvent>,
  counter: Link["counter"],
  send: (command: Command) => void,
): Omit<Link, "roam"> => ({
  events,
  transmit: (packet) => send({ type: "transmit", generation, packet }),
  installKey: (key, replayWindow) => send({ type: "installKey", generation, key, replayWindow }),
  useKey: (keyId) => send({ type: "useKey", generation, keyId }),
  retireKey: (keyId) => send({ type: "retireKey", generation, keyId }),
  ping: () => send({ type: "ping", generation }),
  occExit: () => send({ type: "occExit", generation }),
  occ: (message) => send({ type: "occ", generation, message }),
  resizeBuffers: (own, receive) => send({ type: "resizeBuffers", generation, send: own, receive }),
  carry: () => send({ type: "carry", generation }),
  drain: (addresses) => send({ type: "drain", generation, addresses: addresses.map(addressBytes) }),
  counter,
})

const crashed = (generation: number, message: string): LinkEvent => ({
  type: "transportFailed",
  generation,
  message: `the data plane crashed: ${message}`,
})

/** Network order, without the prefix length that may follow the address. */
const addressBytes = (text: string): Uint8Array => {
  const [address = ""] = text.split("/")
  const value = address.includes(":") ? parseIpv6(address) : parseIpv4(address)
  if (value === undefined) throw new Error(`draining a link: "${text}" is no address`)
  const length = address.includes(":") ? 16 : 4
  return Uint8Array.from({ length }, (_, i) => Number((BigInt(value) >> BigInt(8 * (length - 1 - i))) & 0xffn))
}

const direct: Through = (dial) => dial
