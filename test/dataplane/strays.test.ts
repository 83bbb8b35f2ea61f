/** `float`: packets that come to a link's port from elsewhere than its peer. */
import { expect, test } from "bun:test"
import { localAddress, openStraySocket, openUdpSocket, readSocketAddress } from "../../src/linux/index.ts"
import { soon } from "../support/pair.ts"
import { Harness } from "./harness.ts"
import { dataKey, ipPacket, numberOf } from "./keys.ts"

/** A socket somewhere, which sends to our port. */
class Place implements Disposable {
  readonly received: Array<Uint8Array> = []
  readonly socket: Bun.udp.Socket<"uint8array">
  port = 0

  private constructor(socket: Bun.udp.Socket<"uint8array">, received: Array<Uint8Array>) {
    this.socket = socket
    this.received = received
  }

  static async at(address: string): Promise<Place> {
    const received: Array<Uint8Array> = []
    const data = (_: unknown, packet: Uint8Array) => void received.push(Uint8Array.from(packet))
    return new Place(await Bun.udpSocket({ hostname: address, binaryType: "uint8array", socket: { data } }), received)
  }

  get name() {
    return { address: this.socket.hostname, port: this.socket.port }
  }

  send(packet: Uint8Array): void {
    this.socket.send(packet, this.port, this.socket.hostname.includes(":") ? "::1" : "127.0.0.1")
  }

  [Symbol.dispose](): void {
    this.socket.close()
  }
}

/** A link to `home` with a key, and somebody who is elsewhere. */
async function floating(addresses: readonly [string, string], { hasControlKey = true, hasKey = true } = {}) {
  const harness = await Harness.start()
  const [home, away] = [await Place.at(addresses[0]), await Place.at(addresses[1])]
  const options = { ...home.name, family: addresses[0].includes(":") ? (6 as const) : (4 as const), sharesPort: true }
  const fd = openUdpSocket(options)
  for (const place of [home, away]) place.port = localAddress(fd).port
  harness.open(1, fd, "udp", { fd: openStraySocket(fd, options), hasControlKey })
  harness.plane.send({ type: "carry", generation: 1 })
  if (hasKey) await harness.use(dataKey(0))
  return { harness, home, away }
}

const v4 = ["127.0.0.1", "127.0.0.2"] as const
const v6 = ["::1", "::1"] as const
const moves = ({ events }: Harness) =>
  events.flatMap((event) => (event.type === "peerMoved" ? [readSocketAddress(event.from)] : []))

test.each([{ addresses: v4 }, { addresses: v6 }])(
  "where an authentic packet comes from is told; packets go there when that is wanted",
  async ({ addresses }) => {
    const { harness, home, away } = await floating(addresses)
    await using _ = harness
    using _home = home
    using _away = away
    home.send(harness.peer.seal(ipPacket(1)))
    expect(numberOf(await harness.tun.next())).toBe(1)
    expect(moves(harness)).toEqual([])
    away.send(harness.peer.seal(ipPacket(2)))
    expect(numberOf(await harness.tun.next())).toBe(2)
    const { from } = await harness.event("peerMoved")
    expect(readSocketAddress(from)).toEqual(away.name)
    harness.tun.write(ipPacket(3))
    await soon("a packet at home", () => home.received.length === 1)
    expect(away.received).toEqual([])
    harness.plane.send({ type: "roam", generation: 1, to: from })
    // So that the other end hears of it.
    await soon("a ping elsewhere", () => away.received.length === 1)
    harness.tun.write(ipPacket(4))
    await soon("a packet elsewhere", () => away.received.length === 2)
    expect(numberOf(harness.peer.open(away.received[1]!) as Uint8Array)).toBe(4)
    away.send(harness.peer.seal(ipPacket(5)))
    expect(numberOf(await harness.tun.next())).toBe(5)
    expect(home.received.length).toBe(1)
    expect(moves(harness)).toEqual([away.name])
  },
)

test("what is not authentic, or was there before, is counted and changes nothing; an older packet tells no place", async () => {
  const { harness, home, away } = await floating(v4)
  await using _ = harness
  using _home = home
  using _away = away
  const [older, newer] = [harness.peer.seal(ipPacket(1)), harness.peer.seal(ipPacket(2))]
  home.send(newer)
  expect(numberOf(await harness.tun.next())).toBe(2)
  const forged = harness.peer.seal(ipPacket(3))
  forged[forged.length - 1]! ^= 1
  away.send(forged)
  await harness.counter("drop:authentication", 1)
  away.send(newer)
  await harness.counter("drop:replay", 1)
  away.send(Uint8Array.of(0x31, 1, 2, 3))
  await harness.counter("drop:noKey", 1)
  away.send(Uint8Array.of())
  await harness.counter("drop:empty", 1)
  away.send(older)
  expect(numberOf(await harness.tun.next())).toBe(1)
  harness.tun.write(ipPacket(4))
  await soon("a packet at home", () => home.received.length === 1)
  expect(away.received).toEqual([])
  expect(moves(harness)).toEqual([])
})

test.each([
  { hasControlKey: true, what: "name their sender" },
  { hasControlKey: false, what: "without a key of their own do so until there is a data key, then they are dropped" },
])("control packets from elsewhere $what", async ({ hasControlKey }) => {
  const { harness, home, away } = await floating(v4, { hasControlKey, hasKey: false })
  await using _ = harness
  using _home = home
  using _away = away
  away.send(Uint8Array.of(0x20, 1))
  const { packet, from } = await harness.event("control")
  expect([...packet]).toEqual([0x20, 1])
  expect(readSocketAddress(from!)).toEqual(away.name)
  await harness.use(dataKey(0))
  const controls = () => harness.events.flatMap((event) => (event.type === "control" ? [event] : []))
  away.send(Uint8Array.of(0x20, 2))
  if (hasControlKey) await soon("another one", () => controls().length === 2)
  else await harness.counter("drop:stranger", 1)
  home.send(Uint8Array.of(0x20, 3))
  const last = await soon("the peer's", () => controls().find((event) => event.packet[1] === 3))
  expect("from" in last).toBe(false)
  expect(controls().length).toBe(hasControlKey ? 3 : 2)
})

test("a flood of strangers' control packets leaves those of the peer alone", async () => {
  const { harness, home, away } = await floating(v4)
  await using _ = harness
  using _home = home
  using _away = away
  for (let i = 0; i < 1000; i++) away.send(Uint8Array.of(0x20, 1))
  await soon("a flood", () => harness.plane.counters.read("drop:controlFlood") > 500)
  for (let i = 0; i < 100; i++) home.send(Uint8Array.of(0x20, 2))
  const taken = () => harness.events.filter((event) => event.type === "control" && event.from === undefined).length
  await soon("those of the peer", () => taken() === 100)
})

test("a server that moves in the middle of a stream: all of it arrives, once", async () => {
  const { harness, home, away } = await floating(v4)
  await using _ = harness
  using _home = home
  using _away = away
  let number = 0
  const got = new Set<number>()
  const receive = async (count: number) => {
    while (got.size < count) got.add(numberOf(await harness.tun.next()))
  }
  const send = (from: Place, count: number) => {
    for (let i = 0; i < count; i++) from.send(harness.peer.seal(ipPacket(number++)))
  }
  for (const [from, count] of [
    [home, 500],
    [away, 1500],
  ] as const) {
    for (let sent = 0; sent < count; sent += 100) {
      send(from, 100)
      if (from === away && sent === 500)
        harness.plane.send({ type: "roam", generation: 1, to: (await harness.event("peerMoved")).from })
      await receive(number)
    }
  }
  expect(got.size).toBe(2000)
  expect(harness.plane.counters.read("drop:replay")).toBe(0)
})
