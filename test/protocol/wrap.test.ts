/** Control packets on the wire: official and own vectors, wrapping round trips, what is refused. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ControlWrapping, DigestName } from "../../src/config/profile.ts"
import { crypto } from "../../src/openssl/index.ts"
import { empty } from "../../src/protocol/bytes.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { type ControlPacket, decodeBody, decodeHead, encodeBody, encodeHead } from "../../src/protocol/packet.ts"
import { keySlots } from "../../src/protocol/statickey.ts"
import { makeWrap, type Wrap } from "../../src/protocol/wrap.ts"
import { staticKey, tlsAuth, tlsCrypt } from "./pair.ts"

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(/\s/g, ""))
const plain: ControlWrapping = { _tag: "Plain" }

const wrapFor = (wrapping: ControlWrapping, role: "client" | "server", auth: DigestName = "SHA1") =>
  makeWrap(crypto, { wrapping, auth, role, unixTime: 0x65000000 })

const clientReset: ControlPacket = {
  opcode: Opcode.HardResetClientV2,
  keyId: 0,
  sessionId: hex("0102030405060708"),
  acks: [],
  peerSessionId: undefined,
  messageId: 0,
  payload: empty,
}
const serverReset: ControlPacket = {
  ...clientReset,
  opcode: Opcode.HardResetServerV2,
  sessionId: hex("1112131415161718"),
  acks: [0],
  peerSessionId: hex("0102030405060708"),
}

const unwrap = (wrap: Wrap, packet: Uint8Array, now = 0) => {
  const head = decodeHead(packet)
  if (Result.isFailure(head)) return Result.fail(head.failure)
  return Result.map(wrap.unwrap(now, head.success, packet), (unwrapped) => {
    wrap.accept(now, unwrapped)
    return { ...head.success, ...unwrapped.body }
  })
}
const failure = <A, E>(result: Result.Result<A, E>) => (Result.isFailure(result) ? result.failure : undefined)

describe("vectors with the static key 00..ff (facts H.3)", () => {
  const cases: ReadonlyArray<readonly [string, ControlWrapping, DigestName, "client" | "server", string]> = [
    ["plain", plain, "SHA1", "client", "3801020304050607080000000000"],
    [
      "tls-crypt, client",
      tlsCrypt,
      "SHA1",
      "client",
      "3801020304050607080000000165000000cfccca8dc0e5aba43f54ed925ae825837d70281fd40c461fdde5ff4c89d0c5bb677280b699",
    ],
    [
      "tls-crypt, server",
      tlsCrypt,
      "SHA1",
      "server",
      "4011121314151617180000000165000000916c21bc5d66000ca71f818325982ca7144e1e830dfa355ba6a36731fc080406eb9321d5176ad919439633cb4220c3a5bb",
    ],
    [
      "tls-auth 1, SHA1",
      tlsAuth(1),
      "SHA1",
      "client",
      "380102030405060708602941d9a95a08dd2d0892de37cd48c0953c774200000001650000000000000000",
    ],
    [
      "tls-auth 1, SHA256",
      tlsAuth(1),
      "SHA256",
      "client",
      "3801020304050607087a8e3ff36fd2511a4d423bcba2d6cda3d982f8d32959f098f4e0d7e5b89aa9f700000001650000000000000000",
    ],
    [
      "tls-auth 1, SHA512",
      tlsAuth(1),
      "SHA512",
      "client",
      "380102030405060708fa11ec70ecbd966e05067328ef897e13376642de8572a6289e3a0990be16162183342ac6b803d882316dddea8c32be073d2954300efabad330c2c6b5b88a9ea400000001650000000000000000",
    ],
    [
      "tls-auth without direction, SHA1",
      tlsAuth(undefined),
      "SHA1",
      "client",
      "38010203040506070883fe3c468ab30a06c73e615e80ad44f527f758b200000001650000000000000000",
    ],
  ]
  for (const [name, wrapping, auth, role, expected] of cases)
    test(name, () => {
      const packet = role === "client" ? clientReset : serverReset
      expect(wrapFor(wrapping, role, auth).wrap(packet).toHex()).toBe(expected)
      // The receiver's direction is the opposite one; without direction it is the same.
      const turned = wrapping._tag === "TlsAuth" && wrapping.direction === 1 ? tlsAuth(0) : wrapping
      const peer = wrapFor(turned, role === "client" ? "server" : "client", auth)
      expect(unwrap(peer, hex(expected))).toEqual(Result.succeed(packet))
    })
})

describe("packets captured from OpenVPN (facts H.2)", () => {
  const key = Redacted.make(
    hex(`37268ea8f95d7f71f9fb8fc03770c460daf714a483d815c013ce0a537efc18f2
      8f4f172669d9e6a413bac6741d8ea05400f49b7fd6326470f23798c606bf53d4
      de63ebc64ec59d57ce5d04d5b62e68b53ca6e5354351097fa370446c4d269f18
      7bb6ae54af2dc70ff7317fe2f8754b8282aad4202f9fa42c8640245d883e2c54
      a0c1c489a036cf3a8964d8d289c1583b9447c262b1da5fd167a5d27bd5ac5143
      17bc2343a31a2efc38dd920d910375f51c2e27f3afd36c49269da079f7ce466e
      bb0f9ad13e9bbb4665974e6bc24b513c5700393bf4a3e7f967e2f384069ac8a8
      e78b18b15604993fd16515cce9c0f3e42b4126b999005ade802797b0eeb8b9e6`),
  )

  test("a client's tls-auth reset", () => {
    const server = wrapFor({ _tag: "TlsAuth", key, direction: 0 }, "server")
    const packet = "38de694c5c7bfba27493537c1ded4e781529ae7cfe4b8c6d6b2b51f05a0000000161d3bf6c0000000000"
    expect(unwrap(server, hex(packet))).toEqual(Result.succeed({ ...clientReset, sessionId: hex("de694c5c7bfba274") }))
  })

  test("a client's tls-crypt reset", () => {
    const packet =
      "38f419cb12d1f9e48f0000000161d3f8e1330206f56802be44fbed905064e3db43416bec5e526719462b7eb90c96defc9b05c44879f7"
    expect(unwrap(wrapFor({ _tag: "TlsCrypt", key }, "server"), hex(packet))).toEqual(
      Result.succeed({ ...clientReset, sessionId: hex("f419cb12d1f9e48f") }),
    )
  })

  test("a plain reset and an ACK_V1", () => {
    const wrap = wrapFor(plain, "server")
    expect(unwrap(wrap, hex("386891923fa31034370000000000"))).toEqual(
      Result.succeed({ ...clientReset, sessionId: hex("6891923fa3103437") }),
    )
    expect(unwrap(wrap, hex("28aeb9afe1f01d79c80100000000dd85db535623b02e"))).toEqual(
      Result.succeed({
        opcode: Opcode.AckV1,
        keyId: 0,
        sessionId: hex("aeb9afe1f01d79c8"),
        acks: [0],
        peerSessionId: hex("dd85db535623b02e"),
        messageId: undefined,
        payload: empty,
      }),
    )
  })
})

describe("unwrapping", () => {
  const wrappings: ReadonlyArray<readonly [string, ControlWrapping, ControlWrapping]> = [
    ["tls-auth", tlsAuth(1), tlsAuth(0)],
    ["tls-crypt", tlsCrypt, tlsCrypt],
  ]
  for (const [name, ours, theirs] of wrappings) {
    test(`${name} refuses every single altered bit and every truncation`, () => {
      const client = wrapFor(ours, "client")
      const server = wrapFor(theirs, "server")
      const packet = server.wrap(serverReset)
      for (let bit = 8; bit < packet.length * 8; bit++) {
        const altered = packet.slice()
        altered[bit >> 3] = altered[bit >> 3]! ^ (1 << (bit & 7))
        expect(failure(unwrap(client, altered))).toBe("authentication")
      }
      for (let length = 0; length < packet.length; length++)
        expect(failure(unwrap(client, packet.subarray(0, length)))).toBeOneOf(["short", "authentication"])
      expect(Result.isSuccess(unwrap(client, packet))).toBe(true)
    })

    test(`${name} refuses a packet that came before, and one of our own`, () => {
      const client = wrapFor(ours, "client")
      const packet = wrapFor(theirs, "server").wrap(serverReset)
      expect(Result.isSuccess(unwrap(client, packet))).toBe(true)
      expect(failure(unwrap(client, packet))).toBe("replay")
      expect(failure(unwrap(client, client.wrap(serverReset)))).toBe("authentication")
    })
  }

  test("looks at the replay window and leaves its change to accept", () => {
    const client = wrapFor(tlsCrypt, "client")
    const packet = wrapFor(tlsCrypt, "server").wrap(serverReset)
    const head = Result.getOrThrow(decodeHead(packet))
    expect(Result.isSuccess(client.unwrap(0, head, packet))).toBe(true)
    expect(Result.isSuccess(client.unwrap(0, head, packet))).toBe(true)
  })
})

describe("decoding", () => {
  test("gives back what was encoded, with up to eight acknowledgements", () => {
    for (let count = 0; count <= 8; count++) {
      const body = {
        acks: Array.from({ length: count }, (_, index) => 0xfffffff0 + index),
        peerSessionId: count > 0 ? hex("a1a2a3a4a5a6a7a8") : undefined,
        messageId: 0xfffffffe,
        payload: hex("c0ffee"),
      }
      expect(decodeBody(Opcode.ControlV1, encodeBody(body))).toEqual(Result.succeed(body))
    }
  })

  test("refuses heads that are short, unknown or a data packet's", () => {
    const cases = [
      ["", "short"],
      ["38010203", "short"],
      ["080102030405060708", "opcode"],
      ["600102030405060708", "opcode"],
      ["48000000", "unexpected"],
      ["30", "unexpected"],
    ] as const
    for (const [packet, reason] of cases) expect(failure(decodeHead(hex(packet)))).toBe(reason)
    expect(decodeHead(encodeHead({ ...clientReset, keyId: 5 }))).toEqual(
      Result.succeed({ opcode: Opcode.HardResetClientV2, keyId: 5, sessionId: clientReset.sessionId }),
    )
  })

  test("refuses bodies with nine acknowledgements, without a peer or a message id, and an ACK_V1 of nothing", () => {
    const nine = `09${"00000001".repeat(9)}${"aa".repeat(8)}00000000`
    for (const body of ["", nine, "0100000000", "0100000000aabbccddeeff", "00000000"])
      expect(failure(decodeBody(Opcode.ControlV1, hex(body)))).toBe("malformed")
    expect(failure(decodeBody(Opcode.AckV1, hex("00")))).toBe("malformed")
  })
})

test("the static key's slots by direction", () => {
  const begin = (direction: 0 | 1 | undefined) => {
    const { send, receive } = keySlots(staticKey, direction)
    return [send.cipher[0], send.hmac[0], receive.cipher[0], receive.hmac[0]]
  }
  expect(begin(0)).toEqual([0, 64, 128, 192])
  expect(begin(1)).toEqual([128, 192, 0, 64])
  expect(begin(undefined)).toEqual([0, 64, 0, 64])
})
