/** What goes up and down before the packets of applications do: it gets all the way, and nothing is to be seen of it. */
import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import type { Event } from "../../src/dataplane/commands.ts"
import { Counter, Counters, createCounterMemory, createLinkCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import type { Link } from "../../src/dataplane/link.ts"
import { Links } from "../../src/dataplane/links.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { Rehearsal, STEPS, type Stage } from "../../src/dataplane/rehearsal.ts"
import { Arena, openSocketPair } from "../../src/linux/index.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { soon, TunPair } from "../support/pair.ts"
import { Harness } from "./harness.ts"
import { dataKey, ipPacket, numberOf } from "./keys.ts"

/** A link over `transport` whose key is `key` carries packets from the time 0 on. */
function lab(transport: "udp" | "tcp", key: DataKey, shape: { hasHeader?: boolean; isEthernet?: boolean } = {}) {
  const arena = new Arena(12 * 1024 * 1024)
  const counters = new Counters(createCounterMemory())
  const events: Array<Event> = []
  const offloads = new Offloads([], (event) => events.push(event))
  const forwarder = new Forwarder(arena, counters, offloads, (event) => events.push(event))
  const links = new Links(arena, counters, offloads, () => {})
  const tun = new TunPair()
  forwarder.tun.attach(tun.fd)
  Object.assign(forwarder.tun, shape)
  const [fd] = openSocketPair(transport === "udp" ? "packets" : "stream")
  const link = links.open({
    type: "attachTransport",
    generation: 1,
    fd,
    transport,
    counters: createLinkCounterMemory(),
  })!
  const stage: Stage = {
    carrying: link,
    serveTun() {
      forwarder.forwardFromTun(this.carrying!)
      this.carrying!.transport.flush()
    },
    serveLink: (on: Link) => void forwarder.receiveFrom(on),
  }
  const rehearsal = new Rehearsal(arena, forwarder, counters, links)
  rehearsal.learn(key)
  rehearsal.schedule(0, link)
  events.length = 0
  const dispose = () => {
    rehearsal.end()
    link.end()
    tun[Symbol.dispose]()
  }
  return { rehearsal, stage, forwarder, counters, events, link, tun, [Symbol.dispose]: dispose }
}

const descriptors = (): number => readdirSync("/proc/self/fd").length
const dropsIn = (values: Float64Array): ReadonlyArray<number> => [...values.slice(Counter.turns + 1)]
const block = (facts: Omit<DataKey, "send" | "receive">) =>
  sliceKeyBlock(
    Uint8Array.from({ length: 256 }, (_, index) => index),
    facts,
  )!

describe("every packet comes back to the tun, over", () => {
  const keys: Readonly<Record<string, DataKey>> = {
    "AES-256-GCM": dataKey(0),
    "ChaCha20-Poly1305 with DATA_V1": dataKey(3, 3, { cipher: "CHACHA20-POLY1305", peerId: undefined }),
    "the epoch format": { ...dataKey(0), epoch: true },
    "a compression's byte": { ...dataKey(0), compression: { form: "stub", decompress: false } },
    pieces: { ...dataKey(0), fragmentSize: 60 },
    "CBC with an HMAC": block({ keyId: 1, cipher: "AES-128-CBC", digest: "SHA256", peerId: 2 }),
    "a static key": block({
      keyId: 0,
      cipher: "AES-256-CBC",
      digest: "SHA1",
      peerId: undefined,
      staticKey: { unixTime: 1_700_000_000, firstPacketId: 1 },
    }),
  }
  for (const [name, key] of Object.entries(keys))
    for (const transport of ["udp", "tcp"] as const)
      test(`${name}, ${transport}`, () => {
        using it = lab(transport, key)
        for (let i = 0; i < 10; i++) expect(it.rehearsal.step(1000, it.stage)).toBe(true)
        expect(it.rehearsal.counts[Counter.tunReadPackets]).toBe(10)
        expect(it.rehearsal.counts[Counter.tunWritePackets]).toBe(10)
        expect(dropsIn(it.rehearsal.counts)).toEqual(dropsIn(it.counters.values).map(() => 0))
      })

  for (const shape of [{ hasHeader: true }, { isEthernet: true }, { hasHeader: true, isEthernet: true }])
    test(`a tun with ${Object.keys(shape).join(" and ")}`, () => {
      using it = lab("udp", dataKey(0), shape)
      for (let i = 0; i < 10; i++) it.rehearsal.step(1000, it.stage)
      expect(it.rehearsal.counts[Counter.tunWritePackets]).toBe(10)
    })
})

test("nothing is counted, told or left open", () => {
  using it = lab("udp", dataKey(0))
  const before = descriptors()
  const { fd } = it.forwarder.tun
  let steps = 0
  while (it.rehearsal.step(1000, it.stage)) steps++
  expect(steps).toBe(STEPS)
  expect(it.rehearsal.isOver).toBe(true)
  expect([...it.counters.values].every((value) => value === 0)).toBe(true)
  expect([...it.link.counts].every((value) => value === 0)).toBe(true)
  expect(it.events).toEqual([])
  expect(descriptors()).toBe(before)
  expect(it.forwarder.tun.fd).toBe(fd)
  expect(it.stage.carrying).toBe(it.link)
  expect(it.tun.read()).toBeUndefined()
})

test("it begins a while after the link, holds no poll up before and after, and does not come again", () => {
  using it = lab("udp", dataKey(0))
  expect(it.rehearsal.patience(0, 1000)).toBe(100)
  expect(it.rehearsal.step(99, it.stage)).toBe(false)
  expect(it.rehearsal.patience(99.5, 1000)).toBe(1)
  expect(it.rehearsal.patience(100, 1000)).toBe(0)
  while (it.rehearsal.step(100, it.stage));
  it.rehearsal.schedule(200, it.link)
  expect(it.rehearsal.patience(300, 1000)).toBe(1000)
  expect(it.rehearsal.step(300, it.stage)).toBe(false)
})

test("without a tun there is none", () => {
  using it = lab("udp", dataKey(0))
  it.forwarder.tun.detach()
  expect(it.rehearsal.step(1000, it.stage)).toBe(false)
})

test("packets of applications pass meanwhile, and are all that is counted", async () => {
  await using harness = await Harness.start()
  const far = await harness.attach("udp4")
  await harness.use(dataKey(0))
  for (let number = 1; number <= 60; number++) {
    harness.tun.write(ipPacket(number))
    await harness.flush()
  }
  await soon("60 packets at the far end", () => far.received.length === 60)
  expect(harness.plane.counters.read("tunReadPackets")).toBe(60)
  expect(harness.linkCounter("sealedPackets")).toBe(60)
  expect(far.received.map((packet) => numberOf(harness.peer.open(packet) as Uint8Array))).toEqual(
    Array.from({ length: 60 }, (_, index) => index + 1),
  )
  expect(harness.crashes).toEqual([])
})
