/** What somebody on the path may do with data packets that were authentic once; each by its name, for every format. */
import { describe, expect, test } from "bun:test"
import { Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { Arena } from "../../src/linux/index.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { TunPair } from "../support/pair.ts"
import { ipPacket, mirrored, numberOf, Peer } from "./keys.ts"

const arena = new Arena(4 * 1024 * 1024)
const memory = arena.allocate(4096)
const counters = createCounterMemory()
const offloads = new Offloads([], () => {})
const forwarder = new Forwarder(arena, new Counters(counters), offloads, () => {})
const link = new Link(new KeySlots(arena), new UdpTransport(arena, new Counters(counters), offloads, () => {}))
link.begin(1, -1, link.transport, new Float64Array(16))
const count = counterReader(counters)

const blockOf = (salt: number) => Uint8Array.from({ length: 256 }, (_, index) => index + salt)
const keyOf = (facts: Pick<DataKey, "cipher" | "digest" | "peerId" | "epoch">, keyId = 0, salt = 0): DataKey =>
  sliceKeyBlock(blockOf(salt), { ...facts, keyId })!

/** A receiver with this key, a tun behind it, and who sends to it. */
const receiving = (key: DataKey) => {
  const tun = new TunPair()
  forwarder.tun.attach(tun.fd)
  const peer = new Peer()
  const install = (another: DataKey) => {
    link.keys.install(another, { packets: 64, seconds: 15 })
    link.keys.use(another.keyId)
    peer.use(another)
    forwarder.takeUp(link)
  }
  install(key)
  return {
    peer,
    install,
    give: (packet: Uint8Array) => {
      memory.bytes.set(packet)
      const result = forwarder.receive(memory, 0, packet.length)
      forwarder.flush()
      return result
    },
    delivered: () => {
      const numbers: Array<number> = []
      for (let packet = tun.read(); packet !== undefined; packet = tun.read()) numbers.push(numberOf(packet))
      return numbers
    },
    [Symbol.dispose]: () => {
      link.keys.clear()
      forwarder.tun.detach()
      tun[Symbol.dispose]()
    },
  }
}

const staticKey: DataKey = {
  ...keyOf({ cipher: "AES-256-CBC", digest: "SHA256", peerId: undefined }),
  staticKey: { unixTime: 1_700_000_000, firstPacketId: 1 },
}
const formats: ReadonlyArray<readonly [string, DataKey]> = [
  ["AEAD", keyOf({ cipher: "AES-256-GCM", peerId: 7 })],
  ["AEAD, DATA_V1", keyOf({ cipher: "CHACHA20-POLY1305", peerId: undefined })],
  ["CBC", keyOf({ cipher: "AES-128-CBC", digest: "SHA1", peerId: 7 })],
  ["epochs", keyOf({ cipher: "AES-128-GCM", peerId: 7, epoch: true })],
  ["a static key", staticKey],
]

describe.each([...formats])("%s", (_name, key) => {
  test("packet ids outside the window, authentic as they are, are dropped and change nothing", () => {
    using end = receiving(key)
    const packets = Array.from({ length: 200 }, (_, index) => end.peer.seal(ipPacket(index)))
    const results = [199, 135, 0, 136, 198, 100].map((index) => end.give(packets[index]!))
    expect(results).toEqual([0, Drop.replay, Drop.replay, 0, 0, Drop.replay])
    expect(end.delivered()).toEqual([199, 136, 198])
    expect(end.give(end.peer.seal(ipPacket(777)))).toBe(0)
    expect(end.delivered()).toEqual([777])
  })

  test("a captured stream, played back in order and backwards, brings nothing to the tun", () => {
    using end = receiving(key)
    const packets = Array.from({ length: 100 }, (_, index) => end.peer.seal(ipPacket(index)))
    for (const packet of packets) end.give(packet)
    expect(end.delivered()).toHaveLength(100)
    for (const packet of [...packets, ...packets.toReversed()]) expect(end.give(packet)).toBe(Drop.replay)
    expect(end.delivered()).toEqual([])
  })

  test("a flood of forgeries costs the link nothing that is authentic", () => {
    using end = receiving(key)
    const packet = end.peer.seal(ipPacket(1))
    const before = count.read("drop:authentication")
    for (let round = 0; round < 1000; round++) {
      const forged = packet.slice()
      forged[forged.length - 1 - (round % 20)]! ^= 1 + (round % 255)
      end.give(forged)
    }
    expect(count.read("drop:authentication") - before).toBe(1000)
    expect(end.give(packet)).toBe(0)
    expect(end.delivered()).toEqual([1])
  })
})

test("a key id that comes round again has a key of its own: what was sent under its first one is not authentic", () => {
  const facts = { cipher: "AES-256-GCM", peerId: 7 } as const
  using end = receiving(keyOf(facts, 1, 1))
  const old = [1, 2, 3].map((number) => end.peer.seal(ipPacket(number)))
  expect(end.give(old[0]!)).toBe(0)
  for (let round = 2; round <= 8; round++) end.install(keyOf(facts, round === 8 ? 1 : round, round))
  expect(old.map((packet) => end.give(packet))).toEqual([Drop.authentication, Drop.authentication, Drop.authentication])
  expect(end.give(end.peer.seal(ipPacket(9)))).toBe(0)
  expect(end.delivered()).toEqual([1, 9])
})

test("our own packets, sent back to us, are not the peer's", () => {
  for (const [, key] of formats) {
    using end = receiving(key)
    const own = new Peer()
    own.use(mirrored(key))
    expect(end.give(own.seal(ipPacket(1)))).toBe(Drop.authentication)
    expect(end.delivered()).toEqual([])
  }
})
