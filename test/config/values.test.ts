import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { formatIpv6, parseIpv6 } from "../../src/config/address.ts"
import { decodeBase64 } from "../../src/config/base64.ts"
import { cipherEntries, digest } from "../../src/config/ciphers.ts"
import { editDistance, nearest } from "../../src/config/spelling.ts"
import * as values from "../../src/config/values.ts"

const read = <A>(grammar: values.Grammar<A>, text: string) => {
  const result = grammar.read(text)
  return Result.isSuccess(result) ? result.success : `expected ${result.failure}`
}

test("whole numbers keep to their range and to decimal digits", () => {
  const grammar = values.integer("n", 0, 10)
  expect(["0", "10", "007"].map((text) => read(grammar, text))).toEqual([0, 10, 7])
  for (const text of ["11", "-1", "", " 1", "1.5", "1e1", "0x1", "ten", "99999999999999999999"]) {
    expect(read(grammar, text)).toBe("expected a whole number from 0 to 10")
  }
  expect(Object.is(read(grammar, "-0"), 0)).toBe(true)
})

test("hosts are names or addresses", () => {
  for (const text of [
    "a",
    "vpn-1.example.com",
    "10.0.0.1",
    "::1",
    "fd00::1",
    "_srv.example.",
    "xn--bcher-kva.example",
  ]) {
    expect(read(values.host, text)).toBe(text)
  }
  for (const text of ["", "a b", "-a", "a/24", "host:1194", "a".repeat(256), "über.example"]) {
    expect(read(values.host, text)).toBe("expected a host name or an IP address")
  }
})

test("IPv4 addresses have four numbers without leading zeros", () => {
  expect(read(values.ipv4, "255.0.10.1")).toBe("255.0.10.1")
  for (const text of ["1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1..2.3"]) {
    expect(read(values.ipv4, text)).toBe("expected an IPv4 address")
  }
})

test("netmasks are ones followed by zeros", () => {
  const cases = [
    ["0.0.0.0", 0],
    ["128.0.0.0", 1],
    ["255.255.255.0", 24],
    ["255.255.255.254", 31],
    ["255.255.255.255", 32],
  ] as const
  for (const [mask, prefix] of cases) {
    expect(read(values.netmask, mask)).toBe(prefix)
    expect(values.netmask.write(prefix)).toBe(mask)
  }
  for (const text of ["255.0.255.0", "0.0.0.255", "24", "255.255.255"])
    expect(read(values.netmask, text)).toStartWith("expected")
})

describe("IPv6 addresses", () => {
  test("are written as RFC 5952 says", () => {
    const cases = [
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"],
      ["0:0:1:0:0:0:0:1", "0:0:1::1"],
      ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ] as const
    for (const [text, canonical] of cases) expect(formatIpv6(parseIpv6(text)!)).toBe(canonical)
  })

  test("that are malformed are refused", () => {
    for (const text of [
      "",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "12345::",
      "g::",
      "1:2:3:4:5:6:7::8",
      "::1.2.3",
      "fe80::1%eth0",
    ]) {
      expect(parseIpv6(text)).toBeUndefined()
    }
  })

  test("may have a prefix length", () => {
    expect(read(values.ipv6Prefix, "fd00::1/64")).toEqual({ address: "fd00::1", prefix: 64 })
    expect(read(values.ipv6Prefix, "fd00::1")).toEqual({ address: "fd00::1", prefix: 64 })
    for (const text of ["fd00::1/129", "fd00::1/", "fd00::1/-1", "10.0.0.0/8"])
      expect(read(values.ipv6Prefix, text)).toStartWith("expected")
  })
})

test("fingerprints are 32 bytes in hex with colons", () => {
  const hex = "0A:".repeat(31)
  expect(read(values.sha256Fingerprint, `${hex}ff`)).toBe(`${"0a".repeat(31)}ff`)
  expect(values.sha256Fingerprint.write(`${"0a".repeat(31)}ff`)).toBe(`${hex}FF`)
  expect(read(values.sha256Fingerprint, `${hex}f`)).toStartWith("expected")
})

test("base64 is strict about alphabet and padding", () => {
  for (const text of ["", "AA==", "AAA=", "AAAA", "/+9a"])
    expect(Buffer.from(decodeBase64(text)!).toString("base64")).toBe(text)
  for (const text of ["A", "AA", "AAA", "A===", "AA=A", "A-_A", "AA A"]) expect(decodeBase64(text)).toBeUndefined()
})

test("cipher lists: what is offered, what OpenVPN has and we have not, what nobody knows", () => {
  expect(cipherEntries("aes-256-gcm:AES-256-CFB:?FOO:BAR")).toEqual([
    { tag: "offered", cipher: "AES-256-GCM" },
    { tag: "unsupported", name: "AES-256-CFB" },
    { tag: "unknown", name: "FOO", optional: true },
    { tag: "unknown", name: "BAR", optional: false },
  ])
  expect(cipherEntries("DEFAULT")).toHaveLength(3)
})

test("digests go by all of their usual names", () => {
  expect(["sha256", "SHA-256", "SHA2-256", "RSA-SHA256", "MD5", "SHA1", "SHA3-256", "none"].map(digest)).toEqual([
    "SHA256",
    "SHA256",
    "SHA256",
    "SHA256",
    "MD5",
    "SHA1",
    undefined,
    undefined,
  ])
})

test("the nearest name counts a swap of neighbours once, and is not far away", () => {
  expect(editDistance("remtoe", "remote")).toBe(1)
  expect(editDistance("kitten", "sitting")).toBe(3)
  expect(nearest("data-ciphers-fallbacks", ["data-ciphers", "data-ciphers-fallback"])).toBe("data-ciphers-fallback")
  expect(nearest("dev", ["verb"])).toBeUndefined()
})
