/** A running data plane with a stand-in for the tun, and the server's end of its transport, over UDP or TCP. */
import { createServer, type Socket } from "node:net"
import type { Event } from "../../src/dataplane/commands.ts"
import {
  type CounterName,
  createLinkCounterMemory,
  type DataPlaneHandle,
  type LinkCounterName,
  linkCounterReader,
  startDataPlane,
} from "../../src/dataplane/index.ts"
import { openTcpSocket, openUdpSocket } from "../../src/linux/index.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { disabledOffloads } from "../support/offloads.ts"
import { soon, TunPair } from "../support/pair.ts"
import { Peer } from "./keys.ts"

export const transports = ["udp4", "udp6", "tcp4", "tcp6"] as const
export type Kind = (typeof transports)[number]

/** The far end of a transport: whole packets in and out. */
export interface Far {
  readonly received: Array<Uint8Array>
  send(packet: Uint8Array): void
  /** TCP: bytes as they are. */
  sendRaw(bytes: Uint8Array): void
  /** TCP: stops and starts to read. */
  pause(): void
  resume(): void
  /** TCP: whether the connection has ended. */
  ended(): boolean
  /** A socket that connects to the same address once more. */
  reconnect(): number
  close(): void
}

export class Harness implements AsyncDisposable {
  readonly events: Array<Event> = []
  readonly crashes: Array<string> = []
  readonly tun = new TunPair()
  readonly peer = new Peer()
  readonly plane: DataPlaneHandle
  private readonly closers: Array<() => void> = []
  private readonly linkCounters = new Map<number, (name: LinkCounterName) => number>()
  private barrier = 0

  private constructor() {
    this.plane = startDataPlane({
      disabledOffloads: disabledOffloads(),
      onEvent: (event) => this.events.push(event),
      onCrash: (message) => this.crashes.push(message),
    })
  }

  /** With the tun attached, and no transport. */
  static async start(): Promise<Harness> {
    const harness = new Harness()
    await harness.event("ready")
    harness.plane.send({ type: "attachTun", fd: harness.tun.fd })
    return harness
  }

  /** Opens a link on loopback and waits until it is open at both ends; it carries unless that is not wanted. */
  async attach(kind: Kind, generation = 1, isCarrying = true): Promise<Far> {
    const address = kind.endsWith("4") ? "127.0.0.1" : "::1"
    const family = kind.endsWith("4") ? 4 : 6
    const far = kind.startsWith("udp")
      ? await this.attachUdp(address, family, generation)
      : await this.attachTcp(address, family, generation)
    this.closers.push(() => far.close())
    await soon("transportOpen", () =>
      this.events.some((event) => event.type === "transportOpen" && event.generation === generation),
    )
    if (isCarrying) this.plane.send({ type: "carry", generation })
    await this.flush()
    return far
  }

  /** Hands a socket over as a further link, with one for strangers if there is one. */
  open(
    generation: number,
    fd: number,
    transport: "udp" | "tcp",
    strays?: { readonly fd: number; readonly hasControlKey: boolean },
  ): void {
    const counters = createLinkCounterMemory()
    this.linkCounters.set(generation, linkCounterReader(counters))
    this.plane.send({ type: "attachTransport", generation, fd, transport, counters, ...(strays && { strays }) })
  }

  /** A key at both ends; `peer` is the server's end of that link. */
  async use(key: DataKey, generation = 1, peer = this.peer): Promise<void> {
    this.plane.send({ type: "installKey", generation, key, replayWindow: { packets: 64, seconds: 15 } })
    this.plane.send({ type: "useKey", generation, keyId: key.keyId })
    peer.use(key)
    await this.flush()
  }

  linkCounter(name: LinkCounterName, generation = 1): number {
    return this.linkCounters.get(generation)!(name)
  }

  /** The first event of this type. */
  event<T extends Event["type"]>(type: T): Promise<Extract<Event, { type: T }>> {
    return soon(
      `event ${type}`,
      () => this.events.find((event) => event.type === type) as Extract<Event, { type: T }> | undefined,
    )
  }

  /** Everything sent before has been carried out. */
  async flush(): Promise<void> {
    const number = ++this.barrier
    this.plane.send({ type: "sync", number })
    await soon("pong", () => this.events.some((event) => event.type === "pong" && event.number === number))
  }

  async counter(name: CounterName, value: number): Promise<void> {
    await soon(`${name} is ${value}`, () => this.plane.counters.read(name) === value).catch(() => {
      throw new Error(`${name}: expected ${value}, counters: ${JSON.stringify(this.plane.counters.all())}`)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plane.stop()
    for (const close of this.closers) close()
    this.tun[Symbol.dispose]()
  }

  private async attachUdp(address: string, family: 4 | 6, generation: number): Promise<Far> {
    const received: Array<Uint8Array> = []
    let from: { port: number; address: string } | undefined
    const socket = await Bun.udpSocket({
      hostname: address,
      binaryType: "uint8array",
      socket: {
        data: (_, data, port, sender) => {
          from = { port, address: sender }
          received.push(Uint8Array.from(data))
        },
      },
    })
    const fd = openUdpSocket({ address, port: socket.port, family })
    this.open(generation, fd, "udp")
    // The far end learns our port from the first packet, as a server does.
    this.plane.send({ type: "transmit", generation, packet: Uint8Array.of(0x38) })
    await soon("the first datagram", () => from)
    received.length = 0
    const send = (packet: Uint8Array) => void socket.send(packet, from!.port, from!.address)
    const nothing = () => {}
    return {
      received,
      send,
      sendRaw: send,
      pause: nothing,
      resume: nothing,
      ended: () => false,
      reconnect: () => openUdpSocket({ address, port: socket.port, family }),
      close: () => socket.closed || socket.close(),
    }
  }

  private async attachTcp(address: string, family: 4 | 6, generation: number): Promise<Far> {
    const received: Array<Uint8Array> = []
    let connection: Socket | undefined
    const server = createServer((socket) => {
      connection = socket
      socket.setNoDelay(true)
      let rest = Buffer.alloc(0)
      socket.on("error", () => {})
      socket.on("data", (data: Buffer) => {
        rest = Buffer.concat([rest, data])
        while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
          const length = rest.readUInt16BE(0)
          received.push(Uint8Array.from(rest.subarray(2, 2 + length)))
          rest = rest.subarray(2 + length)
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, address, resolve))
    const port = (server.address() as { port: number }).port
    this.open(generation, openTcpSocket({ address, port, family }), "tcp")
    await soon("the connection", () => connection)
    return {
      received,
      send: (packet) => void connection!.write(framed(packet)),
      sendRaw: (bytes) => void connection!.write(bytes),
      pause: () => void connection!.pause(),
      resume: () => void connection!.resume(),
      ended: () => connection!.destroyed || connection!.readableEnded,
      reconnect: () => openTcpSocket({ address, port, family }),
      close: () => {
        connection!.destroy()
        server.close()
      },
    }
  }
}

/** As OpenVPN frames packets over TCP. */
export function framed(packet: Uint8Array): Uint8Array {
  return Uint8Array.of(packet.length >> 8, packet.length & 0xff, ...packet)
}
