import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { startDataPlane } from "../../src/dataplane/index.ts"
import { monotonicMilliseconds } from "../../src/linux/index.ts"
import { OCC_MAGIC, PING_MAGIC } from "../../src/protocol/datachannel.ts"
import { soon, TunPair, udpPair } from "../support/pair.ts"
import { type Far, Harness, type Kind, transports } from "./harness.ts"
import { dataKey, ipPacket, mirrored, numberOf } from "./keys.ts"

const replayWindow = { packets: 64, seconds: 15 }

/** A harness with an open transport and one key in use at both ends. */
async function connected(kind: Kind, key = dataKey(0)): Promise<{ harness: Harness; far: Far }> {
  const harness = await Harness.start()
  const far = await harness.attach(kind)
  await harness.use(key)
  return { harness, far }
}

/** How often the loop turns for one command. It would be many times if something that is never served kept poll awake. */
async function turnsPerSignal(harness: Harness): Promise<number> {
  const before = harness.plane.counters.read("turns")
  for (let i = 0; i < 50; i++) await harness.flush()
  return (harness.plane.counters.read("turns") - before) / 50
}

describe.each([...transports])("over %s", (kind) => {
  test("packets go both ways", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    for (let i = 1; i <= 100; i++) harness.tun.write(ipPacket(i, 20 + i * 13))
    await soon("100 packets at the server", () => far.received.length === 100)
    const opened = far.received.map((packet) => harness.peer.open(packet) as Uint8Array)
    expect(opened).toEqual(Array.from({ length: 100 }, (_, i) => ipPacket(i + 1, 20 + (i + 1) * 13)))

    for (let i = 1; i <= 100; i++) far.send(harness.peer.seal(ipPacket(i, 20 + i * 13)))
    for (let i = 1; i <= 100; i++) expect(await harness.tun.next()).toEqual(ipPacket(i, 20 + i * 13))
    const counters = harness.plane.counters.all()
    expect(counters).toMatchObject({ tunReadPackets: 100, tunLonePackets: 100, tunWritePackets: 100 })
    expect(counters.tunLoneBytes).toBe(counters.tunReadBytes)
    expect(harness.linkCounter("sealedPackets")).toBe(100)
    expect(harness.linkCounter("openedPackets")).toBe(100)
    expect(counters.tunReadBytes).toBe(counters.tunWriteBytes)
    expect(harness.linkCounter("tunBytes")).toBe(2 * counters.tunReadBytes)
    expect(Object.entries(counters).filter(([name, value]) => name.startsWith("drop:") && value > 0)).toEqual([])
    const ofLink = (["lastReceive", "lastSend", "lastTunActivity"] as const).map((name) => harness.linkCounter(name))
    for (const time of [counters.lastReceive, counters.heartbeat, ...ofLink]) {
      expect(time).toBeGreaterThan(0)
      expect(time).toBeLessThanOrEqual(monotonicMilliseconds())
    }
  })

  test("control packets pass in both directions, unchanged and in order, and data packets do not", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    const packets = Array.from({ length: 20 }, (_, i) => new Uint8Array(i + 1).fill(0x20 + (i % 8)))
    for (const packet of packets) harness.plane.send({ type: "transmit", generation: 1, packet })
    await soon("20 packets at the server", () => far.received.length === 20)
    expect(far.received).toEqual(packets)

    for (const packet of packets) far.send(packet)
    far.send(harness.peer.seal(ipPacket(1)))
    await harness.tun.next()
    await harness.flush()
    const controls = harness.events.flatMap((event) => (event.type === "control" ? [event.packet] : []))
    expect(controls).toEqual(packets)
  })

  test("a replayed packet is dropped", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    const [one, two] = [harness.peer.seal(ipPacket(1)), harness.peer.seal(ipPacket(2))]
    for (const packet of [one, one, two, one, two]) far.send(packet)
    await harness.counter("drop:replay", 3)
    await harness.counter("tunWritePackets", 2)
  })

  test("an unknown key id, unknown opcodes and packets that are too short are dropped and counted", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    const packet = harness.peer.seal(ipPacket(1))
    packet[0]! ^= 3
    far.send(packet)
    await harness.counter("drop:noKey", 1)
    for (const first of [0x00, 0x08, 0x10, 0x60, 0xf8]) far.send(Uint8Array.of(first, 1, 2, 3))
    await harness.counter("drop:opcode", 5)
    for (let length = 1; length <= 24; length++) far.send(Uint8Array.from({ length }, () => 0x48))
    await harness.counter("drop:short", 24)
    far.send(new Uint8Array(2049).fill(0x20))
    await harness.counter("drop:controlSize", 1)
    far.send(harness.peer.seal(ipPacket(2)))
    expect(numberOf(await harness.tun.next())).toBe(2)
  })

  test("pings and OCC messages are taken out; an OCC exit is reported once", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    far.send(harness.peer.seal(PING_MAGIC))
    for (const message of [[], [0], [1, 65, 66, 0], [5, 0, 0, 0, 0]])
      far.send(harness.peer.seal(Uint8Array.of(...OCC_MAGIC, ...message)))
    far.send(harness.peer.seal(ipPacket(1)))
    expect(numberOf(await harness.tun.next())).toBe(1)
    expect(harness.events.some((event) => event.type === "remoteExit")).toBe(false)
    for (let i = 0; i < 3; i++) far.send(harness.peer.seal(Uint8Array.of(...OCC_MAGIC, 6)))
    far.send(harness.peer.seal(ipPacket(2)))
    expect(numberOf(await harness.tun.next())).toBe(2)
    await harness.flush()
    expect(harness.events.filter((event) => event.type === "remoteExit")).toEqual([
      { type: "remoteExit", generation: 1 },
    ])
  })

  test("ping and exit messages are sealed, and do not count as tun activity", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    harness.plane.send({ type: "ping", generation: 1 })
    harness.plane.send({ type: "occExit", generation: 1 })
    await soon("two packets", () => far.received.length === 2)
    expect(harness.peer.open(far.received[0]!)).toEqual(PING_MAGIC)
    expect(harness.peer.open(far.received[1]!)).toEqual(Uint8Array.of(...OCC_MAGIC, 6))
    expect(harness.linkCounter("lastTunActivity")).toBe(0)
    expect(harness.linkCounter("tunBytes")).toBe(0)
    expect(harness.linkCounter("lastSend")).toBeGreaterThan(0)
  })

  test("what the server sends to everybody is delivered, and is no activity", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    const toAllRouters = Uint8Array.of(
      0x60,
      0,
      0,
      0,
      0,
      0,
      58,
      255,
      ...new Uint8Array(16),
      0xff,
      2,
      ...new Uint8Array(14),
    )
    const toAllHosts = ipPacket(1)
    toAllHosts[16] = 224
    for (const packet of [toAllRouters, toAllHosts]) {
      far.send(harness.peer.seal(packet))
      expect(await harness.tun.next()).toEqual(packet)
    }
    await harness.flush()
    expect(harness.linkCounter("tunBytes")).toBe(toAllRouters.length + toAllHosts.length)
    expect(harness.linkCounter("lastTunActivity")).toBe(0)
  })

  test("a change of keys under traffic loses nothing; a retired key is unknown", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    let number = 0
    const both = async () => {
      for (let i = 0; i < 50; i++) {
        number++
        harness.tun.write(ipPacket(number))
        far.send(harness.peer.seal(ipPacket(number)))
      }
      await harness.counter("tunWritePackets", number)
    }
    await both()
    const [oldKey, newKey] = [dataKey(0), dataKey(1)]
    harness.plane.send({ type: "installKey", generation: 1, key: newKey, replayWindow })
    await both()
    await harness.flush()
    harness.peer.keys.install(mirrored(newKey), replayWindow)
    harness.peer.keys.use(1)
    // The server already sends with the new key while we still send with the old one.
    await both()
    harness.plane.send({ type: "useKey", generation: 1, keyId: 1 })
    await both()
    await harness.flush()
    await both()
    harness.peer.keys.use(0)
    const late = harness.peer.seal(ipPacket(0))
    far.send(late)
    await harness.counter("tunWritePackets", number + 1)
    await soon("all packets at the server", () => far.received.length === number)
    const numbers = far.received.map((packet) => numberOf(harness.peer.open(packet) as Uint8Array))
    expect(numbers).toEqual(Array.from({ length: number }, (_, i) => i + 1))
    expect(new Set(far.received.map((packet) => packet[0]! & 7))).toEqual(new Set([0, 1]))

    harness.plane.send({ type: "retireKey", generation: 1, keyId: oldKey.keyId })
    await harness.flush()
    far.send(harness.peer.seal(ipPacket(9)))
    await harness.counter("drop:noKey", 1)
  })

  test("without a sending key the tun is read and its packets are dropped", async () => {
    await using harness = await Harness.start()
    await harness.attach(kind)
    for (let i = 0; i < 100; i++) harness.tun.write(ipPacket(i))
    await harness.counter("drop:noKey", 100)
    harness.plane.send({ type: "ping", generation: 1 })
    await harness.flush()
    expect(harness.linkCounter("sealedPackets")).toBe(0)
  })

  test("a further link starts without keys; commands for one that is gone are ignored", async () => {
    const { harness, far } = await connected(kind)
    await using _ = harness
    harness.plane.send({ type: "detachTransport", generation: 1 })
    await harness.flush()
    harness.tun.write(ipPacket(1))
    await harness.counter("drop:noTransport", 1)
    const next = await harness.attach(kind, 2)
    harness.plane.send({ type: "useKey", generation: 2, keyId: 0 })
    harness.plane.send({ type: "transmit", generation: 1, packet: Uint8Array.of(0x20, 1) })
    harness.plane.send({ type: "transmit", generation: 2, packet: Uint8Array.of(0x20, 2) })
    harness.plane.send({ type: "carry", generation: 1 })
    harness.tun.write(ipPacket(2))
    await harness.counter("drop:noKey", 1)
    await soon("the packet", () => next.received.length > 0)
    expect(next.received).toEqual([Uint8Array.of(0x20, 2)])
    expect(far.received).toEqual([])
    harness.plane.send({ type: "installKey", generation: 1, key: dataKey(2), replayWindow })
    await harness.use(dataKey(0), 2)
    harness.tun.write(ipPacket(3))
    await soon("the packet", () => next.received.length === 2)
    expect(harness.peer.open(next.received[1]!)).toEqual(ipPacket(3))
  })

  test("stop closes what the worker owned and nothing else", async () => {
    const tun = new TunPair()
    const descriptors = () => readdirSync("/proc/self/fd").length
    const cycle = async () => {
      const { harness, far } = await connected(kind)
      harness.tun.write(ipPacket(1))
      await soon("a packet", () => far.received.length === 1)
      await harness[Symbol.asyncDispose]()
      expect(harness.crashes).toEqual([])
      expect(harness.events.at(-1)).toEqual({ type: "stopped" })
    }
    // The first one opens what Bun keeps for itself.
    await cycle()
    const before = descriptors()
    for (let i = 0; i < 3; i++) await cycle()
    await soon(`${before} descriptors`, () => descriptors() === before)
    tun.write(ipPacket(1))
    tun[Symbol.dispose]()
  })
})

describe("DATA_V1 and the other ciphers", () => {
  test.each([
    { cipher: "AES-256-GCM", peerId: undefined },
    { cipher: "AES-128-GCM", peerId: 0 },
    { cipher: "CHACHA20-POLY1305", peerId: 0xfffffe },
    { cipher: "CHACHA20-POLY1305", peerId: undefined },
  ] as const)("$cipher, peer id $peerId", async (options) => {
    const { harness, far } = await connected("udp4", dataKey(3, 1, options))
    await using _ = harness
    harness.tun.write(ipPacket(1))
    await soon("a packet", () => far.received.length === 1)
    expect(far.received[0]![0]).toBe(options.peerId === undefined ? 0x33 : 0x4b)
    expect(harness.peer.open(far.received[0]!)).toEqual(ipPacket(1))
    far.send(harness.peer.seal(ipPacket(2)))
    expect(await harness.tun.next()).toEqual(ipPacket(2))
  })
})

describe("UDP only", () => {
  test("a flipped bit is dropped and says nothing about liveness", async () => {
    const { harness, far } = await connected("udp4")
    await using _ = harness
    const packet = harness.peer.seal(ipPacket(1))
    for (const at of [1, 5, 10, packet.length - 1]) {
      const flipped = packet.slice()
      flipped[at]! ^= 0x10
      far.send(flipped)
    }
    await harness.counter("drop:authentication", 4)
    expect(harness.plane.counters.read("lastReceive")).toBe(0)
    far.send(packet)
    expect(await harness.tun.next()).toEqual(ipPacket(1))
    expect(harness.plane.counters.read("lastReceive")).toBeGreaterThan(0)
  })

  test("an empty datagram is dropped", async () => {
    const { harness, far } = await connected("udp4")
    await using _ = harness
    far.send(new Uint8Array(0))
    await harness.counter("drop:empty", 1)
  })

  test("a flood of control packets is cut, and does not stop data", async () => {
    const { harness, far } = await connected("udp4")
    await using _ = harness
    const flood = 4000
    for (let i = 0; i < flood; i++) {
      far.send(Uint8Array.of(0x20, i >> 8, i & 0xff))
      if (i % 200 === 0) await harness.flush()
    }
    const reported = () => harness.events.filter((event) => event.type === "control").length
    await soon("the flood is over", () => reported() + harness.plane.counters.read("drop:controlFlood") === flood)
    expect(harness.plane.counters.read("drop:controlFlood")).toBeGreaterThan(flood / 2)
    far.send(harness.peer.seal(ipPacket(1)))
    expect(await harness.tun.next()).toEqual(ipPacket(1))
  })

  test("a port that refuses is survived and counted", async () => {
    const { harness, far } = await connected("udp4")
    await using _ = harness
    far.close()
    for (let i = 1; i <= 5; i++) {
      harness.tun.write(ipPacket(i))
      await soon("a sealed packet", () => harness.linkCounter("sealedPackets") === i)
      await harness.flush()
    }
    await soon("an error", () => harness.plane.counters.read("transportErrors") > 0)
    expect(await turnsPerSignal(harness)).toBeLessThanOrEqual(2)
    expect(harness.events.some((event) => event.type === "transportFailed")).toBe(false)
  })

  test("two data planes carry packets of any size between two tuns", async () => {
    await using one = await Harness.start()
    await using two = await Harness.start()
    const fds = udpPair(4)
    const key = dataKey(0)
    for (const [harness, fd, keys] of [
      [one, fds[0], key],
      [two, fds[1], mirrored(key)],
    ] as const) {
      harness.open(1, fd, "udp")
      harness.plane.send({ type: "carry", generation: 1 })
      await harness.use(keys)
    }
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      for (const length of [20, 100, 1500, 9000, 60_000]) {
        from.tun.write(ipPacket(length, length))
        expect(await to.tun.next()).toEqual(ipPacket(length, length))
      }
      for (let i = 0; i < 1000; i++) from.tun.write(ipPacket(i, 1400))
      for (let i = 0; i < 1000; i++) expect(numberOf(await to.tun.next())).toBe(i)
    }
  })
})

describe("TCP only", () => {
  const failure = async (harness: Harness) => (await harness.event("transportFailed")).message

  test("frames that arrive one byte at a time are put together", async () => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    const packets = [harness.peer.seal(ipPacket(1)), Uint8Array.of(0x20, 7), harness.peer.seal(ipPacket(2))]
    let bytes = 0
    for (const packet of packets)
      for (const byte of [packet.length >> 8, packet.length & 0xff, ...packet]) {
        far.sendRaw(Uint8Array.of(byte))
        await harness.counter("transportReadBytes", ++bytes)
      }
    expect(numberOf(await harness.tun.next())).toBe(1)
    expect(numberOf(await harness.tun.next())).toBe(2)
    expect((await harness.event("control")).packet).toEqual(Uint8Array.of(0x20, 7))
  })

  test("many frames in one piece, cut anywhere, are taken apart", async () => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    const frames = Array.from({ length: 2000 }, (_, i) => {
      const packet = harness.peer.seal(ipPacket(i, 1000 + (i % 400)))
      return Buffer.concat([Uint8Array.of(packet.length >> 8, packet.length & 0xff), packet])
    })
    const stream = Buffer.concat(frames)
    for (let at = 0; at < stream.length; at += 77_777) far.sendRaw(stream.subarray(at, at + 77_777))
    for (let i = 0; i < 2000; i++) expect(numberOf(await harness.tun.next())).toBe(i)
  })

  test("a server that does not read stops the reading of the tun, and nothing is lost", async () => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    far.pause()
    let written = 0
    // Until a whole round trip to the worker has passed without it reading anything.
    for (let read = -1; read < harness.plane.counters.read("tunReadPackets"); await harness.flush()) {
      read = harness.plane.counters.read("tunReadPackets")
      while (harness.tun.write(ipPacket(written, 1400))) written++
      await harness.flush()
    }
    expect(harness.plane.counters.read("tunReadPackets")).toBeLessThan(written)
    expect(await turnsPerSignal(harness)).toBeLessThanOrEqual(2)
    // There is room for control packets still.
    const controls = Array.from({ length: 100 }, (_, i) => new Uint8Array(1200).fill(0x20 + (i % 8)))
    for (const packet of controls) harness.plane.send({ type: "transmit", generation: 1, packet })
    await harness.flush()
    expect(harness.plane.counters.read("drop:transportBusy")).toBe(0)
    far.resume()
    await soon("all packets", () => far.received.length >= written + controls.length)
    const isControl = (packet: Uint8Array) => packet[0]! >> 3 === 4
    expect(far.received.filter(isControl)).toEqual(controls)
    const data = far.received.filter((packet) => !isControl(packet))
    for (let i = 0; i < written; i++) {
      const opened = harness.peer.open(data[i]!) as Uint8Array
      if (numberOf(opened) !== i) throw new Error(`packet ${numberOf(opened)} in place of ${i}`)
    }
  })

  test.each([
    { name: "a frame of length 0", bytes: [0, 0], message: "framing: a packet of 0 bytes, so the stream is corrupt" },
    {
      name: "an HTTP answer",
      bytes: [...Buffer.from("HT")],
      message: "framing: a packet of 18516 bytes, so the stream is corrupt",
    },
  ])("$name ends the transport", async ({ bytes, message }) => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    far.sendRaw(Uint8Array.from(bytes))
    expect(await failure(harness)).toBe(message)
    harness.tun.write(ipPacket(1))
    await harness.counter("drop:noTransport", 1)
  })

  test("a packet that is not authentic ends the transport", async () => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    const packet = harness.peer.seal(ipPacket(1))
    packet[12]! ^= 1
    far.send(packet)
    expect(await failure(harness)).toBe("data packet: wrong authentication tag, so the stream is corrupt")
    expect(harness.plane.counters.read("drop:authentication")).toBe(1)
  })

  test("the end of the stream ends the transport, after what came before it", async () => {
    const { harness, far } = await connected("tcp4")
    await using _ = harness
    far.send(harness.peer.seal(ipPacket(1)))
    expect(await harness.tun.next()).toEqual(ipPacket(1))
    far.close()
    expect(await failure(harness)).toMatch(/^recv: (the server closed the connection|ECONNRESET)$/)
  })

  test("a refused connection is reported", async () => {
    await using harness = await Harness.start()
    const far = await harness.attach("tcp4")
    far.close()
    await harness.event("transportFailed")
    harness.events.length = 0
    harness.open(2, far.reconnect(), "tcp")
    expect(await failure(harness)).toBe("connect: ECONNREFUSED")
    expect(harness.events.some((event) => event.type === "transportOpen")).toBe(false)
  })
})

test("SYN packets are clamped in both directions", async () => {
  const { harness, far } = await connected("udp4")
  await using _ = harness
  const syn = Uint8Array.from([
    0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 2, 0,
    0, 0, 0, 0, 0, 2, 4, 5, 0xb4,
  ])
  harness.plane.send({ type: "clampMss", ipv4: 1234, ipv6: 1214 })
  await harness.flush()
  harness.tun.write(syn)
  await soon("a packet", () => far.received.length === 1)
  const sent = harness.peer.open(far.received[0]!) as Uint8Array
  far.send(harness.peer.seal(syn))
  const delivered = await harness.tun.next()
  for (const packet of [sent, delivered]) expect((packet[42]! << 8) | packet[43]!).toBe(1234)
})

test("a detached tun is not touched any more, and packets for it are dropped", async () => {
  const { harness, far } = await connected("udp4")
  await using _ = harness
  harness.plane.send({ type: "detachTun" })
  await harness.flush()
  harness.tun.write(ipPacket(1))
  far.send(harness.peer.seal(ipPacket(2)))
  await harness.counter("drop:noTun", 1)
  expect(harness.plane.counters.read("lastReceive")).toBeGreaterThan(0)
  expect(harness.plane.counters.read("tunReadPackets")).toBe(0)
  harness.plane.send({ type: "attachTun", fd: harness.tun.fd })
  await soon("the waiting packet", () => far.received.length === 1)
})

test("a tun whose other end is gone is reported once", async () => {
  await using harness = await Harness.start()
  harness.tun.closeOther()
  expect((await harness.event("tunFailed")).message).toBe("end of file")
  expect(await turnsPerSignal(harness)).toBeLessThanOrEqual(2)
  expect(harness.events.filter((event) => event.type === "tunFailed").length).toBe(1)
})

test("a key that does not suit its cipher is a crash, reported once, and leaves no descriptor open", async () => {
  const harness = await Harness.start()
  const far = await harness.attach("tcp4")
  const key = dataKey(0)
  const short = { ...key, send: { ...key.send, cipherKey: new Uint8Array(5) } }
  harness.plane.send({ type: "installKey", generation: 1, key: short, replayWindow })
  await soon("the crash", () => harness.crashes.length > 0)
  expect(harness.crashes).toEqual(["AES-256-GCM: the key has 5 bytes, not 32"])
  await harness.plane.stop()
  harness.plane.send({ type: "sync", number: 1 })
  await soon("the connection is closed", () => far.ended())
  await harness[Symbol.asyncDispose]()
  expect(harness.crashes.length).toBe(1)
})

test("stop right after the start", async () => {
  const plane = startDataPlane({
    onEvent: () => {},
    onCrash: (message) => {
      throw new Error(message)
    },
  })
  await Promise.all([plane.stop(), plane.stop()])
})
