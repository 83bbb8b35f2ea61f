/** Two data planes with packets in pieces, and with a static key, between two tuns. */
import { describe, expect, test } from "bun:test"
import { MOST_LINKS } from "../../src/dataplane/links.ts"
import { closeFd } from "../../src/linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, OCC_REPLY, OCC_REQUEST } from "../../src/protocol/datachannel.ts"
import { sliceKeyBlock } from "../../src/protocol/keys.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { soon, udpPair } from "../support/pair.ts"
import { Harness } from "./harness.ts"
import { dataKey, ipPacket, mirrored, numberOf } from "./keys.ts"

const block = Uint8Array.from({ length: 256 }, (_, index) => index)
const staticKey: DataKey = {
  ...sliceKeyBlock(block, { keyId: 0, cipher: "AES-256-CBC", digest: "SHA256", peerId: undefined })!,
  staticKey: { unixTime: 1_700_000_000, firstPacketId: 1 },
}
const epochs: DataKey = {
  ...sliceKeyBlock(block, { keyId: 0, cipher: "AES-256-GCM", peerId: 7, epoch: true })!,
  fragmentSize: 400,
}
const framed = (form: "lzo" | "stub") => ({ form, decompress: false })

const keys: ReadonlyArray<readonly [string, DataKey]> = [
  ["AEAD in pieces", { ...dataKey(0), fragmentSize: 400 }],
  ["AEAD in pieces, with a byte in front", { ...dataKey(0), fragmentSize: 400, compression: framed("lzo") }],
  ["epochs in pieces", epochs],
  ["a static key", staticKey],
  ["a static key in pieces, with a byte behind", { ...staticKey, fragmentSize: 400, compression: framed("stub") }],
]

const connected = async (key: DataKey) => {
  const one = await Harness.start()
  const two = await Harness.start()
  const fds = udpPair(4)
  for (const [harness, fd, own] of [
    [one, fds[0], key],
    [two, fds[1], mirrored(key)],
  ] as const) {
    harness.open(1, fd, "udp")
    harness.plane.send({ type: "carry", generation: 1 })
    harness.plane.send({ type: "installKey", generation: 1, key: own, replayWindow: { packets: 64, seconds: 15 } })
    harness.plane.send({ type: "useKey", generation: 1, keyId: 0 })
    await harness.flush()
  }
  return { one, two }
}

const drops = ({ plane }: Harness) =>
  Object.entries(plane.counters.all()).filter(([name, value]) => name.startsWith("drop:") && value > 0)

describe.each([...keys])("%s", (_name, key) => {
  test("carries packets of any size, in order", async () => {
    const { one, two } = await connected(key)
    await using first = one
    await using second = two
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      for (const length of [20, 399, 400, 401, 404, 1500, 9000, 12_000]) {
        from.tun.write(ipPacket(length, length))
        expect(await to.tun.next()).toEqual(ipPacket(length, length))
      }
      for (let i = 0; i < 300; i++) from.tun.write(ipPacket(i, 100 + (i % 7) * 230))
      for (let i = 0; i < 300; i++) expect(numberOf(await to.tun.next())).toBe(i)
    }
    expect([drops(first), drops(second)]).toEqual([[], []])
  })
})

test("a packet that would need more than 32 pieces is dropped, and counted", async () => {
  const { one, two } = await connected({ ...dataKey(0), fragmentSize: 400 })
  await using first = one
  await using second = two
  for (const length of [12_801, 16_385, 12_800]) first.tun.write(ipPacket(length, length))
  expect(await second.tun.next()).toEqual(ipPacket(12_800, 12_800))
  expect(first.plane.counters.read("drop:tooLarge")).toBe(2)
})

describe("OCC messages", () => {
  const message = (kind: number) => Uint8Array.of(...OCC_MAGIC, kind, 0x56, 0x34, 0)

  test("of a static key are told, good-bye as what it is, and none goes to the tun", async () => {
    const { one, two } = await connected(staticKey)
    await using first = one
    await using second = two
    for (const kind of [OCC_REQUEST, OCC_REPLY, 2, OCC_EXIT])
      first.plane.send({ type: "occ", generation: 1, message: message(kind) })
    await second.event("remoteExit")
    const told = second.events.flatMap((event) => (event.type === "occ" ? [event.message] : []))
    expect(told).toEqual([message(OCC_REQUEST), message(OCC_REPLY)])
    expect(second.tun.read()).toBeUndefined()
  })

  test("of another key are nobody's business", async () => {
    const { one, two } = await connected(dataKey(0))
    await using first = one
    await using second = two
    for (const kind of [OCC_REQUEST, OCC_EXIT]) first.plane.send({ type: "occ", generation: 1, message: message(kind) })
    await second.event("remoteExit")
    expect(second.events.filter(({ type }) => type === "occ")).toEqual([])
  })
})

test("under a static key nothing is a control packet, whatever its first byte", async () => {
  const { one, two } = await connected(staticKey)
  await using first = one
  await using second = two
  for (let byte = 0; byte < 256; byte++)
    first.plane.send({ type: "transmit", generation: 1, packet: new Uint8Array(80).fill(byte) })
  await soon("256 refused packets", () => second.plane.counters.read("drop:authentication") === 256)
  expect(second.events.filter(({ type }) => type === "control" || type === "keyUsed")).toEqual([])
})

test("as many links as there may be, over either transport, all of them in pieces, fit into the worker's memory", async () => {
  await using harness = await Harness.start()
  const window = { packets: 64, seconds: 15 }
  const key = { ...dataKey(0), fragmentSize: 400 }
  for (const [round, transport] of (["udp", "tcp"] as const).entries()) {
    const generations = Array.from({ length: MOST_LINKS }, (_, index) => 1 + index + round * MOST_LINKS)
    for (const generation of generations) {
      const [fd, other] = udpPair(4)
      closeFd(other)
      harness.open(generation, fd, transport)
      harness.plane.send({ type: "installKey", generation, key, replayWindow: window })
    }
    await harness.flush()
    for (const generation of generations) harness.plane.send({ type: "detachTransport", generation })
    await harness.flush()
  }
  expect(harness.crashes).toEqual([])
})
