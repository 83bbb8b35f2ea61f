/**
 * Structure-aware fuzzing of everything that reads what a server sends, before and after authentication: each decoder by
 * itself, the session, and the data plane's `open`. Nothing throws, nothing hangs, and what is not authentic changes nothing.
 * A seed makes some ten inputs; `npm run fuzz:protocol` is the long form: a million seeds.
 */
import { expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { readPush } from "../../src/config/index.ts"
import { checksums } from "../../src/dataplane/checksum.ts"
import { Fragmenter, LARGEST, Reassembly } from "../../src/dataplane/fragment.ts"
import { Framing, LARGEST_PLAIN } from "../../src/dataplane/framing.ts"
import { formatOf } from "../../src/dataplane/keyformat.ts"
import { ReplayWindow } from "../../src/dataplane/replay.ts"
import { Arena } from "../../src/linux/index.ts"
import { crypto } from "../../src/openssl/index.ts"
import { chooseCompression } from "../../src/protocol/compression.ts"
import { ControlText, parseServerMessage } from "../../src/protocol/control.ts"
import { OCC_MAGIC } from "../../src/protocol/datachannel.ts"
import { readEarlyNegotiation } from "../../src/protocol/earlynegotiation.ts"
import { buildKeyMethod2, newKeySource, parseKeyMethod2 } from "../../src/protocol/keymethod2.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import { staticKeyOptionsString } from "../../src/protocol/options.ts"
import { decodeBody, decodeHead } from "../../src/protocol/packet.ts"
import { type StaticKeyOptions, StaticKeySession } from "../../src/protocol/statickeysession.ts"
import { makeWrap } from "../../src/protocol/wrap.ts"
import { mirrored } from "../dataplane/keys.ts"
import { Pair, pushReply, staticKey, tlsAuth, tlsCrypt, tlsCryptV2 } from "../protocol/pair.ts"
import { forEachSeed, longForm, SeededRandom } from "../support/network.ts"

/** A few changes that keep most of the structure: flips, interesting numbers, cuts, repetitions, insertions. */
const mutate = (random: SeededRandom, original: Uint8Array): Uint8Array => {
  let bytes = original.slice()
  for (let count = random.below(4); count >= 0; count--) {
    const at = random.below(bytes.length + 1)
    switch (random.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << random.below(8)
        break
      case 1:
        if (at < bytes.length) bytes[at] = interesting[random.below(interesting.length)]!
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(random.below(at + 1)))
        break
      case 4:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...random.bytes(random.below(8)), ...bytes.subarray(at))
        break
      default:
        bytes = Uint8Array.of(...bytes.subarray(at), ...bytes.subarray(0, at))
    }
  }
  return bytes.subarray(0, 3000)
}
const interesting = [0, 1, 2, 7, 8, 9, 0x0f, 0x10, 0x20, 0x38, 0x40, 0x48, 0x50, 0x7f, 0x80, 0xfa, 0xfb, 0xfe, 0xff]

const text = (value: string) => new TextEncoder().encode(value)
const messages = [
  pushReply,
  `${pushReply},push-continuation 2`,
  `${pushReply},protocol-flags cc-exit tls-ekm dyn-tls-crypt aead-epoch,auth-token SESS,compress lz4-v2`,
  "AUTH_FAILED,TEMP[backoff 42,advance remote]:busy",
  "AUTH_FAILED,CRV1:R,E:state:YW5uYQ==:Code?",
  "AUTH_PENDING,timeout 300",
  "INFO_PRE,CR_TEXT:R,E:Code?",
  "RESTART,[P,N]bye",
  "HALT,[P]bye",
  "EXIT",
]
const keyMethod2 = Result.getOrThrow(
  buildKeyMethod2({
    source: newKeySource(new SeededRandom(1), "server"),
    options: "V4,dev-type tun,cipher AES-256-GCM,tls-server",
    username: "",
    password: "",
    peerInfo: "",
  }),
)

/** All packets of a handshake and a renegotiation, of both sides. */
const recorded = (wrapping: NonNullable<ConstructorParameters<typeof Pair>[0]>["wrapping"]) => {
  const packets: Array<Uint8Array> = []
  const pair = new Pair(wrapping === undefined ? {} : { wrapping })
  pair.network.tap((_, packet) => packets.push(packet.slice()))
  pair.connect()
  pair.client.session.renegotiate(pair.now)
  pair.network.pass(10_000)
  return { pair, packets }
}
const sessions = [recorded(undefined), ...[tlsAuth(1), tlsCrypt, tlsCryptV2].map(recorded)]
const [plain, ...authenticated] = sessions

const arena = new Arena(1024 * 1024)
const memory = arena.allocate(8192)
const block = Uint8Array.from({ length: 256 }, (_, index) => index)
const formats = (
  [
    { cipher: "AES-256-GCM", peerId: 1 },
    { cipher: "CHACHA20-POLY1305", peerId: undefined },
    { cipher: "AES-128-GCM", peerId: 1, epoch: true },
    { cipher: "AES-256-CBC", peerId: 1, digest: "SHA256" },
    { cipher: "AES-128-CBC", peerId: undefined, digest: "SHA1" },
    { cipher: "AES-256-CBC", peerId: undefined, digest: "SHA512", staticKey: { unixTime: 1, firstPacketId: 1 } },
  ] as const
).map((facts) => {
  const key = { ...sliceKeyBlock(block, { keyId: 0, ...facts })!, ...facts }
  const nonces = () => ({ seal: arena.allocate(12), open: arena.allocate(12) })
  const replay = () => new ReplayWindow({ packets: 64, seconds: 15 })
  const { sealer } = formatOf(mirrored(key), nonces(), replay)
  memory.bytes.fill(0x45, 0, 400)
  const length = sealer.seal(memory, 0, 300)
  // The CBC formats do not authenticate their head, and a static key has none.
  const head = "staticKey" in facts ? 0 : 4
  return { opener: formatOf(key, nonces(), replay).opener, packet: memory.bytes.slice(0, length), head }
})
const framings = (["lzo", "stub", "stub-v2"] as const).map(
  (form) => new Framing({ form, decompress: true }, arena.allocate(LARGEST_PLAIN)),
)
const compressed = ["66", "fa", "fb", "69", "5001", "5000", "500a"].map((head) =>
  Uint8Array.fromHex(`${head}1b3031323334353637383920392400110000`),
)

const pick = <A>(random: SeededRandom, list: ReadonlyArray<A>): A => list[random.below(list.length)]!

test("decoders give a value for everything", () => {
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const packet = mutate(random, pick(random, plain!.packets))
    const head = decodeHead(packet)
    if (Result.isSuccess(head)) decodeBody(head.success.opcode, packet.subarray(9))
    readEarlyNegotiation(mutate(random, Uint8Array.of(0, 1, 0, 2, 0, 1)))
    parseKeyMethod2(mutate(random, keyMethod2), seed % 2 === 0 ? "server" : "client")
    const control = new ControlText()
    for (const line of control.push(mutate(random, text(`${pick(random, messages)}\0${pick(random, messages)}\0`)))
      .messages) {
      const message = parseServerMessage(line)
      if (message.type !== "pushReply") continue
      const { pushed } = readPush([message.options], { pullFilters: [], routeNopull: false })
      chooseCompression(pushed.compression, undefined)
    }
  })
}, 3_600_000)

test("wrappings open nothing but what they made", () => {
  const wraps = [tlsAuth(1), tlsCrypt, tlsCryptV2].map((wrapping) =>
    makeWrap(crypto, { wrapping, auth: "SHA1", role: "client", unixTime: 0 }),
  )
  const known = new Set(authenticated.flatMap(({ packets }) => packets.map((packet) => packet.toHex())))
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const packet = mutate(random, pick(random, pick(random, authenticated).packets))
    const head = decodeHead(packet)
    if (Result.isFailure(head)) return
    for (const wrap of wraps) {
      const opened = wrap.unwrap(0, head.success, packet)
      if (Result.isSuccess(opened)) expect(known.has(packet.toHex())).toBe(true)
    }
  })
  expect(staticKey).toHaveLength(256)
}, 3_600_000)

test("a live session is unmoved by packets that are not the server's", () => {
  const visible = ({ client }: Pair) => [client.outputs.length, client.outgoing(), client.session.nextTimeout()]
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const { pair } = pick(random, authenticated)
    const before = visible(pair)
    pair.client.receive(pair.now, mutate(random, pick(random, pick(random, authenticated).packets)))
    expect(visible(pair)).toEqual(before)
  })
}, 3_600_000)

test("a session before, in and after its handshake survives whatever an unprotected server sends", () => {
  forEachSeed(longForm(300, 1 / 500), (seed) => {
    const random = new SeededRandom(seed)
    const pair = new Pair({ seed })
    pair.network.pass(random.below(100))
    for (let count = 0; count < 10; count++) {
      const packet = mutate(random, pick(random, plain!.packets))
      // Most of them are for this session.
      if (random.below(4) > 0 && packet.length >= 9) packet.set(pair.server.sessionId, 1)
      pair.client.receive(pair.now, packet)
      pair.network.pass(random.below(3000))
    }
    pair.network.pass(1_000_000)
  })
}, 3_600_000)

test("control messages of a server gone mad end in a state, and in bounded memory", () => {
  forEachSeed(longForm(200, 1 / 500), (seed) => {
    const random = new SeededRandom(seed)
    const push = [new TextDecoder("latin1").decode(mutate(random, text(pick(random, messages))))]
    const pair = new Pair({ seed, server: { push } })
    pair.network.pass(3000)
    for (let count = 0; count < 5; count++) {
      const line = mutate(random, text(`${pick(random, messages)}\0`))
      if (line.length > 0) pair.server.sayRaw(pair.now, line)
      pair.network.pass(1000)
    }
    expect(pair.client.outputs.length).toBeLessThan(200)
  })
}, 3_600_000)

test("data packets: open gives a length or a reason, and only the authentic one is opened", () => {
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const { opener, packet, head } = pick(random, formats)
    const bytes = mutate(random, packet)
    if (bytes.length === 0) return
    memory.bytes.set(bytes)
    const length = opener.open(memory, 0, bytes.length)
    expect(Number.isInteger(length)).toBe(true)
    if (length >= 0) expect(bytes.subarray(head).toHex()).toBe(packet.subarray(head).toHex())
    memory.bytes.set(mutate(random, pick(random, compressed)))
    const framed = pick(random, framings)
    const unframed = framed.unframe(memory, 0, 1 + random.below(40))
    expect(unframed <= LARGEST_PLAIN && unframed !== 0).toBe(true)
  })
}, 3_600_000)

const copier = checksums(arena)
const reassembly = new Reassembly(arena)

test("pieces: whatever comes in whatever order gives a packet, nothing or a reason, and what was sent is what comes out", () => {
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const fragmenter = new Fragmenter(64 + 4 * random.below(100))
    const packet = random.bytes(fragmenter.size + 1 + random.below(3 * fragmenter.size))
    memory.bytes.set(packet, 0)
    fragmenter.begin(packet.length)
    const pieces = Array.from({ length: fragmenter.pieces }, (_, index) => {
      const length = fragmenter.lay(index, memory, memory, 4096, copier)
      return memory.bytes.slice(4096, 4096 + length)
    })
    let now = seed
    const give = (piece: Uint8Array) => {
      memory.bytes.set(piece, 1000)
      now += random.below(3000)
      const length = reassembly.take(now, memory, 1000, piece.length, copier)
      expect(Number.isInteger(length) && length <= LARGEST).toBe(true)
      return length > 0 ? reassembly.memory.bytes.slice(reassembly.payloadAt, reassembly.payloadAt + length) : length
    }
    for (let count = random.below(8); count > 0; count--) give(mutate(random, pick(random, pieces)))
    reassembly.clear()
    now = 0
    const outcome = pieces.toReversed().map((piece) => {
      memory.bytes.set(piece, 1000)
      return reassembly.take(now, memory, 1000, piece.length, copier)
    })
    expect(outcome.at(-1)).toBe(packet.length)
    const { payloadAt } = reassembly
    expect(reassembly.memory.bytes.slice(payloadAt, payloadAt + packet.length).toHex()).toBe(packet.toHex())
  })
}, 3_600_000)

test("what the peer of a static key says of its options ends in a word or in nothing", () => {
  const options: StaticKeyOptions = {
    unixTime: 0,
    outerFamily: "ipv4",
    remote: {
      transport: "udp",
      tunMtu: 1500,
      occMtu: undefined,
      fragment: undefined,
      connectTimeout: 60,
      explicitExitNotify: undefined,
    },
    profile: {
      device: { type: "tun", name: "tun" },
      staticKey: { key: Redacted.make(staticKey), direction: 1 },
      cipher: "AES-256-CBC",
      auth: "SHA1",
      compression: undefined,
      network: { ifconfig: { local: "10.1.0.1", second: "10.1.0.2" } } as StaticKeyOptions["profile"]["network"],
    },
  }
  const string = staticKeyOptionsString(options, "theirs")
  forEachSeed(longForm(3000), (seed) => {
    const random = new SeededRandom(seed)
    const session = new StaticKeySession(options)
    session.start(0)
    while (session.poll() !== undefined);
    const message = Uint8Array.of(...OCC_MAGIC, random.below(4), ...mutate(random, text(`${string}\0`)))
    session.occ(0, random.below(4) === 0 ? mutate(random, message) : message)
    let outputs = 0
    for (let output = session.poll(); output !== undefined; output = session.poll()) {
      outputs++
      if (output.type === "notice") expect(output.message).toMatch(/^[\x20-\x7e]{1,600}$/)
    }
    expect(outputs).toBeLessThanOrEqual(1)
  })
}, 3_600_000)
