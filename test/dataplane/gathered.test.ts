/** Packets that come out of one and the same place, decompressed or put together there, while others wait to be written as one. */
import { expect, test } from "bun:test"
import { Counters, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { Arena } from "../../src/linux/index.ts"
import { TunPair } from "../support/pair.ts"
import { dataKey, Peer } from "./keys.ts"
import { expanded, packet } from "./traffic.ts"

/** A link that decompresses, behind it a tun that takes packets in the large; what was delivered, packet by packet. */
const receiving = () => {
  const arena = new Arena(4 * 1024 * 1024)
  const counters = new Counters(createCounterMemory())
  const offloads = new Offloads([], () => {})
  const forwarder = new Forwarder(arena, counters, offloads, () => {})
  const tun = new TunPair()
  forwarder.tun.attach(tun.fd)
  forwarder.tun.hasHeader = true
  forwarder.tun.tso = true
  const link = new Link(new KeySlots(arena), new UdpTransport(arena, counters, offloads, () => {}))
  link.begin(1, -1, link.transport, new Float64Array(16))
  const peer = new Peer()
  const key = { ...dataKey(0), compression: { form: "stub-v2", decompress: true } as const }
  link.keys.install(key, { packets: 64, seconds: 15 })
  link.keys.use(0)
  peer.use(key)
  forwarder.takeUp(link)
  const memory = arena.allocate(70_000)
  return {
    give: (payload: Uint8Array) => {
      const sealed = peer.seal(payload)
      memory.bytes.set(sealed)
      expect(forwarder.receive(memory, 0, sealed.length)).toBe(0)
    },
    delivered: () => {
      forwarder.flush()
      const packets: Array<Uint8Array> = []
      for (let written = tun.read(); written !== undefined; written = tun.read()) packets.push(...expanded(written))
      return packets
    },
    [Symbol.dispose]: () => tun[Symbol.dispose](),
  }
}

/** As LZ4 without any match: a token, the length in bytes of up to 255, and all of it. */
const compressed = (bytes: Uint8Array): Uint8Array => {
  const lengths: Array<number> = []
  let rest = bytes.length - 15
  for (; rest >= 255; rest -= 255) lengths.push(255)
  return Uint8Array.of(0x50, 0x01, 0xf0, ...lengths, rest, ...bytes)
}

test("a packet that waits for others of its flow is not overwritten by the next one from the same place", () => {
  using end = receiving()
  // Three flows, none of which continues another: each of their packets would wait where it was decompressed.
  const packets = [1, 2, 3].map((port) =>
    packet({ version: 4, protocol: 6, port, payload: new Uint8Array(500).fill(port) }),
  )
  for (const bytes of packets) end.give(compressed(bytes))
  expect(end.delivered().map((bytes) => bytes.toHex())).toEqual(packets.map((bytes) => bytes.toHex()))
})
