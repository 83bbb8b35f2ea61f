/** What an attacker on the path, or a server gone bad, may try; each by its name. */
import { describe, expect, test } from "bun:test"
import { empty } from "../../src/protocol/bytes.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { Pair, tlsAuth, tlsCrypt, tlsCryptV2 } from "./pair.ts"

/** Bytes and packets that the client sends from now on. */
const watched = (pair: Pair) => {
  const sent = { packets: 0, bytes: 0 }
  pair.network.tap((from, packet) => {
    if (from !== pair.client) return
    sent.packets++
    sent.bytes += packet.length
  })
  return sent
}

const captured = (pair: Pair): ReadonlyArray<Uint8Array> => {
  const packets: Array<Uint8Array> = []
  pair.network.tap((from, packet) => {
    if (from === pair.server) packets.push(packet.slice())
  })
  pair.connect()
  pair.network.pass(10_000)
  return packets
}

const protections = [
  ["tls-auth", tlsAuth(1)],
  ["tls-crypt", tlsCrypt],
  ["tls-crypt-v2", tlsCryptV2],
] as const

test("amplification: nobody gets more bytes out of an unprotected session than were put in", () => {
  const pair = new Pair()
  const packets = captured(pair)
  const sent = watched(pair)
  let received = 0
  for (let round = 0; round < 50; round++)
    for (const packet of packets) {
      pair.client.receive(pair.now, packet)
      received += packet.length
      pair.network.pass(1)
    }
  expect(sent.bytes).toBeGreaterThan(0)
  expect(sent.bytes).toBeLessThanOrEqual(received)
})

test.each([...protections])(
  "amplification: a packet that %s does not vouch for gets no answer at all",
  (_, wrapping) => {
    const pair = new Pair({ wrapping })
    const packets = captured(pair)
    const sent = watched(pair)
    for (const packet of packets)
      for (let at = 9; at < packet.length; at += 7) {
        const forged = packet.slice()
        forged[at]! ^= 1
        pair.client.receive(pair.now, forged)
        pair.client.receive(pair.now, packet)
      }
    pair.network.pass(100)
    expect(sent.packets).toBe(0)
  },
)

test("an ack flood acknowledges nothing that is not sent, and is not answered", () => {
  const pair = new Pair({ wrapping: tlsCrypt, server: { stop: "beforeTls" } })
  pair.network.pass(100)
  const deadline = pair.client.session.nextTimeout()
  const sent = watched(pair)
  for (let id = 2; id < 5000; id += 8)
    pair.server.forge({
      opcode: Opcode.AckV1,
      keyId: 0,
      acks: Array.from({ length: 8 }, (_, index) => id + index),
      messageId: undefined,
      payload: empty,
    })
  pair.network.pass(500)
  expect(sent.packets).toBe(0)
  expect(pair.client.session.nextTimeout()).toEqual(deadline)
})

test("a message flood is kept within the receive window", () => {
  const pair = new Pair({ wrapping: tlsCrypt }).connect()
  const payload = new Uint8Array(1000)
  for (let id = 100; id < 4000; id++)
    pair.server.forge({ opcode: Opcode.ControlV1, keyId: 0, acks: [], messageId: id, payload })
  pair.network.pass(500)
  expect(pair.client.session.drops).toEqual({ window: 3900 })
})

describe("a change of the session id", () => {
  test.each([["plain", { _tag: "Plain" } as const], ...protections])(
    "in mid-session is not followed (%s)",
    (_, wrapping) => {
      const pair = new Pair({ wrapping }).connect()
      const sent = watched(pair)
      const sessionId = Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9)
      for (const opcode of [Opcode.HardResetServerV2, Opcode.SoftResetV1, Opcode.ControlV1, Opcode.AckV1])
        for (const keyId of [0, 1])
          pair.server.forge({
            opcode,
            sessionId,
            keyId,
            acks: [1],
            messageId: opcode === Opcode.AckV1 ? undefined : 0,
            payload: empty,
          })
      pair.network.pass(100)
      expect(sent.packets).toBe(0)
      expect(Object.values(pair.client.session.drops).reduce((sum, count) => sum + count, 0)).toBe(8)
      expect(pair.client.closed).toBeUndefined()
    },
  )
})

test.each([...protections])(
  "a whole captured handshake under %s, replayed into another session, has no effect",
  (_, wrapping) => {
    const packets = captured(new Pair({ wrapping, seed: 7 }))
    const pair = new Pair({ wrapping, seed: 8 })
    const begin = watched(pair)
    for (const packet of packets) pair.client.receive(0, packet)
    expect(begin.packets).toBe(0)
    expect(pair.connect().agree(0)).toBe(true)
    const sent = watched(pair)
    for (const packet of packets) pair.client.receive(pair.now, packet)
    pair.network.pass(100)
    expect(sent.packets).toBe(0)
  },
)

test.each([...protections])(
  "a session's own packets under %s, all of them once more, have no effect",
  (_, wrapping) => {
    const pair = new Pair({ wrapping })
    const packets = captured(pair)
    const outputs = pair.client.outputs.length
    const sent = watched(pair)
    for (const packet of packets) pair.client.receive(pair.now, packet)
    pair.network.pass(100)
    expect([sent.packets, pair.client.outputs.length]).toEqual([0, outputs])
    expect(pair.client.session.drops.replay).toBe(packets.length)
  },
)

describe("key ids", () => {
  test("after 7 comes 1: the first key's number is never used again", () => {
    const pair = new Pair({ wrapping: tlsCrypt }).connect()
    for (let round = 0; round < 8; round++) {
      pair.server.renegotiate(pair.now)
      pair.network.pass(10_000)
    }
    expect(pair.client.of("installKey").map(({ key }) => key.keyId)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 1])
    pair.server.forge({ opcode: Opcode.SoftResetV1, keyId: 0, acks: [], messageId: 0, payload: empty })
    pair.network.pass(100)
    expect(Object.values(pair.client.session.drops).reduce((sum, count) => sum + count, 0)).toBe(1)
  })

  test("of a soft reset that is not the next are refused, authentic as they are", () => {
    const pair = new Pair({ wrapping: tlsCrypt }).connect()
    for (const keyId of [2, 3, 4, 5, 6, 7])
      pair.server.forge({ opcode: Opcode.SoftResetV1, keyId, acks: [], messageId: 0, payload: empty })
    pair.network.pass(100)
    expect(pair.client.session.drops).toEqual({ keyId: 6 })
    expect([...pair.client.keys.keys()]).toEqual([0])
  })
})

test.each([...protections])(
  "packet ids outside the window, authentic under %s as they are, are replays",
  (_, wrapping) => {
    const pair = new Pair({ wrapping }).connect()
    pair.network.pass(100)
    const late: Array<Uint8Array> = []
    pair.network.conditions = { ...pair.network.conditions, loss: 1 }
    pair.network.tap((from, packet) => {
      if (from === pair.server) late.push(packet.slice())
    })
    for (let count = 0; count < 100; count++)
      pair.server.forge({ opcode: Opcode.AckV1, keyId: 0, acks: [1], messageId: undefined, payload: empty })
    pair.network.pass(1)
    const taken = [99, 35, 0, 36, 36, 99].map((index) => {
      const before = pair.client.session.drops.replay ?? 0
      pair.client.receive(pair.now, late[index]!)
      return (pair.client.session.drops.replay ?? 0) === before
    })
    expect(taken).toEqual([true, false, false, true, false, false])
  },
)
