/** Soft resets by either side, by both at once, lost, refused; and what becomes of the old key. */
import { describe, expect, test } from "bun:test"
import { concat } from "../../src/protocol/bytes.ts"
import { forEachSeed, perfect } from "../support/network.ts"
import { Pair, pushReply, timers, tlsAuth, tlsCrypt } from "./pair.ts"

const lossy = { loss: 0.2, duplication: 0.1, corruption: 0, delay: [5, 300] } as const
const renewed = (pair: Pair, keyId: number) => () => pair.client.keys.has(keyId) && pair.server.keys.has(keyId)

describe("a renegotiation", () => {
  const starters: Readonly<Record<string, (pair: Pair) => void>> = {
    "the client": (pair) => pair.client.session.renegotiate(pair.now),
    "the server": (pair) => pair.server.renegotiate(pair.now),
    both: (pair) => {
      pair.client.session.renegotiate(pair.now)
      pair.server.renegotiate(pair.now)
    },
  }
  for (const [name, start] of Object.entries(starters))
    test(`started by ${name} gives both ends new keys over a bad network, with either derivation`, () => {
      forEachSeed(60, (seed) => {
        const derivation = seed % 2 === 0 ? "prf" : "tls-ekm"
        const push = [derivation === "prf" ? pushReply : `${pushReply},protocol-flags tls-ekm`]
        const wrapping = [tlsCrypt, tlsAuth(1), { _tag: "Plain" } as const][seed % 3]!
        const client = { timers: { ...timers, handWindow: 900 }, connectTimeoutSeconds: 900 }
        const pair = new Pair({ seed, conditions: lossy, wrapping, client, server: { derivation, push } }).connect(
          900_000,
        )
        const first = pair.client.keys.get(0)
        start(pair)
        expect(pair.network.run(renewed(pair, 1), 900_000)).toBe(true)
        expect(pair.agree(1)).toBe(true)
        expect(pair.client.keys.get(1)).not.toEqual({ ...first!, keyId: 1 })
        expect(pair.client.of("installKey")[1]!.tls?.derivation).toBe(derivation)
      })
    })

  test("takes the key ids 1 to 7 and then 1 again", () => {
    const pair = new Pair({ wrapping: tlsCrypt }).connect()
    for (let round = 0; round < 9; round++) {
      if (round % 2 === 0) pair.client.session.renegotiate(pair.now)
      else pair.server.renegotiate(pair.now)
      pair.network.pass(10_000)
    }
    const ids = pair.client.of("installKey").map(({ key }) => key.keyId)
    expect(ids).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 1, 2])
    expect(pair.agree(2)).toBe(true)
    expect(pair.server.introductions).toHaveLength(10)
  })

  test("is not begun before the first key, nor while another is under way", () => {
    const pair = new Pair()
    pair.client.session.renegotiate(0)
    pair.connect()
    pair.client.session.renegotiate(pair.now)
    pair.client.session.renegotiate(pair.now)
    pair.network.pass(30_000)
    expect([...pair.client.keys.keys()]).toEqual([0, 1])
  })
})

test("a new key is in place before the server learns that it may send with it", () => {
  const pair = new Pair().connect()
  const order: Array<string> = []
  const { session } = pair.client
  const poll = session.poll.bind(session)
  session.poll = () => {
    const output = poll()
    if (output !== undefined) order.push(output.type)
    return output
  }
  session.renegotiate(pair.now)
  pair.network.run(() => {
    // The server's key became active by a packet of ours that came after the installation.
    if (pair.server.keys.has(1)) expect(pair.client.keys.has(1)).toBe(true)
    return pair.server.keys.has(1)
  }, 10_000)
  expect(order.lastIndexOf("installKey")).toBeLessThan(order.lastIndexOf("transmit"))
})

describe("the key that sends", () => {
  test("is the old one until the server was silent for 3.5 tls-timeouts, then the new one", () => {
    const pair = new Pair({ conditions: perfect }).connect()
    pair.client.session.renegotiate(pair.now)
    expect(pair.network.run(renewed(pair, 1), 10_000)).toBe(true)
    pair.network.pass(6_900)
    expect(pair.client.sending).toBe(0)
    pair.network.pass(200)
    expect(pair.client.sending).toBe(1)
    expect([...pair.client.keys.keys()]).toEqual([0, 1])
  })

  test("is the new one halfway to the next negotiation of a server that begins them often", () => {
    const pair = new Pair({ conditions: perfect }).connect()
    for (const keyId of [1, 2, 3]) {
      pair.network.pass(1_500)
      pair.server.renegotiate(pair.now)
      expect(pair.network.run(renewed(pair, keyId), 10_000)).toBe(true)
      pair.network.pass(500)
      expect(pair.client.sending).toBe(keyId - 1)
      pair.network.pass(1_200)
      expect(pair.client.sending).toBe(keyId)
    }
  })

  test("stays the old one while the server's last acknowledgements are missing, up to half of reneg-sec", () => {
    const pair = new Pair({ client: { timers: { ...timers, renegSec: 60 } } }).connect()
    const started = pair.now
    pair.client.session.renegotiate(started)
    expect(pair.network.run(() => pair.client.keys.has(1), 10_000)).toBe(true)
    pair.client.session.reply(pair.now, { type: "pushRequest" })
    pair.network.conditions = { ...perfect, loss: 1 }
    pair.network.run(() => false, started + 29_900 - pair.now)
    expect(pair.client.sending).toBe(0)
    pair.network.pass(200)
    expect(pair.client.sending).toBe(1)
  })

  test("changes at once when the server sends with the new one", () => {
    const pair = new Pair().connect()
    pair.client.session.renegotiate(pair.now)
    pair.network.run(renewed(pair, 1), 10_000)
    pair.client.session.peerUsesKey(0)
    pair.client.drain()
    expect(pair.client.sending).toBe(0)
    pair.client.session.peerUsesKey(1)
    pair.client.drain()
    expect(pair.client.sending).toBe(1)
  })

  test("changes at once when the next negotiation begins", () => {
    const pair = new Pair().connect()
    pair.client.session.renegotiate(pair.now)
    pair.network.run(renewed(pair, 1), 10_000)
    expect(pair.client.sending).toBe(0)
    pair.server.renegotiate(pair.now)
    pair.network.pass(15)
    expect(pair.client.sending).toBe(1)
    expect(pair.client.keys.has(0)).toBe(true)
  })

  test("is one that the server has, over a network that loses 5 %", () => {
    forEachSeed(60, (seed) => {
      const client = { timers: { ...timers, handWindow: 900, renegSec: 0 }, connectTimeoutSeconds: 900 }
      const conditions = { loss: 0.05, duplication: 0.1, corruption: 0, delay: [5, 300] } as const
      const pair = new Pair({ seed, conditions, client }).connect(900_000)
      for (let keyId = 1; keyId <= 3; keyId++) {
        pair.client.session.renegotiate(pair.now)
        pair.network.run(() => {
          expect(pair.client.sending === undefined || pair.server.keys.has(pair.client.sending)).toBe(true)
          return pair.client.sending === keyId
        }, 900_000)
        expect(pair.client.sending).toBe(keyId)
      }
    })
  })
})

describe("the old key", () => {
  test("goes tran-window after its successor's negotiation began", () => {
    const pair = new Pair({ client: { timers: { ...timers, tranWindow: 30 } } }).connect()
    const started = pair.now
    pair.client.session.renegotiate(started)
    pair.network.run(() => false, started + 29_999 - pair.now)
    expect([...pair.client.keys.keys()]).toEqual([0, 1])
    pair.network.pass(2)
    expect([...pair.client.keys.keys()]).toEqual([1])
    expect(pair.client.closed).toBeUndefined()
  })

  test("stays in use when the renegotiation fails, and a later one can succeed", () => {
    const pair = new Pair().connect()
    pair.network.conditions = { ...perfect, loss: 1 }
    pair.client.session.renegotiate(pair.now)
    pair.network.pass(61_000)
    expect(pair.client.of("renegotiationFailed").map(({ message }) => message)).toEqual([
      "no new key within 60 s (hand-window)",
    ])
    expect(pair.client.sending).toBe(0)
    pair.network.conditions = perfect
    // The server never noticed and numbers its own attempt as it would have been.
    pair.server.renegotiate(pair.now)
    expect(pair.network.run(renewed(pair, 1), 10_000)).toBe(true)
    expect(pair.agree(1)).toBe(true)
  })

  test("ends the session when it expires without a successor", () => {
    const pair = new Pair({ client: { timers: { ...timers, tranWindow: 100 } } }).connect()
    pair.network.conditions = { ...perfect, loss: 1 }
    pair.client.session.renegotiate(pair.now)
    expect(pair.end()).toMatchObject({ tag: "KeyExpired", retry: "same" })
    expect(pair.client.of("retireKey").map(({ keyId }) => keyId)).toEqual([0])
  })
})

test("a forged soft reset does not change which key id comes next", () => {
  const pair = new Pair({ wrapping: tlsCrypt }).connect()
  pair.network.conditions = { ...perfect, loss: 1 }
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(61_000)
  expect(pair.client.of("renegotiationFailed")).toHaveLength(1)
  for (const keyId of [1, 2])
    pair.client.receive(pair.now, concat(Uint8Array.of((3 << 3) | keyId), pair.server.sessionId, new Uint8Array(60)))
  expect(pair.client.session.drops).toEqual({ authentication: 2 })
  pair.client.session.renegotiate(pair.now)
  expect(pair.client.outgoing()![0]! & 7).toBe(1)
})

test("one that the server never heard of is tried again under the same key id, which is the only one it takes", () => {
  const pair = new Pair().connect()
  pair.network.conditions = { ...perfect, loss: 1 }
  for (let attempt = 0; attempt < 3; attempt++) {
    pair.client.session.renegotiate(pair.now)
    pair.network.pass(61_000)
  }
  expect(pair.client.of("renegotiationFailed")).toHaveLength(3)
  pair.network.conditions = perfect
  pair.client.session.renegotiate(pair.now)
  expect(pair.network.run(renewed(pair, 1), 10_000)).toBe(true)
  expect(pair.agree(1)).toBe(true)
})

test("attempts that fail do not prolong the old key's life", () => {
  const pair = new Pair({ client: { timers: { ...timers, tranWindow: 200 } } }).connect()
  const started = pair.now
  pair.network.conditions = { ...perfect, loss: 1 }
  for (let attempt = 0; attempt < 3; attempt++) {
    pair.client.session.renegotiate(pair.now)
    pair.network.pass(61_000)
  }
  expect(pair.end()).toMatchObject({ tag: "KeyExpired" })
  expect(pair.now - started).toBe(200_000)
})

test("a certificate that is refused at a renegotiation fails only that", () => {
  let allowed = true
  const verify = () => (allowed ? undefined : ({ check: "name", message: "expected another" } as const))
  const pair = new Pair({ verify }).connect()
  allowed = false
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(5_000)
  expect(pair.client.of("renegotiationFailed")).toHaveLength(1)
  expect(pair.client.closed).toBeUndefined()
  expect(pair.client.sending).toBe(0)
})
