import { ptr } from "bun:ffi"
import { afterAll, describe, expect, test } from "bun:test"
import { Aead, type AeadCipher, OpenSslError, tagLength } from "../../src/openssl/index.ts"

/** One page of memory; every address below is an offset into it. */
const page = new Uint8Array(new ArrayBuffer(8192))
const base: number = ptr(page)
const [nonce, aad, input, output, tag] = [0, 64, 1024, 4096, 7000]

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""))
const put = (offset: number, bytes: Uint8Array) => page.set(bytes, offset)
const got = (offset: number, length: number) => page.slice(offset, offset + length)

const open: Array<Aead> = []
function key(cipher: AeadCipher, bytes: Uint8Array, direction: "seal" | "open"): Aead {
  const aead = Aead.create(cipher, bytes, direction)
  open.push(aead)
  return aead
}
afterAll(() => {
  for (const aead of open) aead.free()
})

/** Seals into DATA packet order, head || tag || ciphertext, through memory that is not in place. */
function seal(aead: Aead, nonceBytes: Uint8Array, head: Uint8Array, plain: Uint8Array, aadBytes = head): string {
  put(nonce, nonceBytes)
  put(aad, aadBytes)
  put(input, plain)
  const written = aead.seal(
    base + nonce,
    base + aad,
    aadBytes.length,
    base + input,
    plain.length,
    base + output,
    base + tag,
  )
  expect(written).toBe(plain.length)
  return head.toHex() + got(tag, tagLength).toHex() + got(output, plain.length).toHex()
}

const K = Uint8Array.from({ length: 256 }, (_, i) => i)
const ping = hex("2a187bf3641eb4cb07ed2d0a981fc748")
const pingNonce = Uint8Array.of(0, 0, 0, 1, ...K.subarray(64, 72))
const pingHead = hex("48000000 00000001")

const pings: ReadonlyArray<readonly [AeadCipher, number, string]> = [
  ["AES-256-GCM", 32, "48000000000000013be635445161de888fc6b8f0396368c1e1d3004e0fa812021253797dec29cf6b"],
  ["AES-128-GCM", 16, "4800000000000001ef0a9f174e4dd130c6f00ab6ff13ea57f81b8714b8cd8e5b853004a780a8bde5"],
  ["CHACHA20-POLY1305", 32, "4800000000000001c7dbcfaf51c1dc5bc6f05679adbcd438249c493797b2d7f5945bcaf9ded73aa2"],
]

describe.each(pings)("%s", (cipher, keyLength, packet) => {
  const keyBytes = K.subarray(0, keyLength)
  const sealer = key(cipher, keyBytes, "seal")
  const opener = key(cipher, keyBytes, "open")

  /** Lays the packet out and opens it in place. */
  function openPacket(bytes: Uint8Array): number {
    put(nonce, pingNonce)
    put(aad, bytes.subarray(0, 8))
    put(tag, bytes.subarray(8, 24))
    put(input, bytes.subarray(24))
    return opener.open(base + nonce, base + aad, 8, base + input, bytes.length - 24, base + input, base + tag)
  }

  test("seals the keepalive ping as OpenVPN does, time after time", () => {
    expect(seal(sealer, pingNonce, pingHead, ping)).toBe(packet)
    expect(seal(sealer, pingNonce, pingHead, ping)).toBe(packet)
  })

  test("opens it in place", () => {
    expect(openPacket(hex(packet))).toBe(16)
    expect(got(input, 16)).toEqual(ping)
  })

  test("refuses a flip of any single bit, and opens the next packet", () => {
    const good = hex(packet)
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = good.slice()
      bad[bit >> 3]! ^= 1 << (bit & 7)
      expect(openPacket(bad)).toBe(-1)
    }
    expect(openPacket(good)).toBe(16)
  })

  test("refuses another nonce", () => {
    expect(openPacket(hex(packet))).toBe(16)
    put(input, hex(packet).subarray(24))
    page[nonce + 3] = 2
    expect(opener.open(base + nonce, base + aad, 8, base + input, 16, base + output, base + tag)).toBe(-1)
  })

  test("seals in place to the same bytes, at every length", () => {
    for (const length of [0, 1, 15, 16, 17, 64, 1399, 1400]) {
      const plain = Uint8Array.from({ length }, (_, i) => (i * 7) & 255)
      const apart = seal(sealer, pingNonce, pingHead, plain)
      put(input, plain)
      expect(sealer.seal(base + nonce, base + aad, 8, base + input, length, base + input, base + tag)).toBe(length)
      expect(pingHead.toHex() + got(tag, 16).toHex() + got(input, length).toHex()).toBe(apart)
      expect(openPacket(hex(apart))).toBe(length)
      expect(got(input, length)).toEqual(plain)
    }
  })

  test("writes nothing past the ciphertext and the tag", () => {
    page.fill(0xee, output, output + 64)
    page.fill(0xee, tag, tag + 64)
    seal(sealer, pingNonce, pingHead, ping)
    expect(got(output + 16, 48)).toEqual(new Uint8Array(48).fill(0xee))
    expect(got(tag + 16, 48)).toEqual(new Uint8Array(48).fill(0xee))
  })

  test("is made for one direction", () => {
    const at = base + input
    expect(sealer.open(base + nonce, base + aad, 8, at, 16, at, base + tag)).toBe(-1)
    expect(opener.seal(base + nonce, base + aad, 8, at, 16, at, base + tag)).toBe(-1)
  })

  test("refuses a key of another length", () => {
    expect(() => Aead.create(cipher, K.subarray(0, keyLength - 8), "seal")).toThrow(OpenSslError)
    expect(() => Aead.create(cipher, K.subarray(0, keyLength + 1), "open")).toThrow(`not ${keyLength}`)
  })

  test("does nothing after free, however often", () => {
    const short = Aead.create(cipher, keyBytes, "seal")
    short.free()
    short.free()
    expect(short.seal(base + nonce, base + aad, 8, base + input, 16, base + output, base + tag)).toBe(-1)
  })
})

test("DATA_V1 authenticates the packet id alone", () => {
  const sealer = key("AES-256-GCM", K.subarray(0, 32), "seal")
  expect(seal(sealer, pingNonce, hex("30 00000001"), ping, hex("00000001"))).toBe(
    "300000000121555309ee48f8dad080917adf916bbee1d3004e0fa812021253797dec29cf6b",
  )
})

test("the data packet of OpenVPN 3's own unit test", () => {
  const letters = new TextEncoder().encode("abcdefgh01234567ABCDEFGHjkuchenl")
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => letters[i % 32]! ^ i)
  const sealer = key("AES-256-GCM", bytes.subarray(0, 32), "seal")
  const plain = new TextEncoder().encode("The quick little fox jumps over the bureaucratic hurdles")
  const nonceBytes = Uint8Array.of(0, 0, 0, 1, ...bytes.subarray(64, 72))
  expect(seal(sealer, nonceBytes, hex("07000017 00000001"), plain)).toBe(
    hex(
      "07000017 00000001 1fdd908f0e9dc25e79d832020d58e73f 2262f977d6bb2118fa0ea82e6b1706d949aefcb5efcbbacd5c09a9ab45f4d391d3f68794cb0b82c3d33389b61622b3281598e2ff6d5cc38b",
    ).toHex(),
  )
})

test("the key is copied: wiping the caller's changes nothing", () => {
  const mine = K.slice(0, 32)
  const sealer = key("AES-256-GCM", mine, "seal")
  mine.fill(0)
  expect(seal(sealer, pingNonce, pingHead, ping)).toBe(pings[0]![2])
})

test("thousands of keys made and freed leave no memory behind", () => {
  const cycle = () => Aead.create("AES-256-GCM", K.subarray(0, 32), "seal").free()
  for (let i = 0; i < 2_000; i++) cycle()
  Bun.gc(true)
  const before = process.memoryUsage.rss()
  for (let i = 0; i < 50_000; i++) cycle()
  Bun.gc(true)
  // A context that is not freed costs about 1 KiB: 50 MiB here.
  expect(process.memoryUsage.rss() - before).toBeLessThan(16 * 1024 * 1024)
})
