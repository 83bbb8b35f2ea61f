/** A whole tunnel in one thread: two data planes on loopback with a tun at either end, and the ways it may be without offloads. */
import { expect } from "bun:test"
import { type CounterReader, Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { type OffloadName, Offloads, offloadNames } from "../../src/dataplane/offload.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { VNET_HEADER } from "../../src/dataplane/vnet.ts"
import { Arena } from "../../src/linux/index.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { soon, TunPair, udpPair } from "../support/pair.ts"
import type { Read } from "../support/recording/format.ts"
import { dataKey, mirrored } from "./keys.ts"
import { expanded } from "./traffic.ts"

/** What it is called, which offloads are off, and what stands in front of each packet of the tuns. */
export const ways: ReadonlyArray<readonly [string, ReadonlyArray<OffloadName>, "virtio" | "plain"]> = [
  ["with all offloads", [], "virtio"],
  ...offloadNames.map((name) => [`without ${name}`, [name], "virtio"] as const),
  ["without any", offloadNames, "virtio"],
  ["with a tun that has no virtio header", offloadNames, "plain"],
]

/** Packets go from the one tun to the other. */
export class Tunnel implements Disposable {
  /** Of the far tun. */
  writes = 0
  readonly near: End
  readonly far: End
  readonly #disabled: ReadonlyArray<OffloadName>
  readonly #hasHeader: boolean

  constructor(disabled: ReadonlyArray<OffloadName>, header: "virtio" | "plain") {
    this.#disabled = disabled
    this.#hasHeader = header === "virtio"
    const [near, far] = udpPair(4)
    this.near = new End(near, dataKey(0), disabled, this.#hasHeader)
    this.far = new End(far, mirrored(dataKey(0)), disabled, this.#hasHeader)
  }

  /** Whether the tun would hand this over in one piece. */
  gives({ bytes }: Read): boolean {
    const type = bytes[1]! & 0x7f
    return type !== 0 && this.#hasHeader && !this.#disabled.includes(type === 5 ? "uso" : "tso")
  }

  /** As a tun gives a packet that is one. */
  readonly single = (packet: Uint8Array): Uint8Array =>
    this.#hasHeader ? Uint8Array.of(...new Uint8Array(VNET_HEADER), ...packet) : packet

  /** What the far tun got, cut as the kernel would. */
  async carry(reads: ReadonlyArray<Uint8Array>): Promise<ReadonlyArray<Uint8Array>> {
    const packets: Array<Uint8Array> = []
    for (let next = 0; next < reads.length; ) {
      // As much as a socket's buffer holds for anybody.
      for (let bytes = 0; next < reads.length && bytes < 60_000; bytes += reads[next++]!.length)
        if (!this.near.tun.write(reads[next]!)) throw new Error("the tun is full")
      this.near.send()
      await soon("all that was sent", () => this.far.receive() === this.near.sealed)
      for (let written = this.far.tun.read(); written !== undefined; written = this.far.tun.read()) {
        this.writes++
        packets.push(...(this.#hasHeader ? expanded(written) : [written]))
      }
    }
    return packets
  }

  /** Of both ends. */
  get drops(): Readonly<Record<string, number>> {
    const all = [this.near, this.far].flatMap(({ counts }) => Object.entries(counts.all()))
    return Object.fromEntries(all.filter(([name, count]) => name.startsWith("drop:") && count > 0))
  }

  [Symbol.dispose](): void {
    for (const end of [this.near, this.far]) end[Symbol.dispose]()
  }
}

class End implements Disposable {
  readonly tun = new TunPair()
  readonly counts: CounterReader
  /** Which offloads were given up while packets were on the way, and why. */
  readonly refused: Array<string> = []
  readonly forwarder: Forwarder
  readonly transport: UdpTransport
  readonly #link: Link

  constructor(fd: number, key: DataKey, disabled: ReadonlyArray<OffloadName>, hasHeader: boolean) {
    const arena = new Arena(4 * 1024 * 1024)
    const memory = createCounterMemory()
    const counters = new Counters(memory)
    const offloads = new Offloads(disabled, (event) => {
      if (event.type === "offload" && !event.isOn) this.refused.push(`${event.name}: ${event.reason}`)
    })
    this.counts = counterReader(memory)
    const forwarder = new Forwarder(arena, counters, offloads, () => {})
    forwarder.tun.attach(this.tun.fd)
    forwarder.tun.hasHeader = hasHeader
    forwarder.tun.tso = offloads.isWanted("tso")
    forwarder.tun.uso = offloads.isWanted("uso")
    this.transport = new UdpTransport(arena, counters, offloads, () => {})
    this.transport.open(fd)
    this.#link = new Link(new KeySlots(arena), this.transport)
    this.#link.begin(1, fd, this.transport, new Float64Array(16))
    this.#link.keys.install(key, { packets: 64, seconds: 15 })
    this.#link.keys.use(0)
    forwarder.takeUp(this.#link)
    this.forwarder = forwarder
    this.refused.length = 0
  }

  get fd(): number {
    return this.#link.fd
  }

  /** Datagrams so far. */
  get sealed(): number {
    return this.counts.read("transportWritePackets")
  }

  send(): void {
    while (this.forwarder.forwardFromTun(this.#link) > 0);
    expect(this.transport.flush()).toBeUndefined()
  }

  /** How many datagrams so far. */
  receive(): number {
    expect(this.forwarder.receiveFrom(this.#link)).toBeUndefined()
    return this.counts.read("transportReadPackets")
  }

  [Symbol.dispose](): void {
    this.#link.end()
    this.tun[Symbol.dispose]()
  }
}
