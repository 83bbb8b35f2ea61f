/** The data packets of CBC ciphers and of the epoch format: vectors, round trips, what is refused. */
import { describe, expect, test } from "bun:test"
import { CbcOpener, type CbcSealer } from "../../src/dataplane/datapacket-cbc.ts"
import { type EpochFactory, EpochOpener, EpochSealer } from "../../src/dataplane/datapacket-epoch.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { formatOf } from "../../src/dataplane/keyformat.ts"
import { ReplayWindow } from "../../src/dataplane/replay.ts"
import { Arena, type Region } from "../../src/linux/index.ts"
import { Aead, type AeadCipher, CbcHmac, crypto } from "../../src/openssl/index.ts"
import { PING_MAGIC } from "../../src/protocol/datachannel.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { mirrored } from "./keys.ts"

const arena = new Arena(1024 * 1024)
const newReplay = () => new ReplayWindow({ packets: 64, seconds: 15 })
const nonces = () => ({ seal: arena.allocate(12), open: arena.allocate(12) })
const keyBlock = Uint8Array.from({ length: 256 }, (_, index) => index)
const ping = PING_MAGIC.toHex()

/** The server's end: it opens what a client's vector is. */
const openerOf = (facts: Omit<DataKey, "send" | "receive">) =>
  formatOf(mirrored(sliceKeyBlock(keyBlock, facts)!), nonces(), newReplay).opener

/** One for all packets. */
const memory = arena.allocate(4096)

const opened = (opener: ReturnType<typeof openerOf>, packet: Uint8Array): string | number => {
  memory.bytes.set(packet, 7)
  const length = opener.open(memory, 7, packet.length)
  return length < 0 ? length : memory.bytes.slice(opener.payloadAt, opener.payloadAt + length).toHex()
}

/** Payload and the packet made of it, which begins at an odd place. */
const sealed = (
  sealer: { overhead: number; seal(memory: Region, start: number, length: number): number },
  payload: Uint8Array,
) => {
  memory.bytes.set(payload, 7 + sealer.overhead)
  const length = sealer.seal(memory, 7, payload.length)
  if (length < 0) throw new Error(`seal: ${length}`)
  return memory.bytes.slice(7, 7 + length)
}

describe("a CBC packet (facts H.3)", () => {
  const vectors = [
    {
      name: "AES-256-CBC, SHA256, DATA_V2",
      facts: { keyId: 0, cipher: "AES-256-CBC", digest: "SHA256", peerId: 0 },
      packet:
        "48000000b84c32c937c64f673c8003805fa495dabc5153aecf7a6e46eb904aacd5326a15a0a1a2a3a4a5a6a7a8a9aaabacadaeaf98262f76f5ad4da84db700f640fde13e012c410cf1a43df88708c5523f7afd9f",
      payload: ping,
    },
    {
      name: "AES-128-CBC, SHA1, DATA_V1",
      facts: { keyId: 0, cipher: "AES-128-CBC", digest: "SHA1", peerId: undefined },
      packet:
        "306fb625ba9500c2a0870dfdc646334e659ef23d4da0a1a2a3a4a5a6a7a8a9aaabacadaeaf5d2d17e85da4370f2e29268958289c6fba9d5c4f2fca8b92eacf0321d334fc10",
      payload: ping,
    },
    {
      name: "AES-256-CBC, SHA512, DATA_V2, compression byte",
      facts: { keyId: 0, cipher: "AES-256-CBC", digest: "SHA512", peerId: 0 },
      packet:
        "480000000b9d41c0b8da4f77e508fe76869fa77f59d4a78e13b979c7ca8a0e7053cf01efd30a98526189afd21b32cd5f3f7dbe809eda45560811241f4afc1cc9ad3bee51a0a1a2a3a4a5a6a7a8a9aaabacadaeafd600ff014d42bc59e05e249e7b14c7c5c0dc0404896f99b3de768ba91636378d",
      payload: `fa${ping}`,
    },
  ] as const

  for (const { name, facts, packet, payload } of vectors) {
    test(`${name}: opens the vector, packet id 1`, () => {
      const opener = openerOf(facts)
      expect(opened(opener, Uint8Array.fromHex(packet))).toBe(payload)
      expect(opener.packetId).toBe(1)
    })

    test(`${name}: refuses it with any one bit behind the head flipped, and every shorter one`, () => {
      const opener = openerOf(facts)
      const bytes = Uint8Array.fromHex(packet)
      for (let at = facts.peerId === undefined ? 1 : 4; at < bytes.length; at++) {
        const altered = bytes.slice()
        altered[at]! ^= 1 << (at % 8)
        expect(opened(opener, altered)).toBe(Drop.authentication)
      }
      for (let length = 1; length < bytes.length; length++)
        expect(opened(opener, bytes.subarray(0, length))).toBeOneOf([Drop.short, Drop.authentication])
    })
  }

  for (const cipher of ["AES-128-CBC", "AES-192-CBC", "AES-256-CBC"] as const)
    for (const digest of ["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"] as const)
      test(`${cipher} with ${digest} gives back every length of payload, each time under another vector`, () => {
        const facts = { keyId: 3, cipher, digest, peerId: 9 }
        const { sealer } = formatOf(sliceKeyBlock(keyBlock, facts)!, nonces(), newReplay)
        const opener = openerOf(facts)
        const seen = new Set<string>()
        for (let length = 1; length <= 40; length++) {
          const payload = keyBlock.subarray(0, length)
          const packet = sealed(sealer, payload)
          seen.add(packet.subarray(4 + sealer.overhead - 24, 4 + sealer.overhead - 8).toHex())
          expect(opened(opener, packet)).toBe(payload.toHex())
          expect(opener.packetId).toBe(length)
        }
        expect(seen.size).toBe(40)
      })

  test("with padding that is none, authentic as it is, is malformed", () => {
    const cipherKey = keyBlock.slice(0, 16)
    const hmacKey = keyBlock.slice(64, 84)
    const key = { cipher: "AES-128-CBC", digest: "SHA1", cipherKey, hmacKey } as const
    for (const padding of [0, 17, 255, 12]) {
      // packet id and payload fill the block, whose last byte is taken for padding
      memory.bytes.fill(padding, 37, 53)
      const [iv, mac] = [memory.at(21, 32), memory.at(1, 20)]
      expect(CbcHmac.create(key, "seal").seal(iv, 16, mac)).toBe(16)
      memory.bytes[0] = 0x30
      const opener = new CbcOpener(CbcHmac.create(key, "open"), newReplay())
      expect(opener.open(memory, 0, 53)).toBe(Drop.malformed)
    }
  })

  test("ids end before they would wrap, and call for a new key long before", () => {
    const key = sliceKeyBlock(keyBlock, { keyId: 0, cipher: "AES-128-CBC", digest: "SHA1", peerId: 1 })!
    const sealer = formatOf(key, nonces(), newReplay).sealer as CbcSealer
    sealer.nextPacketId = 0xff00_0001
    expect(sealer.isWornOut).toBe(true)
    sealer.nextPacketId = 0x1_0000_0000
    expect(sealer.seal(memory, 0, 10)).toBe(Drop.packetIds)
  })
})

/** The keys of the vectors: E1 is the start of the key block. */
const factory = (cipher: AeadCipher, direction: "seal" | "open", usageLimit = 2 ** 36): EpochFactory => ({
  crypto,
  keyLength: { "AES-256-GCM": 32, "AES-192-GCM": 24, "AES-128-GCM": 16, "CHACHA20-POLY1305": 32 }[cipher],
  aead: (key) => Aead.create(cipher, key, direction),
  usageLimit,
})
const secret = keyBlock.slice(0, 32)
const ends = (usageLimit?: number) => {
  const unused = { reach() {} }
  const sealer = new EpochSealer(factory("AES-128-GCM", "seal", usageLimit), arena.allocate(12), secret, 0, 0)
  const receiving = factory("AES-128-GCM", "open", usageLimit)
  return { sealer, opener: new EpochOpener(receiving, arena.allocate(12), secret, newReplay, unused) }
}

describe("an epoch packet", () => {
  test.each([
    ["AES-256-GCM", "480000000001000000000001c2fe07b4542687fb92a265089da510f77994d54b50bc82bcbf8269100e42f469"],
    ["AES-128-GCM", "48000000000100000000000199adbeec51ccc1472c36aca86d5f3dda6dc88a313b1ede9d88f51f1d64333524"],
    ["CHACHA20-POLY1305", "4800000000010000000000018b29a9092b1b1b334d6325c85e3c6d19095b16f8df3442ad51dac34ff8761ef0"],
  ] as const)("%s seals and opens the vector (facts H.3)", (cipher, packet) => {
    const facts = { keyId: 0, cipher, peerId: 0, epoch: true }
    const { sealer } = formatOf(sliceKeyBlock(keyBlock, facts)!, nonces(), newReplay)
    expect(sealed(sealer, PING_MAGIC).toHex()).toBe(packet)
    const opener = openerOf(facts)
    expect(opened(opener, Uint8Array.fromHex(packet))).toBe(ping)
    expect(opener.packetId).toBe(1)
  })

  test("is OpenVPN 3's own (facts H.2), in epochs 1 and 4", () => {
    const letters = new TextEncoder().encode("abcdefgh01234567ABCDEFGHjkuchenl")
    const key = Uint8Array.from({ length: 32 }, (_, index) => letters[index]! ^ index)
    const nonce = arena.allocate(12)
    const sealer = new EpochSealer(factory("AES-256-GCM", "seal"), nonce, key, 0, 0)
    Object.assign(sealer, { head: 0x07000017 })
    const text = new TextEncoder().encode("The quick little fox jumps over the bureaucratic hurdles")
    expect(sealed(sealer, text).toHex()).toBe(
      "0700001700010000000000013d98ba5b55f68e455addd90eb573e51852f4b555cdefaa5aa3fa246166df411deba23d2bebe44484376cfb5a61417c9ff450169758a93820a0b54cdd93ff0b01a3265ecf19d56a06",
    )
    expect(nonce.bytes.toHex()).toBe("82ca0094a2cdbecef132333c")
    sealer.reach(4)
    const packet = sealed(sealer, text)
    expect(packet.subarray(-16).toHex()).toBe("0ffff5913d39d75b18573b5748589a7d")
    expect(packet.subarray(4 + 14, 4 + 20).toHex()).toBe("36aab4d49ce6")
  })

  test("with any bit flipped is not authentic or names no key, and a shorter one neither", () => {
    const { sealer, opener } = ends()
    const packet = sealed(sealer, PING_MAGIC)
    for (let bit = 8; bit < packet.length * 8; bit++) {
      const altered = packet.slice()
      altered[bit >> 3]! ^= 1 << (bit & 7)
      expect(opened(opener, altered)).toBeOneOf([Drop.authentication, Drop.noKey])
    }
    for (let length = 1; length < packet.length; length++)
      expect(opened(opener, packet.subarray(0, length))).toBeOneOf([Drop.short, Drop.authentication])
    expect(opened(opener, Uint8Array.of(0x30, ...packet.subarray(4)))).toBe(Drop.malformed)
    expect(opened(opener, packet)).toBe(ping)
  })
})

describe("epochs", () => {
  test("a sender whose key has protected enough takes the next one, and the receiver follows", () => {
    const { sealer, opener } = ends(10)
    const epochs: Array<number> = []
    for (let count = 0; count < 20; count++) {
      const packet = sealed(sealer, PING_MAGIC)
      epochs.push(packet[5]!)
      expect(opened(opener, packet)).toBe(ping)
    }
    // Two of the limit a packet: the sixth is the last one of its epoch.
    expect(epochs).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4])
  })

  test("a receiver takes the one before and sixteen to come, and judges each one's ids by themselves", () => {
    const { sealer, opener } = ends()
    const packets = Array.from({ length: 20 }, (_, index) => {
      sealer.reach(index + 1)
      return sealed(sealer, PING_MAGIC)
    })
    expect(opened(opener, packets[17]!)).toBe(Drop.noKey)
    expect(opened(opener, packets[16]!)).toBe(ping)
    expect(opener.replay.accept(0, opener.packetId)).toBe(true)
    expect(opened(opener, packets[14]!)).toBe(Drop.noKey)
    expect(opened(opener, packets[15]!)).toBe(ping)
    expect(opener.replay.accept(0, opener.packetId)).toBe(true)
    expect(opened(opener, packets[15]!)).toBe(ping)
    expect(opener.replay.accept(0, opener.packetId)).toBe(false)
    expect(opened(opener, packets[19]!)).toBe(ping)
    expect(opened(opener, packets[16]!)).toBe(Drop.noKey)
  })

  test("a forged packet of a later epoch moves nothing", () => {
    const { sealer, opener } = ends()
    const first = sealed(sealer, PING_MAGIC)
    sealer.reach(9)
    const later = sealed(sealer, PING_MAGIC)
    later[20]! ^= 1
    expect(opened(opener, later)).toBe(Drop.authentication)
    expect(opened(opener, first)).toBe(ping)
  })

  test("the sender is never behind what was received, and never goes back", () => {
    const key = sliceKeyBlock(keyBlock, { keyId: 0, cipher: "AES-256-GCM", peerId: 1, epoch: true })!
    const [client, server] = [formatOf(key, nonces(), newReplay), formatOf(mirrored(key), nonces(), newReplay)]
    const far = server.sealer as EpochSealer
    far.reach(5)
    expect(opened(client.opener, sealed(far, PING_MAGIC))).toBe(ping)
    expect((client.sealer as EpochSealer).epoch).toBe(5)
    ;(client.sealer as EpochSealer).reach(2)
    expect((client.sealer as EpochSealer).epoch).toBe(5)
  })

  test("that come near their end call for a new key, and do not pass it", () => {
    const { sealer } = ends()
    sealer.reach(0xf000)
    expect(sealer.isWornOut).toBe(true)
    sealer.reach(0xffff)
    sealer.counter = 2 ** 48 - 1
    expect(sealer.seal(memory, 0, 10)).toBe(Drop.packetIds)
  })

  test("a counter that is used up takes the next epoch", () => {
    const { sealer } = ends()
    sealer.counter = 2 ** 48 - 2
    expect(sealed(sealer, PING_MAGIC).subarray(4, 12).toHex()).toBe("0001fffffffffffe")
    expect(sealed(sealer, PING_MAGIC).subarray(4, 12).toHex()).toBe("0002000000000001")
  })
})
