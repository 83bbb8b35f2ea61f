import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { MOST_LINKS } from "../../src/dataplane/links.ts"
import { OCC_MAGIC } from "../../src/protocol/datachannel.ts"
import { soon } from "../support/pair.ts"
import { type Far, Harness, type Kind } from "./harness.ts"
import { dataKey, ipPacket, numberOf, Peer } from "./keys.ts"

/** Two links with keys of their own; the first one carries. */
async function two(first: Kind, second: Kind) {
  const harness = await Harness.start()
  const older = { far: await harness.attach(first, 1), peer: new Peer() }
  const newer = { far: await harness.attach(second, 2, false), peer: new Peer() }
  await harness.use(dataKey(0, 1), 1, older.peer)
  await harness.use(dataKey(0, 2), 2, newer.peer)
  return { harness, older, newer }
}

interface End {
  readonly far: Far
  readonly peer: Peer
}

/** The numbers of the packets that this end got, as soon as there are so many. */
async function got({ far, peer }: End, count: number): Promise<ReadonlyArray<number>> {
  await soon(`${count} packets`, () => far.received.length === count)
  return far.received.map((packet) => numberOf(peer.open(packet) as Uint8Array))
}

describe.each([
  ["udp4", "udp6"],
  ["udp4", "tcp4"],
  ["tcp4", "udp4"],
  ["tcp4", "tcp6"],
] as const)("a link over %s and one over %s", (first, second) => {
  test("what either receives comes to the tun; what comes from the tun goes through the one that carries", async () => {
    const { harness, older, newer } = await two(first, second)
    await using _ = harness
    for (let i = 0; i < 50; i++) {
      older.far.send(older.peer.seal(ipPacket(i)))
      newer.far.send(newer.peer.seal(ipPacket(1000 + i)))
    }
    const numbers = new Set<number>()
    for (let i = 0; i < 100; i++) numbers.add(numberOf(await harness.tun.next()))
    expect(numbers.size).toBe(100)
    for (let i = 0; i < 50; i++) harness.tun.write(ipPacket(i))
    expect(await got(older, 50)).toEqual(Array.from({ length: 50 }, (_, i) => i))
    harness.plane.send({ type: "carry", generation: 2 })
    await harness.flush()
    for (let i = 50; i < 100; i++) harness.tun.write(ipPacket(i))
    expect(await got(newer, 50)).toEqual(Array.from({ length: 50 }, (_, i) => 50 + i))
    expect(older.far.received.length).toBe(50)
    for (const [generation, packets] of [
      [1, 50],
      [2, 50],
    ] as const) {
      expect(harness.linkCounter("sealedPackets", generation)).toBe(packets)
      expect(harness.linkCounter("openedPackets", generation)).toBe(packets)
      expect(harness.linkCounter("tunBytes", generation)).toBe(2 * 50 * 100)
    }
  })

  test("the end of the one that carries leaves the other one as it is", async () => {
    const { harness, older, newer } = await two(first, second)
    await using _ = harness
    harness.plane.send({ type: "detachTransport", generation: 1 })
    await harness.flush()
    harness.tun.write(ipPacket(1))
    await harness.counter("drop:noTransport", 1)
    newer.far.send(newer.peer.seal(ipPacket(2)))
    expect(numberOf(await harness.tun.next())).toBe(2)
    harness.plane.send({ type: "carry", generation: 2 })
    await harness.flush()
    harness.tun.write(ipPacket(3))
    expect(await got(newer, 1)).toEqual([3])
    expect(older.far.received).toEqual([])
    expect(harness.events.some((event) => event.type === "transportFailed")).toBe(false)
  })
})

test("a link that fails takes nothing else with it", async () => {
  const { harness, older, newer } = await two("tcp4", "tcp4")
  await using _ = harness
  newer.far.sendRaw(Uint8Array.of(0, 0))
  expect(await harness.event("transportFailed")).toMatchObject({ generation: 2 })
  harness.tun.write(ipPacket(1))
  expect(await got(older, 1)).toEqual([1])
  older.far.send(older.peer.seal(ipPacket(2)))
  expect(numberOf(await harness.tun.next())).toBe(2)
})

test("each link reports its server's good-bye, its keys and its control packets for itself", async () => {
  const { harness, older, newer } = await two("udp4", "udp4")
  await using _ = harness
  const exit = Uint8Array.of(...OCC_MAGIC, 6)
  newer.far.send(newer.peer.seal(exit))
  older.far.send(older.peer.seal(exit))
  newer.far.send(Uint8Array.of(0x20, 2))
  older.far.send(Uint8Array.of(0x20, 1))
  await soon("two good-byes", () => harness.events.filter(({ type }) => type === "remoteExit").length === 2)
  await soon("two control packets", () => harness.events.filter(({ type }) => type === "control").length === 2)
  const of = (generation: number): ReadonlyArray<unknown> =>
    harness.events
      .filter((event) => "generation" in event && event.generation === generation)
      .map((event) => (event.type === "control" ? [event.type, event.packet[1]] : event.type))
      .sort()
  for (const generation of [1, 2])
    expect(of(generation)).toEqual([["control", generation], "keyUsed", "remoteExit", "transportOpen"].sort())
})

test("one more link than there may be fails, and its socket is closed", async () => {
  await using harness = await Harness.start()
  const far = await harness.attach("udp4")
  const descriptors = () => readdirSync("/proc/self/fd").length
  for (let generation = 2; generation <= MOST_LINKS; generation++) harness.open(generation, far.reconnect(), "udp")
  await harness.flush()
  const before = descriptors()
  harness.open(100, far.reconnect(), "udp")
  await harness.flush()
  expect(harness.events.at(-2)).toEqual({
    type: "transportFailed",
    generation: 100,
    message: "there are 6 links to servers already",
  })
  expect(descriptors()).toBe(before)
  // A place that became free is taken again, also by the other kind of transport.
  harness.plane.send({ type: "detachTransport", generation: 3 })
  await harness.use(dataKey(0))
  const next = await harness.attach("tcp4", 101, false)
  const peer = new Peer()
  await harness.use(dataKey(0, 5), 101, peer)
  next.send(peer.seal(ipPacket(1)))
  expect(numberOf(await harness.tun.next())).toBe(1)
})

describe("draining", () => {
  const from = (source: ReadonlyArray<number>, number: number): Uint8Array => {
    const packet = ipPacket(number, 100)
    packet[0] = source.length === 4 ? 0x45 : 0x60
    packet.set(source, source.length === 4 ? 12 : 8)
    return packet
  }
  const old4 = [10, 8, 0, 2]
  const old6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 2]
  const other4 = [10, 8, 0, 3]
  const other6 = [...old6.slice(0, 15), 3]

  test.each(["udp4", "tcp4"] as const)("packets from the old addresses keep to the old link (%s)", async (kind) => {
    const { harness, older, newer } = await two(kind, "udp4")
    await using _ = harness
    const addresses = [Uint8Array.from(old4), Uint8Array.from(old6)]
    harness.plane.send({ type: "carry", generation: 2 })
    harness.plane.send({ type: "drain", generation: 1, addresses })
    await harness.flush()
    for (const [number, source] of [old4, other4, old6, other6].entries()) harness.tun.write(from(source, number))
    expect(await got(older, 2)).toEqual([0, 2])
    expect(await got(newer, 2)).toEqual([1, 3])
    expect(harness.linkCounter("tunBytes", 1)).toBe(200)
    harness.plane.send({ type: "drain", generation: 1, addresses: [] })
    await harness.flush()
    harness.tun.write(from(old4, 4))
    expect(await got(newer, 3)).toEqual([1, 3, 4])
  })

  test("several links drain at once, each its own addresses, and end one by one", async () => {
    const { harness, older, newer } = await two("udp4", "udp4")
    await using _ = harness
    const newest = { far: await harness.attach("udp4", 3, false), peer: new Peer() }
    await harness.use(dataKey(0, 9), 3, newest.peer)
    harness.plane.send({ type: "carry", generation: 3 })
    harness.plane.send({ type: "drain", generation: 1, addresses: [Uint8Array.from(old4)] })
    harness.plane.send({ type: "drain", generation: 2, addresses: [Uint8Array.from(other4)] })
    await harness.flush()
    for (const [number, source] of [old4, other4, old6].entries()) harness.tun.write(from(source, number))
    expect(await got(older, 1)).toEqual([0])
    expect(await got(newer, 1)).toEqual([1])
    expect(await got(newest, 1)).toEqual([2])
    harness.plane.send({ type: "drain", generation: 1, addresses: [] })
    await harness.flush()
    for (const [number, source] of [old4, other4].entries()) harness.tun.write(from(source, 10 + number))
    expect(await got(newer, 2)).toEqual([1, 11])
    expect(await got(newest, 2)).toEqual([2, 10])
  })

  test("the end of the old link is the end of its draining", async () => {
    const { harness, newer } = await two("udp4", "udp4")
    await using _ = harness
    harness.plane.send({ type: "carry", generation: 2 })
    harness.plane.send({ type: "drain", generation: 1, addresses: [Uint8Array.from(old4)] })
    harness.plane.send({ type: "detachTransport", generation: 1 })
    await harness.flush()
    harness.tun.write(from(old4, 1))
    expect(await got(newer, 1)).toEqual([1])
  })
})

describe("holding", () => {
  test("packets wait while the tun is held, and none is lost: they go through the link that carries then", async () => {
    const { harness, older, newer } = await two("udp4", "udp4")
    await using _ = harness
    harness.plane.send({ type: "hold", milliseconds: 60_000 })
    await harness.flush()
    for (let i = 0; i < 100; i++) harness.tun.write(ipPacket(i))
    // What arrives is delivered meanwhile, and nothing spins.
    older.far.send(older.peer.seal(ipPacket(7)))
    expect(numberOf(await harness.tun.next())).toBe(7)
    expect(harness.plane.counters.read("tunReadPackets")).toBe(0)
    harness.plane.send({ type: "carry", generation: 2 })
    expect(await got(newer, 100)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(older.far.received).toEqual([])
  })

  test("when the time is over the tun is read as before", async () => {
    const { harness, older } = await two("udp4", "udp4")
    await using _ = harness
    harness.plane.send({ type: "hold", milliseconds: 50 })
    harness.tun.write(ipPacket(1))
    expect(await got(older, 1)).toEqual([1])
  })
})

describe("data packets before the first key", () => {
  test.each(["udp4", "tcp4"] as const)("are taken up when it is there (%s)", async (kind) => {
    await using harness = await Harness.start()
    const far = await harness.attach(kind)
    const peer = new Peer()
    peer.use(dataKey(0))
    for (let i = 0; i < 20; i++) far.send(peer.seal(ipPacket(i)))
    far.send(Uint8Array.of(0x20))
    // Behind the data packets: they are here.
    await harness.event("control")
    expect(harness.plane.counters.read("tunWritePackets")).toBe(0)
    await harness.use(dataKey(0))
    for (let i = 0; i < 20; i++) expect(numberOf(await harness.tun.next())).toBe(i)
    expect(harness.plane.counters.read("drop:noKey")).toBe(0)
    expect(harness.linkCounter("openedPackets")).toBe(0)
    // Later ones under an unknown key are none of those.
    const packet = peer.seal(ipPacket(1))
    packet[0]! ^= 1
    far.send(packet)
    await harness.counter("drop:noKey", 1)
  })

  test("are bounded, counted beyond that, and forgotten with their link", async () => {
    await using harness = await Harness.start()
    const far = await harness.attach("udp4")
    const other = await harness.attach("udp4", 2, false)
    const [peer, otherPeer] = [new Peer(), new Peer()]
    peer.use(dataKey(0, 1))
    otherPeer.use(dataKey(0, 2))
    other.send(otherPeer.seal(ipPacket(1)))
    await soon("the first packet", () => harness.plane.counters.read("transportReadPackets") === 1)
    const packet = peer.seal(ipPacket(2, 1000))
    let sent = 0
    while (harness.plane.counters.read("drop:noKey") < 3) {
      far.send(packet)
      sent++
      await soon("it has come", () => harness.plane.counters.read("transportReadPackets") === 1 + sent)
    }
    expect((sent - 3) * packet.length).toBeLessThan(256 * 1024)
    harness.plane.send({ type: "detachTransport", generation: 1 })
    await harness.use(dataKey(0, 2), 2, otherPeer)
    expect(numberOf(await harness.tun.next())).toBe(1)
    await harness.flush()
    expect(harness.plane.counters.read("tunWritePackets")).toBe(1)
  })
})

test("a socket on its way to a worker that ends is closed", async () => {
  const key = dataKey(0)
  const broken = { ...key, send: { ...key.send, cipherKey: new Uint8Array(5) } }
  const replayWindow = { packets: 64, seconds: 15 }
  const cycle = async () => {
    await using harness = await Harness.start()
    const far = await harness.attach("udp4")
    // A key that no cipher takes: the worker crashes before it comes to the socket behind it.
    harness.plane.send({ type: "installKey", generation: 1, key: broken, replayWindow })
    harness.open(2, far.reconnect(), "udp")
    await soon("the crash", () => harness.crashes.length === 1)
    await harness.plane.stop()
    harness.open(3, far.reconnect(), "udp")
  }
  // The first one opens what Bun keeps for itself.
  await cycle()
  const before = readdirSync("/proc/self/fd").length
  for (let i = 0; i < 3; i++) await cycle()
  await soon(`${before} descriptors`, () => readdirSync("/proc/self/fd").length === before)
})
