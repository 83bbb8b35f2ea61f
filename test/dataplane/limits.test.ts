/** How much a key stands: packets and blocks, forgeries, packet ids; counted from close to the end. */
import { describe, expect, test } from "bun:test"
import type { Event } from "../../src/dataplane/commands.ts"
import { Counters, createCounterMemory } from "../../src/dataplane/counters.ts"
import { FORGERY_LIMIT, MOST_FORGERIES, type Opener, type Sealer } from "../../src/dataplane/datapacket.ts"
import type { EpochOpener, EpochSealer } from "../../src/dataplane/datapacket-epoch.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { formatOf } from "../../src/dataplane/keyformat.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { ReplayWindow } from "../../src/dataplane/replay.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { Arena } from "../../src/linux/index.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { mirrored } from "./keys.ts"

const arena = new Arena(4 * 1024 * 1024)
const memory = arena.allocate(4096)
const block = Uint8Array.from({ length: 256 }, (_, index) => index)
const keyOf = (cipher: DataKey["cipher"], epoch = false) =>
  sliceKeyBlock(block, { keyId: 0, cipher, peerId: 1, epoch })!
const nonces = () => ({ seal: arena.allocate(12), open: arena.allocate(12) })
const formats = (key: DataKey) => {
  const newReplay = () => new ReplayWindow({ packets: 64, seconds: 15 })
  return { near: formatOf(key, nonces(), newReplay), far: formatOf(mirrored(key), nonces(), newReplay) }
}

/** What GCM stands is 2^36 - 1 packets and blocks together; an eighth is left for the time until the next key is there. */
const gcmLimit = Math.floor(((2 ** 36 - 1) * 7) / 8)

/** Seals 1000 bytes: 1 packet and 63 blocks. */
const seal = (sealer: { overhead: number; seal(memory: unknown, start: number, length: number): number }) =>
  sealer.seal(memory, 0, 1000)
const cost = 64

describe("packets and blocks under one key", () => {
  test.each(["AES-128-GCM", "AES-192-GCM", "AES-256-GCM"] as const)(
    "%s: a sender wants another one in time",
    (cipher) => {
      const sealer = formats(keyOf(cipher)).near.sealer as Sealer
      sealer.usage = gcmLimit - cost
      seal(sealer)
      expect(sealer.isWornOut).toBe(false)
      expect(seal(sealer)).toBeGreaterThan(0)
      expect(sealer.isWornOut).toBe(true)
      expect(seal(sealer)).toBeGreaterThan(0)
    },
  )

  test("a receiver wants one as well, and what is not authentic does not count", () => {
    const { near, far } = formats(keyOf("AES-256-GCM"))
    const opener = near.opener as Opener
    opener.usage = gcmLimit - cost
    const length = seal(far.sealer)
    opener.open(memory, 0, length - 1)
    expect(opener.usage).toBe(gcmLimit - cost)
    for (const isWornOut of [false, true]) {
      expect(opener.open(memory, 0, seal(far.sealer))).toBe(1000)
      expect(opener.isWornOut).toBe(isWornOut)
    }
  })

  test("ChaCha20-Poly1305 has no such limit, and CBC none but its packet ids", () => {
    const chacha = formats(keyOf("CHACHA20-POLY1305")).near
    ;(chacha.sealer as Sealer).usage = 2 ** 40
    ;(chacha.opener as Opener).usage = 2 ** 40
    expect([chacha.sealer.isWornOut, chacha.opener.isWornOut]).toEqual([false, false])
    const cbc = formats(sliceKeyBlock(block, { keyId: 0, cipher: "AES-256-CBC", digest: "SHA256", peerId: 1 })!).near
    expect([cbc.sealer.isWornOut, cbc.opener.isWornOut]).toEqual([false, false])
  })

  test("epochs: the sender moves on, and a receiver makes the other side move on", () => {
    const { near, far } = formats(keyOf("AES-256-GCM", true))
    const sender = far.sealer as EpochSealer
    Object.assign(sender, { usage: gcmLimit + 1 })
    seal(sender)
    expect([sender.epoch, sender.counter]).toEqual([2, 2])
    const receiver = near.opener as EpochOpener
    receiver.open(memory, 0, seal(sender))
    receiver.usage = gcmLimit - cost + 1
    receiver.open(memory, 0, seal(sender))
    expect((near.sealer as EpochSealer).epoch).toBe(3)
  })
})

describe("forgeries", () => {
  test.each([false, true])("beyond 2^36 nothing is opened any more, authentic as it may be (epochs: %p)", (epoch) => {
    const { near, far } = formats(keyOf("AES-256-GCM", epoch))
    const opener = near.opener as Opener
    opener.forgeries = MOST_FORGERIES
    expect(opener.open(memory, 0, seal(far.sealer))).toBe(1000)
    const length = seal(far.sealer)
    memory.bytes[length - 1]! ^= 1
    expect(opener.open(memory, 0, length)).toBe(Drop.authentication)
    expect(opener.open(memory, 0, seal(far.sealer))).toBe(Drop.authentication)
  })

  test("beyond 2^35 a new key is wanted", () => {
    const { near, far } = formats(keyOf("AES-256-GCM"))
    const opener = near.opener as Opener
    opener.forgeries = FORGERY_LIMIT
    expect(opener.isWornOut).toBe(false)
    opener.open(memory, 0, seal(far.sealer) - 1)
    expect(opener.isWornOut).toBe(true)
  })

  test("beyond 2^35 under epochs the other side is made to move on", () => {
    const { near, far } = formats(keyOf("AES-256-GCM", true))
    ;(near.opener as EpochOpener).forgeries = FORGERY_LIMIT
    near.opener.open(memory, 0, seal(far.sealer) - 1)
    expect((near.sealer as EpochSealer).epoch).toBe(2)
  })
})

test("a receiver's limits ask for a new key once, with the first authentic packet beyond them", () => {
  const events: Array<Event> = []
  const counters = new Counters(createCounterMemory())
  const offloads = new Offloads([], () => {})
  const forwarder = new Forwarder(arena, counters, offloads, (event) => void events.push(event))
  const link = new Link(new KeySlots(arena), new UdpTransport(arena, counters, offloads, () => {}))
  link.begin(1, -1, link.transport, new Float64Array(16))
  link.keys.install(keyOf("AES-256-GCM"), { packets: 64, seconds: 15 })
  link.keys.use(0)
  forwarder.takeUp(link)
  const { sealer } = formats(keyOf("AES-256-GCM")).far
  const exhausted = () => events.filter(({ type }) => type === "keyExhausted").length
  const seen = [0, 0, gcmLimit, 0].map((usage) => {
    const opener = link.keys.find(0)!.opener as Opener
    opener.usage = Math.max(opener.usage, usage)
    forwarder.receive(memory, 0, seal(sealer))
    return exhausted()
  })
  expect(seen).toEqual([0, 0, 1, 1])
})
