/**
 * Traffic of real programs (`npm run record` says how it was recorded) through two data planes, in the large as the tun gives it
 * and packet by packet: what comes out is what Linux itself made of it, byte for byte, each flow in order.
 */
import { afterAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { checksums } from "../../src/dataplane/checksum.ts"
import { type CounterReader, Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { type OffloadName, Offloads, offloadNames } from "../../src/dataplane/offload.ts"
import { Segmenter } from "../../src/dataplane/segment.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { VNET_HEADER } from "../../src/dataplane/vnet.ts"
import { Arena } from "../../src/linux/index.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { soon, TunPair, udpPair } from "../support/pair.ts"
import { difference, orderedDifference } from "../support/recording/flows.ts"
import { type Read, readRecording } from "../support/recording/format.ts"
import { dataKey, mirrored } from "./keys.ts"
import { expanded } from "./traffic.ts"

const recording = readRecording(process.env.RECORDING ?? join(import.meta.dir, "recorded.zst"))

test("holds what it is for", () => {
  const reads = recording.flatMap(({ reads }) => reads)
  const has = (probe: (packet: Uint8Array, gso: number) => boolean) =>
    reads.filter(({ bytes }) => probe(bytes.subarray(VNET_HEADER), bytes[1]!)).length
  const isIpv6 = (packet: Uint8Array) => packet[0]! >> 4 === 6
  const flags = (packet: Uint8Array) =>
    (packet[isIpv6(packet) ? 6 : 9] === 6 && packet[(isIpv6(packet) ? 40 : (packet[0]! & 15) * 4) + 13]!) || 0
  const held = {
    largeTcp4: has((_, gso) => gso === 1),
    largeTcp6: has((_, gso) => gso === 4),
    largeUdp: has((_, gso) => gso === 5),
    largeWithIpOptions: has((packet, gso) => gso !== 0 && packet[0]! > 0x45 && packet[0]! < 0x50),
    largeWithExtensions: has((packet, gso) => gso !== 0 && isIpv6(packet) && packet[6] === 60),
    largeWithFin: has((packet, gso) => gso !== 0 && (flags(packet) & 0x01) !== 0),
    reset: has((packet) => (flags(packet) & 0x04) !== 0),
    urgent: has((packet) => (flags(packet) & 0x20) !== 0),
    congestion: has((packet) => (flags(packet) & 0x40) !== 0),
    windowReduced: has((packet) => (flags(packet) & 0x80) !== 0),
    fragments4: has((packet) => !isIpv6(packet) && (((packet[6]! << 8) | packet[7]!) & 0x3fff) !== 0),
    fragments6: has((packet) => isIpv6(packet) && packet[6] === 44),
  }
  expect(Object.entries(held).filter(([, count]) => count === 0)).toEqual([])
})

describe("every read of the tun", () => {
  test.each<[string, (read: Read) => ReadonlyArray<Uint8Array>]>([
    ["is cut into the packets that Linux makes of it", cutting()],
    ["would be so by what the other tests take for the kernel", ({ bytes }) => expanded(bytes)],
  ])("%s", (_, cut) => {
    for (const { scenario, reads } of recording)
      for (const read of reads)
        expect([scenario, orderedDifference(cut(read), read.cut)]).toEqual([scenario, undefined])
  })
})

describe.each<readonly [string, ReadonlyArray<OffloadName>, "virtio" | "plain"]>([
  ["with all offloads", [], "virtio"],
  ...offloadNames.map((name) => [`without ${name}`, [name], "virtio"] as const),
  ["without any", offloadNames, "virtio"],
  ["with a tun that has no virtio header", offloadNames, "plain"],
])("%s", (_, disabled, header) => {
  const tunnel = new Tunnel(disabled, header)
  afterAll(() => tunnel[Symbol.dispose]())

  test("what was sent arrives", async () => {
    for (const { scenario, reads } of recording) {
      const given = reads.flatMap((read) => (tunnel.gives(read) ? [read.bytes] : read.cut.map(tunnel.single)))
      const sent = reads.flatMap(({ cut }) => cut)
      expect([scenario, difference(await tunnel.carry(given), sent)]).toEqual([scenario, undefined])
    }
    expect(tunnel.drops).toEqual({})
  })

  test("what comes from a network that loses, doubles and reorders arrives", async () => {
    tunnel.writes = 0
    for (const { scenario, arrived } of recording) {
      const got = await tunnel.carry(arrived.map(tunnel.single))
      expect([scenario, difference(got, arrived)]).toEqual([scenario, undefined])
    }
    expect(tunnel.drops).toEqual({})
    const packets = recording.reduce((sum, { arrived }) => sum + arrived.length, 0)
    if (disabled.includes("tso") && disabled.includes("uso")) expect(tunnel.writes).toBe(packets)
    else expect(tunnel.writes).toBeLessThan(packets)
  })
})

/** Two data planes on loopback, a tun at either end; packets go from the one to the other. */
class Tunnel implements Disposable {
  /** Of the far tun. */
  writes = 0
  readonly #near: End
  readonly #far: End
  readonly #disabled: ReadonlyArray<OffloadName>
  readonly #hasHeader: boolean

  constructor(disabled: ReadonlyArray<OffloadName>, header: "virtio" | "plain") {
    this.#disabled = disabled
    this.#hasHeader = header === "virtio"
    const [near, far] = udpPair(4)
    this.#near = new End(near, dataKey(0), disabled, this.#hasHeader)
    this.#far = new End(far, mirrored(dataKey(0)), disabled, this.#hasHeader)
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
        if (!this.#near.tun.write(reads[next]!)) throw new Error("the tun is full")
      this.#near.send()
      await soon("all that was sent", () => this.#far.receive() === this.#near.sealed)
      for (let written = this.#far.tun.read(); written !== undefined; written = this.#far.tun.read()) {
        this.writes++
        packets.push(...(this.#hasHeader ? expanded(written) : [written]))
      }
    }
    return packets
  }

  /** Of both ends. */
  get drops(): Readonly<Record<string, number>> {
    const all = [this.#near, this.#far].flatMap(({ counts }) => Object.entries(counts.all()))
    return Object.fromEntries(all.filter(([name, count]) => name.startsWith("drop:") && count > 0))
  }

  [Symbol.dispose](): void {
    for (const end of [this.#near, this.#far]) end[Symbol.dispose]()
  }
}

class End implements Disposable {
  readonly tun = new TunPair()
  readonly counts: CounterReader
  readonly #forwarder: Forwarder
  readonly #link: Link

  constructor(fd: number, key: DataKey, disabled: ReadonlyArray<OffloadName>, hasHeader: boolean) {
    const arena = new Arena(4 * 1024 * 1024)
    const memory = createCounterMemory()
    const counters = new Counters(memory)
    const offloads = new Offloads(disabled, () => {})
    this.counts = counterReader(memory)
    const forwarder = new Forwarder(arena, counters, offloads, () => {})
    forwarder.tun.attach(this.tun.fd)
    forwarder.tun.hasHeader = hasHeader
    forwarder.tun.tso = offloads.isWanted("tso")
    forwarder.tun.uso = offloads.isWanted("uso")
    const transport = new UdpTransport(arena, counters, offloads, () => {})
    transport.open(fd)
    this.#link = new Link(new KeySlots(arena), transport)
    this.#link.begin(1, fd, transport, new Float64Array(16))
    this.#link.keys.install(key, { packets: 64, seconds: 15 })
    this.#link.keys.use(0)
    forwarder.takeUp(this.#link)
    this.#forwarder = forwarder
  }

  /** Datagrams so far. */
  get sealed(): number {
    return this.counts.read("transportWritePackets")
  }

  send(): void {
    while (this.#forwarder.forwardFromTun(this.#link) > 0);
    expect(this.#link.transport.flush()).toBeUndefined()
  }

  /** How many datagrams so far. */
  receive(): number {
    expect(this.#forwarder.receiveFrom(this.#link)).toBeUndefined()
    return this.counts.read("transportReadPackets")
  }

  [Symbol.dispose](): void {
    this.#link.end()
    this.tun[Symbol.dispose]()
  }
}

function cutting(): (read: Read) => ReadonlyArray<Uint8Array> {
  const arena = new Arena(256 * 1024)
  const segmenter = new Segmenter(arena, checksums(arena))
  const region = arena.allocate(70_000)
  return ({ bytes }) => {
    segmenter.source.bytes.set(bytes)
    return Array.from({ length: segmenter.take(bytes.length) }, (_, index) =>
      region.bytes.slice(0, segmenter.lay(index, region, 0)),
    )
  }
}
