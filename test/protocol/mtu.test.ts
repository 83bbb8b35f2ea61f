import { describe, expect, test } from "bun:test"
import { OCC_MAGIC, PING_MAGIC, readDataHead } from "../../src/protocol/datachannel.ts"
import { controlPayloadLimit, mssFor } from "../../src/protocol/mtu.ts"

describe("the MSS clamp (facts C.10)", () => {
  const aead = { cipher: "AES-256-GCM", peerId: 7 } as const
  const standard = { size: 1492, counts: "mtu" } as const

  test("of mssfix 1492 mtu is the reference's, 20 less for inner IPv6", () => {
    expect(mssFor(standard, 1500, "udp", "ipv4", aead)).toEqual({ ipv4: 1400, ipv6: 1380 })
    expect(mssFor(standard, 1500, "udp", "ipv6", aead)).toEqual({ ipv4: 1380, ipv6: 1360 })
    expect(mssFor(standard, 1500, "tcp", "ipv4", aead)).toEqual({ ipv4: 1386, ipv6: 1366 })
  })

  test("gains the three bytes that DATA_V1 saves", () => {
    expect(mssFor(standard, 1500, "udp", "ipv4", { ...aead, peerId: undefined }).ipv4).toBe(1403)
  })

  test("leaves room for a CBC cipher's blocks and HMAC, and for a framing byte", () => {
    const cbc = (digest: "SHA1" | "SHA256") => ({ cipher: "AES-256-CBC", digest, peerId: 7 }) as const
    expect(mssFor(standard, 1500, "udp", "ipv4", cbc("SHA256")).ipv4).toBe(1363)
    expect(mssFor(standard, 1500, "udp", "ipv4", cbc("SHA1")).ipv4).toBe(1379)
    const framed = (form: "lzo" | "stub-v2") => ({ ...aead, compression: { form, decompress: false } })
    expect(mssFor(standard, 1500, "udp", "ipv4", framed("lzo")).ipv4).toBe(1399)
    expect(mssFor(standard, 1500, "udp", "ipv4", framed("stub-v2")).ipv4).toBe(1400)
  })

  test("leaves room for the header of an Ethernet frame", () => {
    expect(mssFor(standard, 1500, "udp", "ipv4", { ...aead, isEthernet: true }).ipv4).toBe(1386)
  })

  test("counts the UDP payload without mtu, and only inner headers with fixed", () => {
    expect(mssFor({ size: 1450, counts: "payload" }, 1500, "udp", "ipv4", aead).ipv4).toBe(1450 - 24 - 40)
    expect(mssFor({ size: 1400, counts: "fixed" }, 1500, "tcp", "ipv6", aead)).toEqual({ ipv4: 1360, ipv6: 1340 })
  })

  test("is off when asked for, and never above the tun MTU", () => {
    expect(mssFor("off", 1500, "udp", "ipv4", aead)).toEqual({ ipv4: 0, ipv6: 0 })
    expect(mssFor({ size: 0, counts: "mtu" }, 1500, "udp", "ipv4", aead)).toEqual({ ipv4: 0, ipv6: 0 })
    expect(mssFor(standard, 1300, "udp", "ipv4", aead)).toEqual({ ipv4: 1260, ipv6: 1240 })
    expect(mssFor({ size: 10, counts: "mtu" }, 1500, "udp", "ipv4", aead).ipv6).toBeGreaterThan(0)
  })
})

test("the control payload fills max-packet-size when four acknowledgements go with it", () => {
  const head = 1 + 8 + (1 + 16 + 8) + 4
  expect(controlPayloadLimit(1250, "udp", "ipv4", 0) + head).toBe(1222)
  expect(controlPayloadLimit(1250, "udp", "ipv4", 8 + 32 + 16) + head + 40).toBe(1206)
  expect(controlPayloadLimit(1250, "udp", "ipv6", 0) + head).toBe(1202)
  expect(controlPayloadLimit(154, "udp", "ipv6", 72)).toBe(16)
})

test("data heads of both versions", () => {
  expect(readDataHead(Uint8Array.of(0x33))).toEqual({ keyId: 3, peerId: undefined, length: 1 })
  expect(readDataHead(Uint8Array.of(0x4f, 1, 2, 3))).toEqual({ keyId: 7, peerId: 0x010203, length: 4 })
  for (const packet of [[], [0x48, 0, 0], [0x20, 0, 0, 0]])
    expect(readDataHead(Uint8Array.from(packet))).toBeUndefined()
})

test("the magic payloads", () => {
  expect(PING_MAGIC.toHex()).toBe("2a187bf3641eb4cb07ed2d0a981fc748")
  expect(OCC_MAGIC.toHex()).toBe("287f346bd4ef7a812d56b8d3afc5459c")
})
