/**
 * Whole sessions over networks that lose up to three packets in ten, duplicate, reorder, delay, corrupt and cut them: handshake,
 * push or point to point, changes of the push, data both ways, three renegotiations, close. Each ends connected, or with the error
 * that fits. The long form is `npm run simulate`: 10,000 seeds.
 */
import { expect, test } from "bun:test"
import type { Compression, DataCipher } from "../../src/config/profile.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Arena } from "../../src/linux/index.ts"
import { isCbc } from "../../src/protocol/datachannel.ts"
import type { DataKey } from "../../src/protocol/index.ts"
import { mirrored } from "../dataplane/keys.ts"
import {
  type Conditions,
  type Endpoint,
  forEachSeed,
  longForm,
  SeededRandom,
  VirtualNetwork,
} from "../support/network.ts"
import { Pair, type PairOptions, pushReply, timers, tlsAuth, tlsCrypt, tlsCryptV2 } from "./pair.ts"

const wrappings = [{ _tag: "Plain" } as const, tlsAuth(1), tlsAuth(undefined), tlsCrypt, tlsCryptV2]
const ciphers: ReadonlyArray<DataCipher> = [
  ...(["AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305"] as const),
  ...(["AES-256-CBC", "AES-192-CBC", "AES-128-CBC"] as const),
]
const framings = [undefined, { form: "lzo" }, { form: "stub" }, { form: "stub-v2" }] as const
const pushes = { lzo: "comp-lzo no", stub: "compress stub", "stub-v2": "compress stub-v2" } as const
/** The same in a file. */
const inFile: Readonly<Record<keyof typeof pushes, Compression>> = {
  lzo: { framing: "lzo-off", allow: "no" },
  stub: { framing: "stub", allow: "no" },
  "stub-v2": { framing: "stub-v2", allow: "no" },
}

/** What may be the matter with a session on such a network. */
const fitting = new Set(["NoAnswer", "HandshakeTimeout", "NoPushReply", "KeyExpired"])

/** Data packets among the control packets of an endpoint. */
class DataEnd implements Endpoint {
  readonly received: Array<string> = []
  readonly #control: Endpoint
  readonly #slots: KeySlots
  readonly #keys: () => ReadonlyMap<number, DataKey>
  readonly #installed = new Map<number, DataKey>()
  readonly #outgoing: Array<Uint8Array> = []

  constructor(control: Endpoint, slots: KeySlots, keys: () => ReadonlyMap<number, DataKey>) {
    this.#control = control
    this.#slots = slots
    this.#keys = keys
    slots.clear()
  }

  send(now: number, keyId: number, payload: Uint8Array): void {
    this.#follow()
    const { sealer, framing, overhead } = this.#slots.find(keyId)!
    memory.bytes.set(payload, overhead)
    const framed = framing?.frame(memory.bytes, overhead, payload.length) ?? payload.length
    const length = sealer.seal(memory, 0, framed)
    expect(length).toBeGreaterThan(0)
    this.#outgoing.push(memory.bytes.slice(0, length))
    this.#control.timeout(now)
  }

  receive(now: number, packet: Uint8Array): void {
    const opcode = packet.length === 0 ? 0 : packet[0]! >> 3
    if (opcode !== 6 && opcode !== 9) this.#control.receive(now, packet)
    else this.#open(now, packet)
  }

  timeout(now: number): void {
    this.#control.timeout(now)
  }

  nextTimeout(): number | undefined {
    return this.#control.nextTimeout()
  }

  outgoing(): Uint8Array | undefined {
    return this.#control.outgoing() ?? this.#outgoing.shift()
  }

  #open(now: number, packet: Uint8Array): void {
    this.#follow()
    const key = this.#slots.find(packet[0]! & 7)
    if (key === undefined) return
    memory.bytes.set(packet)
    const { opener, framing } = key
    const length = opener.open(memory, 0, packet.length)
    if (length < 0 || !opener.replay.accept(now, opener.packetId)) return
    const unframed = framing?.unframe(memory, opener.payloadAt, length) ?? length
    const at = framing === undefined ? opener.payloadAt : framing.payloadAt
    this.received.push(memory.bytes.slice(at, at + unframed).toHex())
  }

  /** As the data plane does on installKey and retireKey. */
  #follow(): void {
    const keys = this.#keys()
    for (let keyId = 0; keyId < 8; keyId++) {
      const key = keys.get(keyId)
      if (this.#installed.get(keyId) === key) continue
      this.#slots.retire(keyId)
      this.#installed.delete(keyId)
      if (key === undefined) continue
      this.#slots.install(key, { packets: 64, seconds: 15 })
      this.#installed.set(keyId, key)
    }
  }
}

const arena = new Arena(1024 * 1024)
const memory = arena.allocate(4096)
const clientSlots = new KeySlots(arena)
const serverSlots = new KeySlots(arena)

const scenario = (random: SeededRandom): { options: PairOptions; conditions: Conditions } => {
  const one = <A>(list: ReadonlyArray<A>): A => list[random.below(list.length)]!
  const least = random.below(100)
  const conditions = {
    loss: random.next() * 0.3,
    duplication: random.next() * 0.2,
    corruption: random.next() * 0.1,
    truncation: random.next() * 0.1,
    delay: [least, least + random.below(400)] as const,
    mtu: 1250 + random.below(300),
  }
  const [wrapping, cipher, framing] = [one(wrappings), one(ciphers), one(framings)]
  const peerId = one([7, undefined])
  const ekm = random.below(2) === 0
  const epoch = ekm && !isCbc(cipher) && peerId !== undefined && random.below(2) === 0
  const dynamicWrap = ekm && random.below(2) === 0
  const compression = framing && { ...framing, decompress: false }
  const common = { wrapping, tlsVersion: one(["1.2", "1.3"] as const) }
  const client = { dataCiphers: [cipher], auth: "SHA256", timers: { ...timers, handWindow: 200, renegSec: 0 } } as const
  const server = { auth: "SHA256", cipher, compression, dynamicWrap, derivation: ekm ? "tls-ekm" : "prf" } as const
  if (random.below(4) === 0) {
    const bits = 32 + (peerId === undefined ? 0 : 2) + (ekm ? 8 : 0) + (dynamicWrap ? 512 : 0)
    const peerInfo = `IV_PROTO=${bits}\nIV_CIPHERS=${cipher}\n`
    const settled = peerId === undefined ? undefined : ekm ? ("exported" as const) : 0x76706e
    const ours = { ...client, pull: false, compression: framing && inFile[framing.form] }
    return {
      conditions,
      options: { ...common, client: ours, server: { ...server, peerInfo, peerId: settled, push: [], unasked: false } },
    }
  }
  const flags = ["tls-ekm", ...(epoch ? ["aead-epoch"] : []), ...(dynamicWrap ? ["dyn-tls-crypt"] : [])]
  const push = [
    peerId === undefined ? pushReply.replace(",peer-id 7", "") : pushReply,
    ...(ekm ? [`protocol-flags ${flags.join(" ")}`] : []),
    ...(framing === undefined ? [] : [pushes[framing.form]]),
  ]
  return {
    conditions,
    options: {
      ...common,
      client,
      server: {
        ...server,
        ...{ peerId, epoch },
        push: [push.join(",").replace("AES-256-GCM", cipher)],
        unasked: random.below(2) === 0,
        cookie: random.below(2) === 0,
      },
    },
  }
}

/** The error that ended it, or "connected". */
const live = (seed: number): string => {
  const random = new SeededRandom(seed * 7919)
  const world = scenario(random)
  const pair = new Pair({ ...world.options, seed })
  try {
    return outcomeOf(pair, random, world)
  } finally {
    // Ten thousand of them would not fit into memory.
    pair.client.session.close(0)
    pair.server.free()
  }
}

const outcomeOf = (pair: Pair, random: SeededRandom, { options, conditions }: ReturnType<typeof scenario>): string => {
  const client = new DataEnd(pair.client, clientSlots, () => pair.client.keys)
  const server = new DataEnd(
    pair.server,
    serverSlots,
    () => new Map([...pair.server.keys].map(([keyId, key]) => [keyId, mirroredOnce(key)])),
  )
  const network = new VirtualNetwork(random, conditions, client, server)
  const isOver = () => pair.client.closed !== undefined
  /** Both ways, until something of each came through. */
  const exchange = (keyId: number): void => {
    const begin = [client.received.length, server.received.length] as const
    const sent = new Set<string>()
    for (let round = 0; round < 100 && !isOver(); round++) {
      const payload = random.bytes(1 + random.below(1000))
      payload[0] = 0x45
      sent.add(payload.toHex())
      if (pair.client.sending !== undefined) client.send(network.now, pair.client.sending, payload)
      server.send(network.now, keyId, payload)
      network.pass(50)
      for (const text of [...client.received.slice(begin[0]), ...server.received.slice(begin[1])])
        expect(sent.has(text)).toBe(true)
      if (client.received.length > begin[0] && server.received.length > begin[1]) return
    }
    if (!isOver()) throw new Error(`no data under key ${keyId}`)
  }

  /** The server changes its mind about a route, in one part or two. */
  const update = (keyId: number): void => {
    const routes = ["10.1.0.0", `10.${100 + keyId}.0.0`]
    const [first, last] = routes.map((route) => `route ${route} 255.255.0.0`)
    const parts =
      random.below(2) === 0 ? [`${first},${last}`] : [`${first},push-continuation 2`, `${last},push-continuation 1`]
    const before = pair.client.of("pushUpdated").length
    pair.server.say(network.now, ...parts.map((part) => `PUSH_UPDATE,${part}`))
    network.run(() => isOver() || pair.client.of("pushUpdated").length > before, 300_000)
    if (isOver()) return
    // Without wrapping the network's mistakes reach TLS, which may then have no more to say under this key.
    if (options.wrapping?._tag === "Plain" && pair.client.of("pushUpdated").length === before) return
    expect(pair.client.of("pushUpdated")[before]?.options.network.routes.map((route) => route.network)).toEqual(routes)
  }

  network.run(() => isOver() || (pair.client.keys.size > 0 && pair.server.keys.size > 0), 900_000)
  for (let keyId = 0; keyId <= 3 && !isOver(); keyId++) {
    const isAgreed = () => pair.client.keys.has(keyId) && pair.server.keys.has(keyId)
    for (let attempt = 0; !isAgreed() && !isOver() && attempt < 20; attempt++) {
      if (random.below(2) === 0) pair.client.session.renegotiate(network.now)
      else pair.server.renegotiate(network.now)
      const failures = pair.client.of("renegotiationFailed").length
      network.run(() => isOver() || isAgreed() || pair.client.of("renegotiationFailed").length > failures, 300_000)
      // A number that a failed attempt has used up is passed over by the client: nothing more to be seen here.
      if (pair.client.of("renegotiationFailed").length > failures) return "connected"
    }
    if (isOver()) break
    expect(pair.agree(keyId)).toBe(true)
    exchange(keyId)
    if (options.client?.pull !== false && random.below(2) === 0) update(keyId)
  }
  if (pair.client.closed !== undefined) {
    const { tag } = pair.client.closed
    // Without wrapping nothing protects TLS from the network's mistakes.
    if (!fitting.has(tag) && !(options.wrapping?._tag === "Plain" && (tag === "TlsFailed" || tag === "PeerRefused")))
      throw new Error(`${tag}: ${pair.client.closed.message}`)
    return tag
  }
  pair.client.session.close(network.now)
  pair.client.drain()
  expect(pair.client.closed).toMatchObject({ tag: "Requested" })
  return "connected"
}

/** The same object for the same key, so that it is installed once. */
const mirroredOnce = (key: DataKey): DataKey => {
  const known = mirrors.get(key) ?? mirrored(key)
  mirrors.set(key, known)
  return known
}
const mirrors = new WeakMap<DataKey, DataKey>()

test("a session over a bad network ends connected, or with the error that fits", () => {
  const outcomes: Record<string, number> = {}
  forEachSeed(longForm(120), (seed) => {
    const outcome = live(seed)
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  })
  const count = Object.values(outcomes).reduce((sum, number) => sum + number, 0)
  if (count > 1) expect(outcomes.connected! / count).toBeGreaterThan(0.8)
  if (process.env.CULVERT_SEEDS !== undefined) console.log(outcomes)
}, 3_600_000)
