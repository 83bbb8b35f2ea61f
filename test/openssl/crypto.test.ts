import { describe, expect, test } from "bun:test"
import { crypto, OpenSslError, random } from "../../src/openssl/index.ts"
import type { Crypto, Random } from "../../src/protocol/ports.ts"

const port: Crypto = crypto
const randomPort: Random = random
const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""))
const ascii = (text: string) => new TextEncoder().encode(text)
/** The static key of the project's own vectors. */
const K = Uint8Array.from({ length: 256 }, (_, i) => i)

describe("hash", () => {
  test.each([
    ["MD5", "900150983cd24fb0d6963f7d28e17f72"],
    ["SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d"],
    ["SHA224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"],
    ["SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    ["SHA384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"],
    [
      "SHA512",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ],
  ] as const)('%s of "abc", whole and in parts', (digest, expected) => {
    expect(port.hash(digest, ascii("abc")).toHex()).toBe(expected)
    expect(port.hash(digest, ascii("a"), new Uint8Array(0), ascii("bc")).toHex()).toBe(expected)
  })

  test("of nothing and of more than the buffer holds", () => {
    expect(port.hash("MD5").toHex()).toBe("d41d8cd98f00b204e9800998ecf8427e")
    const million = new Uint8Array(1_000_000).fill(0x61)
    expect(port.hash("SHA256", million).toHex()).toBe(
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    )
  })
})

describe("hmac", () => {
  // RFC 2202 and RFC 4231, test case 2.
  test.each([
    ["MD5", "750c783e6ab0b503eaa86e310a5db738"],
    ["SHA1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"],
    ["SHA256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"],
    [
      "SHA512",
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ],
  ] as const)("%s", (digest, expected) => {
    const key = ascii("Jefe")
    expect(port.hmac(digest, key, ascii("what do ya want "), ascii("for nothing?")).toHex()).toBe(expected)
  })

  test("takes keys longer than a block, empty keys and empty data", () => {
    // RFC 4231, test case 6.
    const longKey = port.hmac(
      "SHA256",
      new Uint8Array(131).fill(0xaa),
      ascii("Test Using Larger Than Block-Size Key - Hash Key First"),
    )
    expect(longKey.toHex()).toBe("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    expect(port.hmac("SHA1", new Uint8Array(0)).toHex()).toBe("fbdb1d1b18aa6c08324b7d64b71fb76370690e1d")
  })

  test("authenticates a tls-auth packet as OpenVPN does", () => {
    const packet = hex("380102030405060708602941d9a95a08dd2d0892de37cd48c0953c774200000001650000000000000000")
    const tag = port.hmac(
      "SHA1",
      K.subarray(192, 212),
      packet.subarray(29, 37),
      packet.subarray(0, 9),
      packet.subarray(37),
    )
    expect(tag).toEqual(packet.subarray(9, 29))
  })
})

describe("aes256ctr", () => {
  test("NIST SP 800-38A F.5.5, in both directions", () => {
    const key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    const counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    const plain = hex("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51 30c81c46a35ce411")
    const sealed = hex("601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5 2b0930daa23de94c")
    expect(port.aes256ctr(key, counter, plain)).toEqual(sealed)
    expect(port.aes256ctr(key, counter, sealed)).toEqual(plain)
    expect(port.aes256ctr(key, counter, new Uint8Array(0))).toEqual(new Uint8Array(0))
  })

  test("opens a tls-crypt packet: the counter block is the tag's first half", () => {
    const packet = hex(
      "3801020304050607080000000165000000cfccca8dc0e5aba43f54ed925ae825837d70281fd40c461fdde5ff4c89d0c5bb677280b699",
    )
    const tag = packet.subarray(17, 49)
    const plain = port.aes256ctr(K.subarray(128, 160), tag.subarray(0, 16), packet.subarray(49))
    expect(plain.toHex()).toBe("0000000000")
    expect(port.hmac("SHA256", K.subarray(192, 224), packet.subarray(0, 17), plain)).toEqual(tag)
  })

  test("refuses a key or a counter block of the wrong length", () => {
    const data = new Uint8Array(5)
    expect(() => port.aes256ctr(K.subarray(0, 16), K.subarray(0, 16), data)).toThrow(OpenSslError)
    expect(() => port.aes256ctr(K.subarray(0, 32), K.subarray(0, 12), data)).toThrow("12 bytes, not 16")
  })
})

test("equal compares content, and lengths", () => {
  expect(port.equal(hex("010203"), hex("010203"))).toBe(true)
  expect(port.equal(hex("010203"), hex("010303"))).toBe(false)
  expect(port.equal(hex("010203"), hex("0102"))).toBe(false)
  expect(port.equal(new Uint8Array(0), new Uint8Array(0))).toBe(true)
})

test("input that is a view into a larger buffer is read at its offset", () => {
  const whole = ascii("xxabcxx")
  expect(port.hash("SHA1", whole.subarray(2, 5)).toHex()).toBe("a9993e364706816aba3e25717850c26c9cd0d89d")
})

test("results are the caller's own: a later call leaves them alone", () => {
  const first = port.hash("MD5", ascii("abc"))
  port.hash("MD5", ascii("abd"))
  expect(first.toHex()).toBe("900150983cd24fb0d6963f7d28e17f72")
})

test("random bytes have the length asked for and differ", () => {
  expect(randomPort.bytes(0).length).toBe(0)
  expect(randomPort.bytes(70_000).length).toBe(70_000)
  expect(randomPort.bytes(32)).not.toEqual(randomPort.bytes(32))
})
