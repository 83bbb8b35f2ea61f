import { describe, expect, test } from "bun:test"
import { clampFrameMss, clampMss } from "../../src/dataplane/mss.ts"

const SYN = 0x02
const SYN_ACK = 0x12
const ACK = 0x10

const mss = (value: number) => [2, 4, value >> 8, value & 0xff]
const nop = [1]
const sackPermitted = [4, 2]
const timestamps = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2]

/** Where the packet begins in its buffer: not at 0, and not at an even place. */
const START = 3

interface Shape {
  readonly family: 4 | 6
  readonly flags?: number
  readonly options: ReadonlyArray<number>
  /** Bytes of IPv4 options. */
  readonly ipOptions?: number
  readonly payload?: number
}

/** A TCP packet with right lengths and checksum, at START of the buffer. */
function tcpPacket(shape: Shape): { bytes: Uint8Array<ArrayBuffer>; length: number; tcp: number } {
  const padded = [...shape.options, ...new Array((4 - (shape.options.length % 4)) % 4).fill(0)]
  const ipLength = shape.family === 4 ? 20 + (shape.ipOptions ?? 0) : 40
  const tcpLength = 20 + padded.length + (shape.payload ?? 0)
  const length = ipLength + tcpLength
  const bytes = new Uint8Array(START + length + 5)
  const ip = new DataView(bytes.buffer, START)
  if (shape.family === 4) {
    ip.setUint8(0, 0x40 | (ipLength / 4))
    ip.setUint16(2, length)
    ip.setUint8(9, 6)
    bytes.set([10, 1, 2, 3, 10, 4, 5, 6], START + 12)
    bytes.fill(1, START + 20, START + ipLength)
  } else {
    ip.setUint8(0, 0x60)
    ip.setUint16(4, tcpLength)
    ip.setUint8(6, 6)
    bytes.set([0xfd, 1, 2, 3], START + 8)
    bytes.set([0xfd, 9, 8, 7], START + 24)
  }
  const tcp = START + ipLength
  bytes.set([0x12, 0x34, 0x01, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8], tcp)
  bytes[tcp + 12] = ((20 + padded.length) / 4) << 4
  bytes[tcp + 13] = shape.flags ?? SYN
  bytes.set([0xff, 0xff], tcp + 14)
  bytes.set(padded, tcp + 20)
  bytes.fill(0x5a, tcp + 20 + padded.length, START + length)
  new DataView(bytes.buffer).setUint16(tcp + 16, checksum(bytes, shape.family, tcp, tcpLength))
  return { bytes, length, tcp }
}

/** The TCP checksum, computed from nothing but the packet; the field itself counts as 0. */
function checksum(bytes: Uint8Array, family: 4 | 6, tcp: number, tcpLength: number): number {
  const addresses = family === 4 ? bytes.slice(START + 12, START + 20) : bytes.slice(START + 8, START + 40)
  const segment = bytes.slice(tcp, tcp + tcpLength)
  segment[16] = 0
  segment[17] = 0
  let sum = 6 + tcpLength
  for (const part of [addresses, segment])
    for (let i = 0; i < part.length; i++) sum += i % 2 === 0 ? part[i]! << 8 : part[i]!
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}

const clamp = ({ bytes, length }: { bytes: Uint8Array; length: number }) => clampMss(bytes, START, length, 1300, 1280)

const shapes: ReadonlyArray<{ name: string } & Omit<Shape, "family">> = [
  { name: "MSS alone", options: mss(1460) },
  { name: "MSS of 65535", options: mss(65535) },
  { name: "a SYN with ACK", options: mss(1460), flags: SYN_ACK },
  { name: "what Linux sends", options: [...mss(1460), ...sackPermitted, ...timestamps, ...nop, 3, 3, 7] },
  { name: "MSS behind other options", options: [...timestamps, ...nop, ...nop, ...mss(8960)] },
  { name: "MSS at an odd place", options: [...nop, ...mss(1461), ...nop, ...nop] },
  { name: "an unknown option before it", options: [254, 5, 1, 2, 3, ...mss(1460)] },
  { name: "a payload of odd length (fast open)", options: mss(1460), payload: 33 },
]

describe.each([4, 6] as const)("IPv%d", (family) => {
  const limit = family === 4 ? 1300 : 1280

  test.each([...shapes])("$name: lowered, with a right checksum and nothing else changed", ({ name: _, ...shape }) => {
    const packet = tcpPacket({ ...shape, family })
    const before = packet.bytes.slice()
    expect(clamp(packet)).toBe(true)
    const { bytes, tcp, length } = packet
    const view = new DataView(bytes.buffer)
    expect(view.getUint16(tcp + 16)).toBe(checksum(bytes, family, tcp, START + length - tcp))
    const changed = [...bytes.keys()].filter((at) => bytes[at] !== before[at])
    const option = [...bytes.keys()].find((at) => at >= tcp + 20 && bytes[at] === 2 && bytes[at + 1] === 4)!
    expect(view.getUint16(option + 2)).toBe(limit)
    expect(changed.every((at) => [tcp + 16, tcp + 17, option + 2, option + 3].includes(at))).toBe(true)
  })

  test("every MSS above the limit, at even and odd places", () => {
    for (let value = 500; value < 65536; value += 17)
      for (const options of [mss(value), [...nop, ...mss(value)]]) {
        const packet = tcpPacket({ family, options })
        expect(clamp(packet)).toBe(value > limit)
        const sum = new DataView(packet.bytes.buffer).getUint16(packet.tcp + 16)
        expect(sum).toBe(checksum(packet.bytes, family, packet.tcp, START + packet.length - packet.tcp))
      }
  })

  test("every checksum there may be, at even and odd places", () => {
    for (const options of [mss(0x0600), [...nop, ...mss(0x0600)]]) {
      const packet = tcpPacket({ family, options })
      const { bytes, tcp, length } = packet
      const original = bytes.slice()
      const view = new DataView(bytes.buffer)
      for (let sequence = 0; sequence < 65536; sequence++) {
        bytes.set(original)
        view.setUint16(tcp + 4, sequence)
        view.setUint16(tcp + 16, checksum(bytes, family, tcp, START + length - tcp))
        clamp(packet)
        const sum = view.getUint16(tcp + 16)
        if (sum !== checksum(bytes, family, tcp, START + length - tcp)) throw new Error(`sequence ${sequence}: ${sum}`)
      }
    }
  })

  const untouched: ReadonlyArray<{ name: string; packet: () => ReturnType<typeof tcpPacket> }> = [
    { name: "an MSS at the limit", packet: () => tcpPacket({ family, options: mss(limit) }) },
    { name: "an MSS below it", packet: () => tcpPacket({ family, options: mss(536) }) },
    { name: "a segment that is no SYN", packet: () => tcpPacket({ family, options: mss(1460), flags: ACK }) },
    { name: "no options", packet: () => tcpPacket({ family, options: [] }) },
    { name: "MSS behind the end of the options", packet: () => tcpPacket({ family, options: [0, ...mss(1460)] }) },
    { name: "an option of length 0", packet: () => tcpPacket({ family, options: [5, 0, ...mss(1460)] }) },
    { name: "an option of length 1", packet: () => tcpPacket({ family, options: [5, 1, ...mss(1460)] }) },
    { name: "an option that leaves the header", packet: () => tcpPacket({ family, options: [5, 40, ...mss(1460)] }) },
    { name: "an MSS option of another length", packet: () => tcpPacket({ family, options: [2, 3, 255, 1] }) },
    { name: "an option without a length", packet: () => tcpPacket({ family, options: [1, 1, 1, 2] }) },
    {
      name: "a TCP header longer than the packet",
      packet: () => {
        const packet = tcpPacket({ family, options: mss(1460) })
        packet.bytes[packet.tcp + 12] = 0xf0
        return packet
      },
    },
    {
      name: "a TCP header of less than 20 bytes",
      packet: () => {
        const packet = tcpPacket({ family, options: mss(1460) })
        packet.bytes[packet.tcp + 12] = 0x40
        return packet
      },
    },
    {
      name: "another protocol",
      packet: () => {
        const packet = tcpPacket({ family, options: mss(1460) })
        packet.bytes[START + (family === 4 ? 9 : 6)] = 17
        return packet
      },
    },
  ]
  test.each([...untouched])("$name: left as it is", ({ packet }) => {
    const made = packet()
    const before = made.bytes.slice()
    expect(clamp(made)).toBe(false)
    expect(made.bytes).toEqual(before)
  })

  test("cut off at any length: left as it is, and nothing beyond is touched", () => {
    const whole = tcpPacket({ family, options: [...nop, ...mss(1460)] })
    for (let length = 0; length < whole.length; length++) {
      const bytes = whole.bytes.slice()
      expect(clampMss(bytes, START, length, 1300, 1280)).toBe(false)
      expect(bytes).toEqual(whole.bytes)
    }
  })

  test("a limit of 0 is off, for this family only", () => {
    const off = tcpPacket({ family, options: mss(1460) })
    expect(clampMss(off.bytes, START, off.length, family === 4 ? 0 : 1300, family === 4 ? 1300 : 0)).toBe(false)
    expect(clampMss(off.bytes, START, off.length, family === 4 ? 1300 : 0, family === 4 ? 0 : 1300)).toBe(true)
  })
})

test("IPv4 options before the TCP header are stepped over", () => {
  const packet = tcpPacket({ family: 4, options: mss(1460), ipOptions: 12 })
  expect(clamp(packet)).toBe(true)
  expect(new DataView(packet.bytes.buffer).getUint16(packet.tcp + 22)).toBe(1300)
})

test("a later IPv4 fragment holds no TCP header, a first one does", () => {
  const later = tcpPacket({ family: 4, options: mss(1460) })
  later.bytes[START + 7] = 1
  expect(clamp(later)).toBe(false)
  const first = tcpPacket({ family: 4, options: mss(1460) })
  first.bytes[START + 6] = 0x20
  expect(clamp(first)).toBe(true)
})

test("an IPv6 extension header ends the search", () => {
  const packet = tcpPacket({ family: 6, options: mss(1460) })
  packet.bytes[START + 6] = 0
  expect(clamp(packet)).toBe(false)
})

describe("in an Ethernet frame", () => {
  const etherType = { 4: "0800", 6: "86dd" } as const
  /** `tags`: hex, between the addresses and the type of the packet. */
  const inFrame = (family: 4 | 6, tags: string) => {
    const packet = tcpPacket({ family, options: mss(1460) })
    const header = Uint8Array.fromHex(`ffffffffffff0200000000aa${tags}${etherType[family]}`)
    const bytes = new Uint8Array([...packet.bytes.subarray(0, START), ...header, ...packet.bytes.subarray(START)])
    const tcp = packet.tcp + header.length
    return { bytes, length: packet.length + header.length, mss: () => new DataView(bytes.buffer).getUint16(tcp + 22) }
  }

  describe.each([4, 6] as const)("IPv%d", (family) => {
    test.each([
      ["without a tag", ""],
      ["of a VLAN", "81000007"],
      ["of a VLAN in a service provider's", "88a800648100a007"],
    ])("%s", (_name, tags) => {
      const frame = inFrame(family, tags)
      expect(clampFrameMss(frame.bytes, START, frame.length, 1300, 1280)).toBe(true)
      expect(frame.mss()).toBe(family === 4 ? 1300 : 1280)
    })

    test("a third tag, another type and a frame that is cut off stay as they are", () => {
      for (const tags of ["810000078100000781000007", "0806"]) {
        const frame = inFrame(family, tags)
        expect(clampFrameMss(frame.bytes, START, frame.length, 1300, 1280)).toBe(false)
      }
      const frame = inFrame(family, "81000007")
      for (let length = 0; length < frame.length; length++)
        expect(clampFrameMss(frame.bytes, START, length, 1300, 1280)).toBe(false)
    })
  })
})

test("random bytes never leave the packet or throw", () => {
  let state = 1
  for (let round = 0; round < 20_000; round++) {
    const bytes = new Uint8Array(80)
    for (let i = 0; i < bytes.length; i++) {
      state = (state * 1103515245 + 12345) % 2147483648
      bytes[i] = state >> 16
    }
    bytes[START] = (round % 2 === 0 ? 0x40 : 0x60) | (bytes[START]! & 0x0f)
    bytes[START + (round % 2 === 0 ? 9 : 6)] = 6
    const length = round % 77
    const before = bytes.slice()
    clampMss(bytes, START, length, 1, 1)
    expect(bytes.subarray(0, START)).toEqual(before.subarray(0, START))
    expect(bytes.subarray(START + length)).toEqual(before.subarray(START + length))
  }
})
