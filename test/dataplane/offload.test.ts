import { describe, expect, test } from "bun:test"
import { checksums, folded } from "../../src/dataplane/checksum.ts"
import { Coalescer } from "../../src/dataplane/coalesce.ts"
import type { Event } from "../../src/dataplane/commands.ts"
import { type CounterName, Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { Segmenter } from "../../src/dataplane/segment.ts"
import { TunPort } from "../../src/dataplane/tunport.ts"
import { openFile } from "../../src/linux/file.ts"
import { Arena, closeFd } from "../../src/linux/index.ts"
import { forEachSeed, longForm, SeededRandom } from "../support/network.ts"
import { TunPair } from "../support/pair.ts"
import { mixture } from "./mixture.ts"
import { anyOptions, expanded, largePacket, type PacketOptions, packet } from "./traffic.ts"

const arena = new Arena(4 * 1024 * 1024)
const sums = checksums(arena)
const segmenter = new Segmenter(arena, sums)
const region = arena.allocate(70_000)

function cut(bytes: Uint8Array): ReadonlyArray<Uint8Array> | number {
  segmenter.source.bytes.set(bytes)
  const count = segmenter.take(bytes.length)
  if (count < 0) return count
  return Array.from({ length: count }, (_, i) => {
    region.bytes.fill(0xee)
    const length = segmenter.lay(i, region, 3)
    expect(length).toBeLessThanOrEqual(segmenter.largest)
    expect(region.bytes[3 + length]).toBe(0xee)
    return region.bytes.slice(3, 3 + length)
  })
}

describe("sums", () => {
  test("are those of 16-bit words, at any place and of any length, and a copy is exact", () => {
    const random = new SeededRandom(1)
    const from = arena.allocate(70_000)
    from.bytes.set(random.bytes(66_000))
    for (let round = 0; round < 300; round++) {
      const at = random.below(64)
      const length = round < 200 ? round : random.below(65_536)
      let expected = 0
      for (let i = 0; i < length; i++) expected += from.bytes[at + i]! << (i % 2 === 0 ? 0 : 8)
      expect(sums.sum(from.offset + at, length)).toBe(expected)
      region.bytes.fill(0xee)
      expect(sums.copy(region.offset + 5, from.offset + at, length)).toBe(expected)
      expect(Buffer.compare(region.bytes.subarray(5, 5 + length), from.bytes.subarray(at, at + length))).toBe(0)
      expect([region.bytes[4], region.bytes[5 + length]]).toEqual([0xee, 0xee])
    }
  })

  test("the largest sum of all folds", () => {
    region.bytes.fill(0xff)
    expect(folded(sums.sum(region.offset, 65_536))).toBe(0xffff)
  })
})

describe("cutting", () => {
  test("makes exactly the packets that the sender would have made by itself", () => {
    forEachSeed(longForm(400), (seed) => {
      const random = new SeededRandom(seed)
      const options = anyOptions(random)
      const segmentSize = 1 + random.below(1448)
      const payload = random.bytes(random.below(Math.min(64_000, segmentSize * 60)))
      const large = largePacket({ ...options, payload, segmentSize })
      expect(cut(large.bytes)).toEqual([...large.packets])
      expect(segmenter.total).toBe(large.packets.reduce((total, { length }) => total + length, 0))
    })
  })

  test("a packet that is one only gets its checksum; one that is finished stays as it is", () => {
    forEachSeed(100, (seed) => {
      const random = new SeededRandom(seed)
      const options = { ...anyOptions(random), payload: random.bytes(random.below(1400)) }
      const { bytes } = largePacket({ ...options, segmentSize: 1400 })
      bytes[1] = 0
      const expected = packet(options)
      // The other zero: to TCP it is the same.
      const got = cut(bytes) as ReadonlyArray<Uint8Array>
      const at = options.protocol === 6 ? new DataView(bytes.buffer).getUint16(6, true) + 16 : -1
      if (at > 0 && expected[at] === 0 && expected[at + 1] === 0) expected.fill(0xff, at, at + 2)
      expect(got).toEqual([expected])
      expect(cut(Uint8Array.of(...new Uint8Array(10), ...expected))).toEqual([expected])
    })
  })

  test.each([4, 6] as const)(
    "a UDP checksum over IPv%i that comes out as zero is written as the other zero",
    (version) => {
      const options = { version, protocol: 17 } as const
      const [first, second] = [1, 2].map((identification) => withZeroChecksum({ ...options, identification }))
      const large = largePacket({
        version,
        protocol: 17,
        payload: Uint8Array.of(...first!, ...second!),
        segmentSize: 1000,
      })
      expect(cut(large.bytes)).toEqual([...large.packets])
      const single = largePacket({ version, protocol: 17, payload: first!, segmentSize: 1000 })
      single.bytes[1] = 0
      expect(cut(single.bytes)).toEqual([...single.packets])
    },
  )

  test("headers that do not fit the packet are refused, whatever they say", () => {
    const { bytes } = largePacket({ version: 4, protocol: 6, payload: 5000, segmentSize: 1000 })
    const wrong: ReadonlyArray<readonly [what: string, at: number, value: number]> = [
      ["a type that was not asked for", 1, 3],
      ["no checksum to finish", 0, 0],
      ["a checksum behind the end", 9, 0xff],
      ["a transport header behind the end", 7, 0xff],
      ["neither IPv4 nor IPv6", 10, 0x55],
      ["an IP header that reaches into the transport's", 10, 0x4f],
      ["a TCP header of 16 bytes", 10 + 20 + 12, 0x40],
    ]
    for (const [what, at, value] of wrong) {
      const changed = bytes.slice()
      changed[at] = value
      expect([what, cut(changed)]).toEqual([what, Drop.offload])
    }
    const withoutSize = bytes.slice()
    withoutSize.fill(0, 4, 6)
    expect(cut(withoutSize)).toBe(Drop.offload)
    for (let length = 0; length < 50; length++) expect(cut(bytes.slice(0, length))).toBe(Drop.offload)
    // Whatever else is written there: nothing leaves the memory, which would throw.
    forEachSeed(longForm(300), (seed) => {
      const random = new SeededRandom(seed)
      const changed = bytes.slice()
      for (let i = 0; i < 3; i++) changed[random.below(64)] = random.below(256)
      cut(changed)
    })
  })
})

/** A coalescer whose writes can be looked at. */
function makeCoalescer(pair: TunPair) {
  const memory = createCounterMemory()
  const events: Array<Event> = []
  const offloads = new Offloads([], (event) => void events.push(event))
  const tun = new TunPort(new Counters(memory), offloads, () => {})
  tun.attach(pair.fd)
  tun.hasHeader = true
  tun.tso = true
  tun.uso = true
  events.length = 0
  const own = new Arena(1024 * 1024)
  const slots = own.allocate(300_000)
  const ownSums = checksums(own)
  const coalescer = new Coalescer(own, ownSums, new Segmenter(own, ownSums), tun, new Counters(memory))
  const reader = counterReader(memory)
  return {
    tun,
    events,
    count: (name: CounterName) => reader.read(name),
    /** Writes the packets as one batch; what the tun got. */
    deliver(packets: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> {
      let at = 32
      for (const bytes of packets) {
        slots.bytes.set(bytes, at)
        expect(coalescer.add(slots, at, bytes.length)).toBe(0)
        at += bytes.length + 24
      }
      coalescer.flush()
      const written: Array<Uint8Array> = []
      for (let next = pair.read(); next !== undefined; next = pair.read()) written.push(next)
      return written
    },
  }
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const portOf = (bytes: Uint8Array) => Buffer.from(bytes).readUInt16BE(bytes[0]! >> 4 === 4 ? (bytes[0]! & 15) * 4 : 40)

describe("putting together", () => {
  const bulk = (count: number, options: Partial<PacketOptions> = {}, size = 1348): Array<Uint8Array> => [
    ...largePacket({ version: 4, protocol: 6, payload: count * size, segmentSize: size, ...options } as never).packets,
  ]

  test.each([
    { version: 4, protocol: 6 },
    { version: 6, protocol: 6 },
    { version: 4, protocol: 17 },
    { version: 6, protocol: 17 },
  ] as const)("IPv$version, protocol $protocol: packets of one flow become one write", (options) => {
    using pair = new TunPair()
    const { deliver, count } = makeCoalescer(pair)
    const packets = bulk(40, options)
    const written = deliver(packets)
    expect(written.length).toBe(1)
    expect(expanded(written[0]!).map(text)).toEqual(packets.map(text))
    expect(count("tunWritePackets")).toBe(40)
    expect(count("tunWriteBytes")).toBe(packets.reduce((total, { length }) => total + length, 0))
  })

  const flip = (at: number) => (bytes: Uint8Array) => {
    bytes[at]! ^= 1
  }

  /** Each turns the third packet of five into something that must not be merged. */
  test.each<[string, (bytes: Uint8Array) => void, Partial<PacketOptions>]>([
    ["a wrong TCP checksum", flip(36), {}],
    ["a damaged payload", flip(700), {}],
    ["a wrong IPv4 checksum", flip(10), {}],
    ["another don't-fragment", () => {}, { dontFragment: false }],
    ["FIN", () => {}, { flags: 0x11 }],
    ["SYN", () => {}, { flags: 0x12 }],
    ["RST", () => {}, { flags: 0x14 }],
    ["URG", () => {}, { flags: 0x30 }],
    ["ECE", () => {}, { flags: 0x50 }],
    ["CWR", () => {}, { flags: 0x90 }],
    ["congestion marked", () => {}, { tos: 3 }],
    ["another time to live", () => {}, { ttl: 63 }],
    ["IPv6, congestion marked", () => {}, { version: 6, tos: 3 }],
    ["IPv6, another hop limit", () => {}, { version: 6, ttl: 63 }],
    ["reserved bits", () => {}, { reserved: 1 }],
    ["a larger one than those before", () => {}, { payload: new Uint8Array(1400) }],
    ["another window", () => {}, { window: 999 }],
    ["another acknowledgement", () => {}, { acknowledgement: 3 }],
    ["other options of TCP", () => {}, { tcpOptions: Uint8Array.of(1, 1, 1, 1) }],
    ["options of IP", () => {}, { ipOptions: Uint8Array.of(1, 1, 1, 1) }],
    ["another identification", () => {}, { identification: 77 }],
    ["a hole in the sequence", () => {}, { sequence: 90_000 }],
    ["a pure acknowledgement", () => {}, { payload: new Uint8Array(0) }],
  ])("%s: passed on as it is, in its place", (_, damage, options) => {
    using pair = new TunPair()
    const { deliver } = makeCoalescer(pair)
    const packets = bulk(5, { version: options.version ?? 4 })
    const third = packet({
      version: 4,
      protocol: 6,
      payload: packets[2]!.slice(-1348),
      identification: 3,
      sequence: 1 + 2 * 1348,
      ...options,
    })
    damage(third)
    packets[2] = third
    const written = deliver(packets)
    expect(written.length).toBeGreaterThanOrEqual(3)
    expect(written.flatMap(expanded).map(text)).toEqual(packets.map(text))
  })

  test("a pushed packet ends what it is added to, and the kernel sets PSH on the last", () => {
    using pair = new TunPair()
    const { deliver } = makeCoalescer(pair)
    const packets = bulk(3, { flags: 0x18 })
    const more = bulk(2, { sequence: 1 + 3 * 1348, identification: 4 })
    const written = deliver([...packets, ...more])
    expect(written.length).toBe(2)
    expect(written.flatMap(expanded).map(text)).toEqual([...packets, ...more].map(text))
  })

  test("fragments are untouched and overtake nothing", () => {
    using pair = new TunPair()
    const { deliver } = makeCoalescer(pair)
    const fragment = packet({ version: 4, protocol: 17, payload: new Uint8Array(1000) })
    fragment[6] = 0x20
    const packets = [...bulk(3), fragment, ...bulk(3, { sequence: 1 + 3 * 1348, identification: 4 })]
    expect(deliver(packets).flatMap(expanded).map(text)).toEqual(packets.map(text))
  })

  test("UDP without a checksum stays single, also where none would be right", () => {
    using pair = new TunPair()
    const { deliver } = makeCoalescer(pair)
    const packets = [1, 2, 3].map((identification) => {
      const options = { version: 4, protocol: 17, identification } as const
      return packet({ ...options, payload: withZeroChecksum(options) })
    })
    for (const bytes of packets) bytes.fill(0, 26, 28)
    const written = deliver(packets)
    expect(written.map((bytes) => text(bytes.slice(10)))).toEqual(packets.map(text))
  })

  test("any mixture comes out as it went in, byte for byte, each flow in order", () => {
    let writes = 0
    let packetsInAll = 0
    forEachSeed(longForm(60, 1 / 10), (seed) => {
      using pair = new TunPair()
      const { deliver } = makeCoalescer(pair)
      const random = new SeededRandom(seed)
      const packets = mixture(random)
      const written = deliver(packets)
      const out = written.flatMap(expanded)
      for (const port of new Set(packets.map(portOf))) {
        const ofFlow = (all: ReadonlyArray<Uint8Array>) => all.filter((bytes) => portOf(bytes) === port).map(text)
        expect(ofFlow(out)).toEqual(ofFlow(packets))
      }
      expect(out.length).toBe(packets.length)
      writes += written.length
      packetsInAll += packets.length
    })
    // Otherwise nothing was tested.
    expect(writes).toBeLessThan(packetsInAll / 3)
  })

  test("what the kernel refuses in one piece is cut again, and from then on nothing is put together", () => {
    using pair = new TunPair()
    const { deliver, tun, events, count } = makeCoalescer(pair)
    const refusing = tun.put.bind(tun)
    tun.put = (memory, at, length, packets, bytes) =>
      packets > 1 ? Drop.offload : refusing(memory, at, length, packets, bytes)
    const packets = bulk(10, { flags: 0x18 })
    const written = deliver(packets)
    expect(written.map((bytes) => text(bytes.slice(10)))).toEqual(packets.map(text))
    expect(events).toEqual([{ type: "offload", name: "tso", isOn: false, reason: "write to the tun: EINVAL" }])
    expect([tun.tso, tun.uso]).toEqual([false, true])
    expect(deliver(packets).length).toBe(10)
    expect(count("drop:offload")).toBe(0)
  })
})

test("a device that is no tun has no offloads, and that is said once", () => {
  const events: Array<Event> = []
  const tun = new TunPort(
    new Counters(createCounterMemory()),
    new Offloads(["uso"], (event) => void events.push(event)),
    () => {},
  )
  const fd = openFile("/dev/null", 2)
  for (let i = 0; i < 2; i++) tun.attach(fd)
  expect([tun.hasHeader, tun.tso, tun.uso]).toEqual([false, false, false])
  expect(events).toEqual([
    { type: "offload", name: "tso", isOn: false, reason: "the device does not take it" },
    { type: "offload", name: "uso", isOn: false, reason: "switched off by the settings" },
  ])
  closeFd(fd)
})

/** A payload with which the UDP checksum comes out as zero. */
function withZeroChecksum(options: Omit<PacketOptions, "payload">): Uint8Array {
  const payload = new Uint8Array(1000).fill(1)
  const at = options.version === 4 ? 26 : 46
  const missing = new DataView(packet({ ...options, payload }).buffer).getUint16(at)
  new DataView(payload.buffer).setUint16(0, folded(0x0101 + missing))
  expect(packet({ ...options, payload }).slice(at, at + 2)).toEqual(Uint8Array.of(0xff, 0xff))
  return payload
}
