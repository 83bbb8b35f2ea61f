/** tls-crypt-v2 with its early negotiation, and dynamic tls-crypt. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ControlWrapping } from "../../src/config/profile.ts"
import { crypto } from "../../src/openssl/index.ts"
import { concat, empty, readU16, u16 } from "../../src/protocol/bytes.ts"
import { readEarlyNegotiation } from "../../src/protocol/earlynegotiation.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { makeWrap } from "../../src/protocol/wrap.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"
import { Pair, pushReply, staticKey, timers, tlsAuth, tlsCrypt, tlsCryptV2 } from "./pair.ts"

const hex = (text: string) => Uint8Array.fromHex(text)

/** As a server makes it: tag || AES-256-CTR(Kc || metadata) || length. */
const wrapClientKey = (serverKey: Uint8Array, clientKey: Uint8Array, metadata: Uint8Array): Uint8Array => {
  const plaintext = concat(clientKey, metadata)
  const length = u16(32 + plaintext.length + 2)
  const tag = crypto.hmac("SHA256", serverKey.subarray(64, 96), length, plaintext)
  return concat(tag, crypto.aes256ctr(serverKey.subarray(0, 32), tag.subarray(0, 16), plaintext), length)
}

describe("the vectors of facts H.3", () => {
  const serverKey = Uint8Array.from({ length: 128 }, (_, index) => index)
  const wrapped = wrapClientKey(serverKey, staticKey, hex("010000000065000000"))

  test("a wrapped client key", () => {
    expect(wrapped).toHaveLength(299)
    expect(wrapped.subarray(0, 32).toHex()).toBe("3c57811d3c2e91a4eb921952dd3c602e1709510ca36dbfe1e1d79793b07cb3f5")
    expect(wrapped.subarray(32, 64).toHex()).toBe("7260d17c70466ed6d96ece7c5f88140ed6e20b2cfb9dd633d4fc04a51b2a6b63")
    expect(wrapped.subarray(-11).toHex()).toBe("64e1bec628fa9bf2b3012b")
    expect(crypto.hash("SHA256", wrapped).toHex()).toBe(
      "e0d2c72fa404a8c34c04c056477cc729e2fbda9b7c3958a1423e53d0da663786",
    )
  })

  test("the hard reset, with the wrapped key as it is behind it", () => {
    const wrapping: ControlWrapping = { ...tlsCryptV2, wrapped: Redacted.make(wrapped) } as ControlWrapping
    const packet = makeWrap(crypto, { wrapping, auth: "SHA1", role: "client", unixTime: 0x65000000 }).wrap({
      opcode: Opcode.HardResetClientV3,
      keyId: 0,
      sessionId: hex("0102030405060708"),
      acks: [],
      peerSessionId: undefined,
      messageId: 0,
      payload: empty,
    })
    expect(packet.toHex()).toBe(
      `5001020304050607080f00000165000000940ca060aab12891a46daf1cc8224c8a8825c2016b6fff09d4ce10a614ccc1d76fa29eb696${wrapped.toHex()}`,
    )
  })
})

describe("the early negotiation", () => {
  test.each([
    ["", false],
    ["000100020001", true],
    ["000100020000", false],
    ["00010002ffff", true],
    ["0007000301020300010002000100090000", true],
  ])("%s", (payload, resendWrappedKey) => {
    expect(readEarlyNegotiation(hex(payload))).toEqual(Result.succeed({ resendWrappedKey }))
  })

  test.each(["00", "000100", "0001000200", "0001000101", "00070003aabb", "0001000200010000"])(
    "%s is malformed",
    (payload) => expect(Result.isFailure(readEarlyNegotiation(hex(payload)))).toBe(true),
  )

  test("of random bytes is a value", () => {
    forEachSeed(2000, (seed) => {
      const random = new SeededRandom(seed)
      readEarlyNegotiation(random.bytes(random.below(40)).map((byte) => byte & random.below(8)))
    })
  })
})

describe("a session with tls-crypt-v2", () => {
  const patiently = { timers: { ...timers, handWindow: 900 }, connectTimeoutSeconds: 900 }
  const conditions = { loss: 0.3, duplication: 0.1, corruption: 0.05, delay: [5, 400] } as const

  test.each([false, true])("connects over a bad network; the server keeps nothing at first: %p", (cookie) => {
    forEachSeed(60, (seed) => {
      const pair = new Pair({ seed, conditions, wrapping: tlsCryptV2, client: patiently, server: { cookie } })
      expect(pair.connect(900_000).agree(0)).toBe(true)
    })
  })

  /** Opcode and whether the wrapped key is behind it, of what the client sends until it is connected. */
  const sent = (cookie: boolean, maxPacketSize = 1250) => {
    const packets: Array<readonly [opcode: number, carries: boolean, size: number]> = []
    const pair = new Pair({ wrapping: tlsCryptV2, client: { maxPacketSize }, server: { cookie } })
    pair.network.tap((from, packet) => {
      if (from !== pair.client) return
      const end = packet.subarray(-299)
      packets.push([packet[0]! >> 3, packet.length > 299 && end[0] === 0 && readU16(end, 1) === 0x070e, packet.length])
    })
    pair.connect()
    return packets
  }

  test("sends its wrapped key with the reset alone", () => {
    const [first, ...others] = sent(false)
    expect(first).toEqual([Opcode.HardResetClientV3, true, 54 + 299])
    expect(others.map(([, carries]) => carries)).not.toContain(true)
  })

  test("sends it again with message 1 when the server asks, and never a bare acknowledgement before", () => {
    const [, second, ...others] = sent(true)
    expect(second!.slice(0, 2)).toEqual([Opcode.ControlWkcV1, true])
    expect(others.map(([opcode]) => opcode)).not.toContain(Opcode.ControlWkcV1)
  })

  test("keeps to max-packet-size with it, while that leaves room for 16 bytes of TLS", () => {
    expect(sent(true, 600)[1]![2]).toBeLessThanOrEqual(600 - 28)
    expect(sent(true, 200)[1]![2]).toBeGreaterThan(200)
  })

  test("drops a reset whose payload is malformed", () => {
    const pair = new Pair({ wrapping: tlsCryptV2, server: { stop: "beforeReset" } })
    pair.network.pass(100)
    const payload = hex("0001000200")
    pair.server.forge({ opcode: Opcode.HardResetServerV2, keyId: 0, acks: [], messageId: 0, payload })
    pair.network.pass(100)
    expect(pair.client.session.drops).toEqual({ malformed: 1 })
  })
})

describe("dynamic tls-crypt", () => {
  const push = [`${pushReply},protocol-flags tls-ekm dyn-tls-crypt`]
  const server = { push, derivation: "tls-ekm", dynamicWrap: true } as const

  test.each([
    ["plain", { _tag: "Plain" } as const],
    ["tls-auth", tlsAuth(1)],
    ["tls-crypt", tlsCrypt],
    ["tls-crypt-v2", tlsCryptV2],
  ])("protects every later key state; the connection has %s", (_name, wrapping) => {
    const pair = new Pair({ wrapping, server }).connect()
    for (let keyId = 1; keyId <= 3; keyId++) {
      pair.client.session.renegotiate(pair.now)
      expect(pair.network.run(() => pair.client.keys.has(keyId) && pair.server.keys.has(keyId), 10_000)).toBe(true)
      expect(pair.agree(keyId)).toBe(true)
    }
    expect(pair.client.session.drops).toEqual({})
  })

  test("numbers its packets from 1, whatever the first key state came to", () => {
    const pair = new Pair({ wrapping: tlsCryptV2, server }).connect()
    pair.client.session.renegotiate(pair.now)
    const packet = pair.client.outgoing()!
    expect([packet[0], packet.subarray(9, 13).toHex()]).toEqual([(Opcode.SoftResetV1 << 3) | 1, "00000001"])
  })

  test("takes no later packet that only the first wrapping protects", () => {
    const pair = new Pair({ wrapping: tlsCrypt, server: { ...server, dynamicWrap: false } }).connect()
    pair.server.renegotiate(pair.now)
    pair.network.pass(100)
    expect(pair.client.session.drops).toEqual({ authentication: 1 })
  })
})
