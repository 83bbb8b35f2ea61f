import { describe, expect, test } from "bun:test"
import { Opener, Sealer } from "../../src/dataplane/datapacket.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { ReplayWindow } from "../../src/dataplane/replay.ts"
import { Arena } from "../../src/linux/index.ts"
import { Aead, type AeadCipher } from "../../src/openssl/aead.ts"
import { cipherKeyLength, PING_MAGIC } from "../../src/protocol/datachannel.ts"

type Cipher = AeadCipher

/** Key block 00..ff, client to server, payload the ping, packet id 1. */
const vectors: ReadonlyArray<{ cipher: Cipher; peerId: number | undefined; packet: string }> = [
  {
    cipher: "AES-256-GCM",
    peerId: 0,
    packet: "48000000000000013be635445161de888fc6b8f0396368c1e1d3004e0fa812021253797dec29cf6b",
  },
  {
    cipher: "AES-256-GCM",
    peerId: undefined,
    packet: "300000000121555309ee48f8dad080917adf916bbee1d3004e0fa812021253797dec29cf6b",
  },
  {
    cipher: "AES-192-GCM",
    peerId: 0,
    packet: "4800000000000001e9813c354321f6e0ce7094d106ce68c9c66ec192b80e04b64f076c72097e9d84",
  },
  {
    cipher: "AES-128-GCM",
    peerId: 0,
    packet: "4800000000000001ef0a9f174e4dd130c6f00ab6ff13ea57f81b8714b8cd8e5b853004a780a8bde5",
  },
  {
    cipher: "CHACHA20-POLY1305",
    peerId: 0,
    packet: "4800000000000001c7dbcfaf51c1dc5bc6f05679adbcd438249c493797b2d7f5945bcaf9ded73aa2",
  },
]

const keyBlock = Uint8Array.from({ length: 256 }, (_, i) => i)
const direction = (cipher: Cipher) => ({
  cipherKey: keyBlock.slice(0, cipherKeyLength[cipher]),
  implicitIv: keyBlock.slice(64, 72),
})
const arena = new Arena(1024 * 1024)

function sealer(cipher: Cipher, keyId: number, peerId: number | undefined): Sealer {
  const key = direction(cipher)
  return new Sealer(Aead.create(cipher, key.cipherKey, "seal"), arena.allocate(12), key, keyId, peerId)
}

function opener(cipher: Cipher): Opener {
  const key = direction(cipher)
  const replay = new ReplayWindow({ packets: 64, seconds: 15 })
  return new Opener(Aead.create(cipher, key.cipherKey, "open"), arena.allocate(12), key, replay)
}

describe.each([...vectors])("$cipher, peer id $peerId", ({ cipher, peerId, packet }) => {
  // An odd place in the memory, as in a TCP stream.
  const start = 7

  test("seals the vector", () => {
    const memory = arena.allocate(128)
    const sealing = sealer(cipher, 0, peerId)
    memory.bytes.set(PING_MAGIC, start + sealing.overhead)
    const length = sealing.seal(memory, start, PING_MAGIC.length)
    expect(memory.bytes.slice(start, start + length).toHex()).toBe(packet)
    sealing.free()
  })

  test("opens the vector", () => {
    const memory = arena.allocate(128)
    const bytes = Uint8Array.fromHex(packet)
    memory.bytes.set(bytes, start)
    const opening = opener(cipher)
    expect(opening.open(memory, start, bytes.length)).toBe(PING_MAGIC.length)
    expect(opening.packetId).toBe(1)
    expect(memory.bytes.slice(opening.payloadAt, opening.payloadAt + 16).toHex()).toBe(PING_MAGIC.toHex())
    opening.free()
  })

  test("refuses it with any one bit of head, packet id, tag or ciphertext flipped", () => {
    const memory = arena.allocate(128)
    const bytes = Uint8Array.fromHex(packet)
    const opening = opener(cipher)
    // In DATA_V1 the first byte is not authenticated: it only selects the key.
    for (let at = 1; at < bytes.length; at++) {
      memory.bytes.set(bytes, start)
      memory.bytes[start + at]! ^= 1 << (at % 8)
      expect(opening.open(memory, start, bytes.length)).toBe(Drop.authentication)
    }
    opening.free()
  })

  test("calls every shorter packet short or not authentic", () => {
    const memory = arena.allocate(128)
    const bytes = Uint8Array.fromHex(packet)
    const opening = opener(cipher)
    const shortest = (peerId === undefined ? 21 : 24) + 1
    for (let length = 1; length < bytes.length; length++) {
      memory.bytes.set(bytes, start)
      expect(opening.open(memory, start, length)).toBe(length < shortest ? Drop.short : Drop.authentication)
    }
    opening.free()
  })
})

test("the head carries key id, peer id and rising packet ids", () => {
  const memory = arena.allocate(256)
  const sealing = sealer("AES-128-GCM", 5, 0xfffffe)
  const heads = [1, 2, 3].map(() => {
    sealing.seal(memory, 0, 10)
    return memory.bytes.slice(0, 8).toHex()
  })
  expect(heads).toEqual(["4dfffffe00000001", "4dfffffe00000002", "4dfffffe00000003"])
  expect(sealing.overhead).toBe(24)
})

test("packet ids end before they would wrap", () => {
  const memory = arena.allocate(256)
  const sealing = sealer("AES-128-GCM", 0, 1)
  sealing.nextPacketId = 0xffff_ffff
  expect(sealing.seal(memory, 0, 10)).toBe(34)
  expect(memory.bytes.slice(4, 8).toHex()).toBe("ffffffff")
  expect(sealing.seal(memory, 0, 10)).toBe(Drop.packetIds)
  expect(sealing.seal(memory, 0, 10)).toBe(Drop.packetIds)
})

test("freeing a key wipes its nonce", () => {
  const key = direction("AES-128-GCM")
  const nonce = arena.allocate(12)
  const sealing = new Sealer(Aead.create("AES-128-GCM", key.cipherKey, "seal"), nonce, key, 0, 1)
  expect(nonce.bytes.slice(4)).toEqual(key.implicitIv)
  sealing.free()
  expect(nonce.bytes.every((byte) => byte === 0)).toBe(true)
})

test("a packet is OpenVPN 3's own (facts H.2)", () => {
  const letters = new TextEncoder().encode("abcdefgh01234567ABCDEFGHjkuchenl")
  const block = Uint8Array.from({ length: 256 }, (_, index) => letters[index % 32]! ^ index)
  const key = { cipherKey: block.slice(0, 32), implicitIv: block.slice(64, 72) }
  expect(key.cipherKey.toHex()).toBe("616361676163616f3838383838383838515351575153515f72726f7874787073")
  expect(key.implicitIv.toHex()).toBe("212321272123212f")
  const memory = arena.allocate(128)
  const sealing = new Sealer(Aead.create("AES-256-GCM", key.cipherKey, "seal"), arena.allocate(12), key, 0, 0)
  Object.assign(sealing, { head: 0x07000017 })
  const text = new TextEncoder().encode("The quick little fox jumps over the bureaucratic hurdles")
  memory.bytes.set(text, 24)
  expect(sealing.seal(memory, 0, text.length)).toBe(80)
  expect(memory.bytes.slice(0, 80).toHex()).toBe(
    "07000017000000011fdd908f0e9dc25e79d832020d58e73f2262f977d6bb2118fa0ea82e6b1706d949aefcb5efcbbacd5c09a9ab45f4d391d3f68794cb0b82c3d33389b61622b3281598e2ff6d5cc38b",
  )
})

test("a packet is minivpn's own (facts H.1)", () => {
  const memory = arena.allocate(128)
  const key = { cipherKey: new Uint8Array(16).fill(0x65), implicitIv: new Uint8Array(8).fill(0x67) }
  const sealing = new Sealer(Aead.create("AES-128-GCM", key.cipherKey, "seal"), arena.allocate(12), key, 0, 0)
  const text = new TextEncoder().encode("hello go tests\x02\x02")
  memory.bytes.set(text, sealing.overhead)
  expect(sealing.seal(memory, 0, text.length)).toBe(40)
  expect(memory.bytes.slice(0, 40).toHex()).toBe(
    "48000000000000016ac571106b388f465849c92cb509dfc694c686a0734b92c443b193d579efe1b8",
  )
})
