/** How sessions end, what they tell, and that hostile packets do nothing. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import { empty } from "../../src/protocol/bytes.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"
import { Pair, type PairOptions, pushReply, tlsAuth, tlsCrypt } from "./pair.ts"

const pushing = (...push: ReadonlyArray<string>) => new Pair({ server: { push } }).end()

describe("a server that stops answering", () => {
  const cases = [
    { stop: "beforeReset", client: {}, tag: "NoAnswer", seconds: 60 },
    { stop: "beforeReset", client: { connectTimeoutSeconds: 10 }, tag: "NoAnswer", seconds: 10 },
    { stop: "beforeTls", client: {}, tag: "HandshakeTimeout", seconds: 60 },
    { stop: "duringTls", client: {}, tag: "HandshakeTimeout", seconds: 60 },
    { stop: "beforePush", client: {}, tag: "NoPushReply", seconds: 60 },
  ] as const
  for (const { stop, client, tag, seconds } of cases)
    test(`${stop}: ${tag} after ${seconds} s`, () => {
      const pair = new Pair({ server: { stop }, client })
      expect(pair.end()).toMatchObject({ tag, retry: "advance" })
      expect(Math.round(pair.now / 1000)).toBe(seconds)
      expect(pair.client.session.nextTimeout()).toBeUndefined()
    })

  test("gets its hard reset again after 2, 6, 14, 30 s", () => {
    const pair = new Pair({ server: { stop: "beforeReset" } })
    const times: Array<number> = []
    pair.network.tap(() => times.push(pair.now / 1000))
    pair.end()
    expect(times).toEqual([0, 2, 6, 14, 30])
  })
})

describe("a push that cannot be honoured names what was pushed and what is allowed", () => {
  const cases = [
    ["PUSH_REPLY,cipher AES-256-CBC", "AES-256-CBC", "AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305"],
    ["PUSH_REPLY,ifconfig 10.8.0.2 10.8.0.1", "data-ciphers-fallback", "AES-256-GCM"],
    [`${pushReply},comp-lzo yes`, "comp-lzo yes", "allow-compression asym"],
    [`${pushReply},compress lz4-v2`, "compress lz4-v2", "allow-compression asym"],
    [`${pushReply},compress migrate`, "compress migrate", "known"],
    [`${pushReply},tun-mtu 9000`, "9000", "1600"],
    ["PUSH_REPLY,cipher AES-256-GCM,protocol-flags aead-epoch tls-ekm", "aead-epoch", "peer id"],
  ] as const
  for (const [push, ...words] of cases)
    test(push, () => {
      const reason = pushing(push)
      expect(reason.tag).toBe("PushRefused")
      for (const word of words) expect(reason.message).toContain(word)
    })

  test("pull-filter reject", () => {
    const pullFilters = [{ action: "reject", prefix: "ping" }] as const
    const pair = new Pair({ client: { pushPolicy: { pullFilters, routeNopull: false } } })
    expect(pair.end()).toMatchObject({ tag: "PushRefused", message: expect.stringContaining("ping") })
  })

  test("push without end", () => {
    const part = `PUSH_REPLY,${"route 10.0.0.0,".repeat(130)}push-continuation 2`
    expect(pushing(...Array.from({ length: 150 }, () => part))).toMatchObject({ tag: "PushRefused" })
  })
})

test("data-ciphers-fallback serves a server that names no cipher", () => {
  const push = ["PUSH_REPLY,ifconfig 10.8.0.2 10.8.0.1"]
  const server = { push, cipher: "CHACHA20-POLY1305", peerId: undefined } as const
  const pair = new Pair({ server, client: { dataCiphersFallback: "CHACHA20-POLY1305" } }).connect()
  expect(pair.agree(0)).toBe(true)
})

describe("TLS that fails", () => {
  test("in the packet that brings the push ends the attempt, whatever was pushed", () => {
    const pair = new Pair({ server: { stop: "beforePush" } })
    pair.network.pass(500)
    pair.server.sayLast(pair.now, pushReply)
    expect(pair.end()).toMatchObject({ tag: "TlsFailed" })
    expect(pair.client.of("pushed")).toEqual([])
  })

  test("in the packet that ends a key exchange fails the renegotiation alone", () => {
    const pair = new Pair({ server: { hangUpAfterExchange: 1 } }).connect()
    pair.client.session.renegotiate(pair.now)
    pair.network.pass(5_000)
    expect(pair.client.of("renegotiationFailed")).toHaveLength(1)
    expect(pair.client.closed).toBeUndefined()
  })

  test("a server of another authority is refused, and gets an alert but no key exchange", () => {
    const pair = new Pair({ wrongAuthority: true })
    expect(pair.end()).toMatchObject({ tag: "PeerRefused", check: "chain" })
    pair.network.pass(100)
    expect(pair.server.tlsFailures).toEqual([expect.stringContaining("unknown ca")])
    expect(pair.server.introductions).toEqual([])
  })

  test("a name that does not match is refused", () => {
    const verify = () => ({ check: "name", message: "expected name x" }) as const
    const pair = new Pair({ verify })
    expect(pair.end()).toMatchObject({
      tag: "PeerRefused",
      check: "name",
      message: expect.stringContaining("expected name x"),
    })
    expect(pair.server.introductions).toEqual([])
  })

  test("garbage in place of TLS ends the attempt", () => {
    const pair = new Pair({ wrapping: tlsCrypt, server: { stop: "beforeTls" } })
    pair.network.pass(100)
    const payload = new Uint8Array(200).fill(0x55)
    pair.server.forge({ opcode: Opcode.ControlV1, keyId: 0, acks: [0], messageId: 1, payload })
    expect(pair.end(1000)).toMatchObject({ tag: "TlsFailed", retry: "advance" })
  })

  test("credentials that do not fit are an error of their own", () => {
    const variables = [["UV_LONG", "x".repeat(2000)]] as const
    const pair = new Pair({ client: { peerInfo: { push: true, variables } } })
    expect(pair.end()).toMatchObject({ tag: "TlsFailed", message: expect.stringContaining("2048") })
  })
})

describe("the exit", () => {
  const flags = [`${pushReply},protocol-flags cc-exit`]

  test("is announced on the control channel when the server knows that", () => {
    const pair = new Pair({ client: { explicitExitNotify: 1 }, server: { push: flags } }).connect()
    expect(pair.client.session.exitNotification).toBe("control")
    pair.client.session.close(pair.now)
    pair.network.pass(100)
    expect(pair.server.messages).toEqual(["EXIT"])
    expect(pair.client.closed).toMatchObject({ tag: "Requested" })
  })

  test("is the data channel's otherwise, and nothing when it is not wanted or not UDP", () => {
    const kind = (client: PairOptions["client"], push: ReadonlyArray<string>) =>
      new Pair({ client: client!, server: { push } }).connect().client.session.exitNotification
    expect(kind({ explicitExitNotify: 1 }, [pushReply])).toBe("data")
    expect(kind({}, [`${pushReply},explicit-exit-notify 2`])).toBe("data")
    expect(kind({}, flags)).toBe("none")
    expect(kind({ transport: "tcp", explicitExitNotify: 1 }, [pushReply])).toBe("none")
  })
})

test("AUTH_PENDING makes the wait longer and INFO is told", () => {
  const pair = new Pair({ server: { stop: "beforePush" } })
  pair.network.pass(500)
  pair.server.say(pair.now, "AUTH_PENDING,timeout 300", "INFO_PRE,WEB_AUTH::https://example.net/", "SOMETHING,else")
  pair.network.pass(200_000)
  expect(pair.client.closed).toBeUndefined()
  expect(pair.client.of("authPending")).toEqual([{ type: "authPending", timeoutSeconds: 300 }])
  expect(pair.client.of("notice").map(({ event }) => event)).toEqual(["server-info", "control-message-unknown"])
  expect(pair.end()).toMatchObject({ tag: "NoPushReply" })
  expect(Math.round(pair.now / 1000)).toBe(300)
})

test("a challenge response is sent as base64", () => {
  const pair = new Pair().connect()
  pair.client.session.reply(pair.now, { type: "challengeResponse", text: Redacted.make("ä1") })
  pair.network.pass(100)
  expect(pair.server.messages).toEqual(["CR_RESPONSE,w6Qx"])
})

describe("hostile packets change nothing but counters", () => {
  /** All that can be seen of a session, apart from the counters. */
  const visible = ({ client }: Pair) => {
    const { lastReceive, exitNotification } = client.session
    const timeout = client.session.nextTimeout()
    return { outputs: client.outputs.length, packet: client.outgoing(), timeout, lastReceive, exitNotification }
  }
  const dropped = ({ client }: Pair) => Object.values(client.session.drops).reduce((sum, count) => sum + count, 0)
  const stages = {
    "before the server's reset": new Pair({ wrapping: tlsCrypt, server: { stop: "beforeReset" } }),
    "during the handshake": new Pair({ wrapping: tlsAuth(1), server: { stop: "beforeTls" } }),
    "after the handshake": new Pair({ wrapping: tlsCrypt }),
    "after a plain handshake": new Pair({ wrapping: { _tag: "Plain" } }),
  }

  for (const [stage, pair] of Object.entries(stages)) {
    const seen: Array<Uint8Array> = []
    pair.network.tap((_, packet) => seen.push(packet.slice()))
    pair.network.pass(1500)

    test(`random bytes ${stage}`, () => {
      forEachSeed(300, (seed) => {
        const random = new SeededRandom(seed)
        const packet = random.bytes(random.below(200))
        if (packet.length > 0 && seed % 2 === 0) packet[0] = (random.below(12) << 3) | random.below(8)
        const before = visible(pair)
        const count = dropped(pair)
        pair.client.receive(pair.now, packet)
        expect(visible(pair)).toEqual(before)
        expect(dropped(pair)).toBe(count + 1)
      })
    })

    if (stage.includes("plain")) continue
    test(`truncated, altered, replayed and reflected packets ${stage}`, () => {
      forEachSeed(300, (seed) => {
        const random = new SeededRandom(seed)
        const packet = seen[random.below(seen.length)]!.slice()
        const flipped = random.below(packet.length)
        if (seed % 3 === 1) packet[flipped] = packet[flipped]! ^ (1 << random.below(8))
        const hostile = seed % 3 === 0 ? packet.subarray(0, random.below(packet.length)) : packet
        const before = visible(pair)
        const count = dropped(pair)
        pair.client.receive(pair.now, hostile)
        expect(visible(pair)).toEqual(before)
        expect(dropped(pair)).toBe(count + 1)
      })
    })
  }

  test("an authentic reset of another session does not touch the replay window of ours", () => {
    const pair = new Pair({ wrapping: tlsAuth(1) })
    const other = new Pair({ wrapping: tlsAuth(1), seed: 2 })
    const foreign: Array<Uint8Array> = []
    other.network.tap((from, packet) => {
      if (from === other.server) foreign.push(packet.slice())
    })
    other.connect()
    for (const packet of foreign) pair.client.receive(0, packet)
    expect(pair.client.session.drops).toEqual({ peerSessionId: 1, unexpected: foreign.length - 1 })
    expect(pair.client.session.lastReceive).toBeUndefined()
    expect(pair.connect().agree(0)).toBe(true)
  })

  test("a stranger's first packet has to name our session id, which nobody knows who does not see our packets", () => {
    const { client, server } = new Pair()
    const sessionId = new Uint8Array(8).fill(9)
    server.forge({ opcode: Opcode.HardResetServerV2, sessionId, keyId: 0, acks: [], messageId: 0, payload: empty })
    expect(client.session.receive(0, server.outgoing()!, true)).toBe(false)
    expect(client.session.drops).toEqual({ peerSessionId: 1 })
    expect(client.session.lastReceive).toBeUndefined()
    for (let packet = client.outgoing(); packet !== undefined; packet = client.outgoing()) server.receive(0, packet)
    expect(client.session.receive(0, server.outgoing()!, true)).toBe(true)
  })

  test("a second hard reset with another session id is ignored", () => {
    const pair = new Pair().connect()
    const sessionId = new Uint8Array(8).fill(9)
    pair.server.forge({ opcode: Opcode.HardResetServerV2, sessionId, keyId: 0, acks: [], messageId: 0, payload: empty })
    pair.network.pass(100)
    expect(pair.client.session.drops).toEqual({ sessionId: 1 })
  })

  test("a message beyond the receive window is not acknowledged, one that came before is, again", () => {
    const pair = new Pair({ wrapping: tlsCrypt }).connect()
    pair.network.pass(100)
    const control = { opcode: Opcode.ControlV1, keyId: 0, acks: [], payload: empty } as const
    pair.server.forge({ ...control, messageId: 5000 })
    pair.server.forge({ ...control, messageId: 1 })
    let acknowledged = 0
    pair.network.tap((from) => {
      if (from === pair.client) acknowledged++
    })
    pair.network.pass(100)
    expect(pair.client.session.drops).toEqual({ window: 1, duplicate: 1 })
    expect(acknowledged).toBe(1)
  })

  test("on TCP the first packet that is not authentic ends the session", () => {
    const pair = new Pair({ wrapping: tlsCrypt, client: { transport: "tcp" } }).connect()
    pair.client.receive(pair.now, new Uint8Array(100).fill(0x20))
    expect(pair.client.closed).toMatchObject({ tag: "ProtocolError" })
  })
})

test("unprintable and endless control text is refused, and what follows is read", () => {
  const pair = new Pair().connect()
  pair.server.say(pair.now, "INFO,a\nINFO,forged")
  pair.server.sayRaw(pair.now, new TextEncoder().encode("x".repeat(3000)))
  pair.server.sayRaw(pair.now, new TextEncoder().encode("rest\0INFO,in tw"))
  pair.server.sayRaw(pair.now, new TextEncoder().encode("o records\0"))
  pair.network.pass(100)
  const notices = pair.client.of("notice").map(({ event, message }) => [event, message])
  expect(notices).toEqual([
    ["control-text-refused", expect.any(String)],
    ["control-text-refused", expect.any(String)],
    ["server-info", "in two records"],
  ])
})

test("an early timeout call does nothing", () => {
  const pair = new Pair()
  pair.network.pass(5)
  const { at } = pair.client.session.nextTimeout()!
  pair.client.session.timeout(at - 1)
  expect(pair.client.session.poll()).toBeUndefined()
  expect(pair.client.session.nextTimeout()!.at).toBe(at)
})

test("nothing follows closed, and no method does anything then", () => {
  const pair = new Pair().connect()
  pair.client.session.close(pair.now)
  pair.client.drain()
  pair.client.session.close(pair.now)
  pair.client.session.renegotiate(pair.now)
  pair.client.session.reply(pair.now, { type: "pushRequest" })
  pair.client.session.timeout(pair.now + 1e9)
  expect(pair.client.session.poll()).toBeUndefined()
})
