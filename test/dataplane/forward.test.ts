import { describe, expect, test } from "bun:test"
import type { Event } from "../../src/dataplane/commands.ts"
import {
  type CounterName,
  Counters,
  counterReader,
  createCounterMemory,
  createLinkCounterMemory,
  linkCounterReader,
} from "../../src/dataplane/counters.ts"
import type { Sealer } from "../../src/dataplane/datapacket.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import type { Transport } from "../../src/dataplane/transport.ts"
import { openFile } from "../../src/linux/file.ts"
import { Arena, closeFd, type Region } from "../../src/linux/index.ts"
import { TunPair } from "../support/pair.ts"
import { dataKey, ipPacket, mirrored } from "./keys.ts"

const replayWindow = { packets: 64, seconds: 15 }

/** Keeps each packet where the next one overwrites it. */
class Looped implements Transport {
  isOpen = true
  readonly start = 0
  readonly interest = 0
  readonly isReady = true
  committed = 0
  readonly region: Region
  constructor(region: Region) {
    this.region = region
  }
  open(): void {}
  reserve(): Region {
    return this.region
  }
  commit(length: number): void {
    this.committed = length
  }
  flush(): undefined {}
  transmit(): undefined {}
  roam(): void {}
  keepBuffer(): void {}
  writable(): undefined {}
  receive(): undefined {}
  close(): void {}
}

/** A forwarder with key 0 in use, and another one at the far end. */
function pair() {
  const arena = new Arena(2 * 1024 * 1024)
  const region = arena.allocate(70_000)
  const transport = new Looped(region)
  const make = (key: ReturnType<typeof dataKey>) => {
    const memory = createCounterMemory()
    const keys = new KeySlots(arena)
    const events: Array<Event> = []
    const emit = (event: Event) => void events.push(event)
    const forwarder = new Forwarder(arena, new Counters(memory), new Offloads([], () => {}), emit)
    forwarder.now = 1000
    keys.install(key, replayWindow)
    keys.use(0)
    const reader = counterReader(memory)
    const linkMemory = createLinkCounterMemory()
    const link = new Link(keys, transport)
    link.begin(1, -1, transport, new Float64Array(linkMemory))
    forwarder.takeUp(link)
    const ofLink = linkCounterReader(linkMemory)
    return { keys, link, events, forwarder, ofLink, count: (name: CounterName) => reader.read(name) }
  }
  return { region, near: make(dataKey(0)), far: make(mirrored(dataKey(0))) }
}

test("a key that runs out of packet ids says so once, goes on to the last one, and then stops", () => {
  using tun = new TunPair()
  const { near } = pair()
  near.forwarder.tun.attach(tun.fd)
  const send = () => {
    tun.write(ipPacket(1))
    near.forwarder.forwardFromTun(near.link)
  }
  const sealer = near.keys.sending!.sealer as Sealer
  sealer.nextPacketId = 0xff00_0000 - 1
  send()
  expect(near.events).toEqual([])
  send()
  send()
  expect(near.events).toEqual([{ type: "keyExhausted", generation: 1, keyId: 0 }])
  sealer.nextPacketId = 0xffff_ffff
  send()
  expect(near.count("drop:packetIds")).toBe(0)
  send()
  send()
  expect(near.count("drop:packetIds")).toBe(2)
  expect(near.ofLink("sealedPackets")).toBe(4)
  expect(near.events.length).toBe(1)
})

test("the first packet that a key opens is reported once, a forged one not at all", () => {
  const { far, near, region } = pair()
  const deliver = (forged: boolean) => {
    const { sealer } = near.keys.sending!
    region.bytes.set(ipPacket(1), sealer.overhead)
    const length = sealer.seal(region, 0, 100)
    if (forged) region.bytes[length - 1]! ^= 1
    far.forwarder.receive(region, 0, length)
  }
  deliver(true)
  expect(far.events).toEqual([])
  deliver(false)
  deliver(false)
  expect(far.events).toEqual([{ type: "keyUsed", generation: 1, keyId: 0 }])
})

test("what the kernel refuses is counted by its reason", () => {
  const { far, near, region } = pair()
  const deliver = () => {
    const { sealer } = near.keys.sending!
    region.bytes.set(ipPacket(1), sealer.overhead)
    return far.forwarder.receive(region, 0, sealer.seal(region, 0, 100))
  }
  expect(deliver()).toBe(Drop.noTun)
  using tun = new TunPair()
  far.forwarder.tun.attach(tun.fd)
  let result = 0
  for (let i = 0; i < 100_000 && result === 0; i++) result = deliver()
  expect(result).toBe(Drop.tunBusy)
  far.forwarder.tun.attach(openFile("/dev/full", 2))
  expect(deliver()).toBe(Drop.tunRefused)
  closeFd(far.forwarder.tun.fd)
  expect(deliver()).toBe(Drop.tunRefused)
  expect(far.events.filter((event) => event.type !== "keyUsed")).toEqual([
    { type: "tunFailed", message: "write: EBADF" },
  ])
  expect(deliver()).toBe(Drop.noTun)
})

test("packet and byte counters of the sending key begin anew with each key", () => {
  const { near, far, region } = pair()
  const { sealer } = far.keys.sending!
  sealer.seal(region, 0, 100)
  near.forwarder.receive(region, 0, 124)
  near.keys.install(dataKey(1), replayWindow)
  near.keys.use(1)
  sealer.seal(region, 0, 100)
  near.forwarder.receive(region, 0, 124)
  // The second packet came with the old key: it is none of the new one's.
  expect(near.ofLink("openedPackets")).toBe(1)
  expect(near.ofLink("keyBytes")).toBe(124)
})

test("a retired key is freed: what still holds it can neither seal nor open", () => {
  const { near, far, region } = pair()
  const slot = near.keys.sending!
  const length = far.keys.sending!.sealer.seal(region, 0, 100)
  const packet = region.bytes.slice(0, length)
  expect(slot.opener.open(region, 0, length)).toBe(100)
  near.keys.retire(0)
  region.bytes.set(packet)
  expect(slot.opener.open(region, 0, length)).toBe(Drop.authentication)
  expect(slot.sealer.seal(region, 0, 100)).toBeLessThan(0)
  expect(near.keys.sending).toBeUndefined()
})

describe("memory", () => {
  test("installing and retiring keys again and again takes no more memory of the arena", () => {
    const { near } = pair()
    for (let i = 0; i < 20_000; i++) {
      near.keys.install(dataKey(i % 8, i % 100), replayWindow)
      near.keys.use(i % 8)
      if (i % 3 === 0) near.keys.retire(i % 8)
    }
    expect(near.keys.find(7)?.keyId).toBe(7)
    near.keys.clear()
    expect(near.keys.sending).toBeUndefined()
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((keyId) => near.keys.find(keyId))).toEqual(new Array(8).fill(undefined))
  })
})
