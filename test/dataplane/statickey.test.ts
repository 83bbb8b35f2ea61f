/** Data packets of a static key: no head, and ids that begin anew with a later time. */
import { describe, expect, test } from "bun:test"
import type { CbcSealer } from "../../src/dataplane/datapacket-cbc.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { formatOf } from "../../src/dataplane/keyformat.ts"
import { ReplayWindow } from "../../src/dataplane/replay.ts"
import { Arena } from "../../src/linux/index.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import { mirrored } from "./keys.ts"

const arena = new Arena(1024 * 1024)
const memory = arena.allocate(4096)
const nonces = { seal: arena.allocate(12), open: arena.allocate(12) }
const block = Uint8Array.from({ length: 256 }, (_, index) => index)

const keyFor = (unixTime: number, digest: "SHA1" | "SHA256" | "SHA512" = "SHA1") => ({
  ...sliceKeyBlock(block, { keyId: 0, cipher: "AES-256-CBC", digest, peerId: undefined })!,
  staticKey: { unixTime, firstPacketId: 1 },
})
const newReplay = () => new ReplayWindow({ packets: 64, seconds: 15 })
const senderOf = (unixTime: number) => formatOf(keyFor(unixTime), nonces, newReplay).sealer as CbcSealer
const receiver = () => formatOf(mirrored(keyFor(1)), nonces, newReplay).opener

const sealed = (sealer: CbcSealer, payload = "hello") => {
  const bytes = new TextEncoder().encode(payload)
  memory.bytes.set(bytes, 7 + sealer.overhead)
  return memory.bytes.slice(7, 7 + sealer.seal(memory, 7, bytes.length))
}

/** The payload, "replay", or the drop reason. */
const taken = (opener: ReturnType<typeof receiver>, packet: Uint8Array) => {
  memory.bytes.set(packet, 9)
  const length = opener.open(memory, 9, packet.length)
  if (length < 0) return length
  if (!opener.replay.accept(0, opener.packetId)) return "replay"
  return new TextDecoder().decode(memory.bytes.slice(opener.payloadAt, opener.payloadAt + length))
}

describe("a packet of a static key", () => {
  test.each([
    ["SHA1", 20],
    ["SHA256", 32],
    ["SHA512", 64],
  ] as const)("with %s has HMAC, vector and whole blocks, nothing else", (digest, length) => {
    const { sealer, opener } = formatOf(keyFor(7, digest), nonces, newReplay)
    expect(sealer.overhead).toBe(length + 16 + 8)
    const packet = sealed(sealer as CbcSealer, "x".repeat(7))
    expect(packet.length).toBe(length + 16 + 16)
    expect(taken(formatOf(mirrored(keyFor(7, digest)), nonces, newReplay).opener, packet)).toBe("x".repeat(7))
    opener.free()
  })

  test("with any one bit flipped, or cut at any length, is not taken", () => {
    const packet = sealed(senderOf(100))
    const opener = receiver()
    for (let at = 0; at < packet.length; at++) {
      const altered = packet.slice()
      altered[at]! ^= 1 << (at % 8)
      expect(taken(opener, altered)).toBe(Drop.authentication)
      expect(taken(opener, packet.subarray(0, at))).toBeOneOf([Drop.short, Drop.authentication])
    }
    expect(taken(opener, packet)).toBe("hello")
  })

  test("is taken once, and in any order within the window", () => {
    const sender = senderOf(100)
    const packets = [1, 2, 3].map((number) => sealed(sender, `packet ${number}`))
    const opener = receiver()
    const order = [2, 0, 1, 0, 1, 2].map((index) => taken(opener, packets[index]!))
    expect(order).toEqual(["packet 3", "packet 1", "packet 2", "replay", "replay", "replay"])
  })
})

describe("a sender that starts anew", () => {
  test("with a later time is taken from its first packet on, and what it sent before is not any more", () => {
    const before = senderOf(100)
    const opener = receiver()
    const [old, late] = [sealed(before), sealed(before)]
    expect(taken(opener, old)).toBe("hello")
    for (let count = 0; count < 200; count++) sealed(before)
    expect(taken(opener, sealed(before))).toBe("hello")
    const after = senderOf(101)
    expect(taken(opener, sealed(after))).toBe("hello")
    expect(taken(opener, late)).toBe("replay")
    expect(taken(opener, sealed(before))).toBe("replay")
    expect(taken(opener, sealed(after))).toBe("hello")
  })

  test("cannot be made up: a later time in a packet that is not authentic moves nothing", () => {
    const opener = receiver()
    const first = sealed(senderOf(100))
    expect(taken(opener, first)).toBe("hello")
    const forged = sealed(senderOf(0xffff_ffff))
    forged[0]! ^= 1
    expect(taken(opener, forged)).toBe(Drop.authentication)
    expect(taken(opener, first)).toBe("replay")
    expect(taken(opener, sealed(senderOf(101)))).toBe("hello")
  })
})

describe("packet ids that are used up", () => {
  test("begin anew with the next second: no id is sent twice, and nobody has to negotiate", () => {
    const sender = senderOf(100)
    const opener = receiver()
    sender.nextPacketId = 0xffff_fffe
    const packets = [1, 2, 3, 4].map(() => sealed(sender))
    expect(sender.isWornOut).toBe(false)
    const ids = packets.map((packet) => [taken(opener, packet), opener.packetId])
    expect(ids).toEqual([
      ["hello", 0xffff_fffe],
      ["hello", 0xffff_ffff],
      ["hello", 1],
      ["hello", 2],
    ])
  })

  test("end with the last second there is", () => {
    const sender = senderOf(0xffff_ffff)
    sender.nextPacketId = 0xffff_ffff
    expect(sender.seal(memory, 0, 10)).toBeGreaterThan(0)
    expect(sender.seal(memory, 0, 10)).toBe(Drop.packetIds)
  })
})
