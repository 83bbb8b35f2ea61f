/** The whole handshake against the scripted server with real TLS, in virtual time and over bad networks. */
import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { readU32 } from "../../src/protocol/bytes.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { type ControlPacket, decodeBody, decodeHead } from "../../src/protocol/packet.ts"
import { forEachSeed } from "../support/network.ts"
import { Pair, type PairOptions, pushReply, timers, tlsAuth, tlsCrypt } from "./pair.ts"

const patiently = { timers: { ...timers, handWindow: 900 }, connectTimeoutSeconds: 900 }
const ekmPush = `${pushReply},protocol-flags cc-exit tls-ekm`

describe("a handshake over a good network", () => {
  for (const tlsVersion of ["1.2", "1.3"] as const)
    for (const derivation of ["prf", "tls-ekm"] as const)
      test(`TLS ${tlsVersion} with ${derivation} ends with the same data keys at both ends`, () => {
        const push = [derivation === "prf" ? pushReply : ekmPush]
        const pair = new Pair({ tlsVersion, server: { derivation, push } }).connect()
        expect(pair.agree(0)).toBe(true)
        const [install] = pair.client.of("installKey")
        expect(install!.tls).toMatchObject({ version: `TLSv${tlsVersion}`, derivation })
        expect(pair.client.outputs.map((output) => output.type)).toEqual([
          "introducing",
          "pushed",
          "installKey",
          "useKey",
        ])
        expect(pair.now).toBeLessThan(200)
        expect(pair.client.session.drops).toEqual({})
      })
})

describe("a handshake over a network that loses 30 %, duplicates, reorders and delays", () => {
  const conditions = { loss: 0.3, duplication: 0.1, corruption: 0, delay: [5, 400] } as const
  const cases = [
    { name: "plain", wrapping: { _tag: "Plain" } },
    { name: "tls-auth", wrapping: tlsAuth(1) },
    { name: "tls-crypt", wrapping: tlsCrypt },
  ] as const
  for (const { name, wrapping } of cases)
    test(`${name}: both ends have the same keys in the end`, () => {
      forEachSeed(100, (seed) => {
        const tlsVersion = seed % 2 === 0 ? "1.2" : "1.3"
        const derivation = seed % 4 < 2 ? "prf" : "tls-ekm"
        const push = [derivation === "prf" ? pushReply : ekmPush]
        const pair = new Pair({
          seed,
          conditions,
          wrapping,
          tlsVersion,
          client: patiently,
          server: { derivation, push, unasked: seed % 3 !== 0 },
        }).connect(900_000)
        expect(pair.agree(0)).toBe(true)
      })
    })
})

test("a handshake succeeds although three packets in ten are corrupted", () => {
  const conditions = { loss: 0, duplication: 0, corruption: 0.3, delay: [5, 50] } as const
  forEachSeed(40, (seed) => {
    const wrapping = seed % 2 === 0 ? tlsCrypt : tlsAuth(1)
    const pair = new Pair({ seed, conditions, wrapping, client: patiently }).connect(900_000)
    expect(pair.agree(0)).toBe(true)
  })
})

describe("what goes over the wire", () => {
  const record = (options: PairOptions): ReadonlyArray<Sent> => {
    const pair = new Pair(options)
    const sent: Array<Sent> = []
    pair.network.tap((from, packet) => {
      const head = Result.getOrThrow(decodeHead(packet))
      const body = Result.getOrThrow(decodeBody(head.opcode, packet.subarray(9)))
      sent.push({ ...head, ...body, client: from === pair.client, size: packet.length })
    })
    pair.connect()
    return sent
  }

  test("the third packet is CONTROL_V1 with message id 1 and acknowledges message 0 only", () => {
    const [first, second, third] = record({})
    expect(first).toMatchObject({ opcode: Opcode.HardResetClientV2, keyId: 0, acks: [], messageId: 0, size: 14 })
    expect(second).toMatchObject({ opcode: Opcode.HardResetServerV2, acks: [0], messageId: 0, size: 26 })
    expect(third).toMatchObject({ opcode: Opcode.ControlV1, acks: [0], messageId: 1, client: true })
    expect(third!.peerSessionId).toEqual(second!.sessionId)
  })

  test("no datagram exceeds max-packet-size, headers included", () => {
    const sizes = record({ client: { maxPacketSize: 300, outerFamily: "ipv6" } }).filter(({ client }) => client)
    expect(Math.max(...sizes.map(({ size }) => size))).toBeLessThanOrEqual(300 - 48)
    expect(sizes.length).toBeGreaterThan(5)
  })

  test("every tls-auth and tls-crypt packet has a new replay id, a retransmission too", () => {
    const ids: Array<number> = []
    const conditions = { loss: 0.3, duplication: 0, corruption: 0, delay: [10, 10] } as const
    const pair = new Pair({ wrapping: tlsCrypt, conditions, client: patiently })
    pair.network.tap((from, packet) => {
      if (from === pair.client) ids.push(readU32(packet, 9))
    })
    pair.connect(900_000)
    expect(ids).toEqual(ids.map((_, index) => index + 1))
  })
})

test("the client introduces itself with options, credentials and what it can do", () => {
  const pair = new Pair().connect()
  expect(pair.server.introductions).toHaveLength(1)
  const [introduction] = pair.server.introductions
  expect(introduction).toMatchObject({
    options: "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client",
    username: "anna",
    password: "s3cret",
  })
  expect(introduction!.peerInfo.split("\n")).toEqual([
    "IV_VER=2.6.14",
    "IV_PLAT=linux",
    "IV_TCPNL=1",
    "IV_MTU=1600",
    "IV_NCP=2",
    "IV_CIPHERS=AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305",
    "IV_PROTO=8094",
    "IV_LZO_STUB=1",
    "IV_COMP_STUB=1",
    "IV_COMP_STUBv2=1",
    "",
  ])
})

test("PUSH_REQUEST goes after one second and then every five until the server pushes", () => {
  const pair = new Pair({ server: { unasked: false, stop: "beforePush" } })
  pair.network.pass(17_500)
  expect(pair.server.messages).toEqual(["PUSH_REQUEST", "PUSH_REQUEST", "PUSH_REQUEST", "PUSH_REQUEST"])
})

test("a PUSH_REPLY in several parts counts when it is complete, whatever the records", () => {
  const parts = ["PUSH_REPLY,route 10.1.0.0 255.255.0.0,push-continuation 2", `${pushReply},push-continuation 1`]
  const pair = new Pair({ server: { push: parts } }).connect()
  expect(pair.agree(0)).toBe(true)
  expect(pair.client.of("pushed")).toHaveLength(1)
})

test("key-derivation tls-ekm is the older way to ask for the exporter", () => {
  const push = [`${pushReply},key-derivation tls-ekm`]
  const pair = new Pair({ server: { push, derivation: "tls-ekm" } }).connect()
  expect(pair.agree(0)).toBe(true)
  expect(pair.client.of("installKey")[0]!.tls).toMatchObject({ derivation: "tls-ekm" })
})

test("without pull the keys follow the key exchange, with the cipher of the server's options string", () => {
  const optionsString = "V4,dev-type tun,cipher AES-128-GCM,auth SHA1,key-method 2,tls-server"
  const server = { optionsString, cipher: "AES-128-GCM", peerId: undefined, unasked: false } as const
  const pair = new Pair({ client: { pull: false }, server }).connect()
  expect(pair.agree(0)).toBe(true)
  expect(pair.server.messages).toEqual([])
})

test("without pull the two sides settle cipher, peer id and exporter by what they say in the key exchange", () => {
  const server = {
    peerInfo: "IV_PROTO=42\nIV_CIPHERS=CHACHA20-POLY1305:AES-256-GCM\n",
    ...({ cipher: "CHACHA20-POLY1305", derivation: "tls-ekm", peerId: "exported", unasked: false } as const),
  }
  const pair = new Pair({ client: { pull: false }, server }).connect()
  expect(pair.agree(0)).toBe(true)
  expect(pair.server.introductions[0]!.peerInfo).toContain("IV_PROTO=682\n")
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(10_000)
  expect(pair.client.keys.get(1)!.peerId).toBe(pair.client.keys.get(0)!.peerId)
})

interface Sent extends ControlPacket {
  readonly client: boolean
  readonly size: number
}

test("what tells the server who we are is announced once, before it is sent", () => {
  const pair = new Pair({ wrapping: tlsCrypt })
  const sent: Array<boolean> = []
  const { receive } = pair.server
  // The client's last flight of TLS, with its part of the key exchange, is what follows the announcement.
  pair.server.receive = (now, packet) => {
    sent.push(pair.client.of("introducing").length > 0)
    receive.call(pair.server, now, packet)
  }
  pair.connect()
  expect(sent[0]).toBe(false)
  expect(sent.at(-1)).toBe(true)
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(10_000)
  expect(pair.client.of("introducing")).toHaveLength(1)
})

test("without pull control packets after the first key are wrapped anew, and the exit is announced, where both know how", () => {
  const server = {
    peerInfo: "IV_PROTO=682\nIV_CIPHERS=AES-256-GCM\n",
    ...({ derivation: "tls-ekm", peerId: "exported", unasked: false, dynamicWrap: true } as const),
  }
  const pair = new Pair({ client: { pull: false, explicitExitNotify: 1 }, server }).connect()
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(10_000)
  expect(pair.agree(1)).toBe(true)
  pair.client.session.close(pair.now)
  pair.network.pass(1000)
  expect(pair.server.messages).toEqual(["EXIT"])
})
