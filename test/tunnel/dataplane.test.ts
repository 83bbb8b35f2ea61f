import { expect } from "bun:test"
import { readdirSync } from "node:fs"
import { Effect, Layer, Queue } from "effect"
import { DataPlane, type Link } from "../../src/tunnel/dataplane.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { dataKey, ipPacket, mirrored, Peer } from "../dataplane/keys.ts"
import { it } from "../support/effect.ts"
import { soon, TunPair } from "../support/pair.ts"

const replayWindow = { packets: 64, seconds: 15 }

/** A server's end on loopback that keeps what it gets. */
const farEnd = Effect.acquireRelease(
  Effect.promise(async () => {
    const received: Array<Uint8Array> = []
    const socket = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: { data: (_, data) => void received.push(new Uint8Array(data)) },
    })
    return { socket, received }
  }),
  ({ socket }) => Effect.sync(() => socket.close()),
)

const openLink = Effect.fnUntraced(function* (port: number) {
  const plane = yield* DataPlane
  const link = yield* plane.open({
    transport: "udp",
    address: "127.0.0.1",
    family: "ipv4",
    port,
    local: undefined,
    socket: { sendBuffer: undefined, receiveBuffer: undefined, mark: undefined, bindDevice: undefined, passTos: false },
  })
  expect((yield* Queue.take(link.events)).type).toBe("transportOpen")
  return link
})

/** A key that no cipher takes: an invariant of ours is broken, and the worker crashes. */
const crash = (link: Link) => {
  const key = dataKey(0)
  link.installKey({ ...key, send: { ...key.send, cipherKey: new Uint8Array(5) } }, replayWindow)
}

it.live("a crash of the worker ends its links only: the next one carries packets of the same tun device", () =>
  Effect.gen(function* () {
    const plane = yield* DataPlane
    const far = yield* farEnd
    const tun = new TunPair()
    yield* Effect.addFinalizer(() => Effect.sync(() => tun[Symbol.dispose]()))
    yield* plane.attachTun(tun.fd)

    const first = yield* openLink(far.socket.port)
    first.transmit(Uint8Array.of(0x38, 1, 2, 3))
    yield* Effect.promise(() => soon("a control packet", () => far.received.length === 1))
    // The worker counts a packet when it has sent it.
    yield* Effect.promise(() => soon("its count", () => plane.counter("transportWritePackets") === 1))
    crash(first)
    const event = yield* Queue.take(first.events)
    expect(event).toMatchObject({
      type: "transportFailed",
      message: "the data plane crashed: AES-256-GCM: the key has 5 bytes, not 32",
    })

    const second = yield* openLink(far.socket.port)
    const key = dataKey(0)
    second.installKey(key, replayWindow)
    second.useKey(0)
    second.carry()
    // What comes to the tun before a link carries is dropped: this is sent after that.
    second.transmit(Uint8Array.of(0x38, 5, 6, 7))
    yield* Effect.promise(() => soon("another control packet", () => far.received.length === 2))
    tun.write(ipPacket(7))
    yield* Effect.promise(() => soon("a data packet", () => far.received.length === 3))
    const peer = new Peer()
    peer.keys.install(mirrored(key), replayWindow)
    expect(peer.open(far.received[2]!)).toEqual(ipPacket(7))
    yield* Effect.promise(() => soon("the count goes on", () => plane.counter("transportWritePackets") === 3))

    const status = yield* StatusRef
    const { timeline } = yield* status.get
    expect(timeline.map(({ event }) => event)).toEqual(["part_crashed", "part_restarted"])
  }).pipe(Effect.provide(DataPlane.layer().pipe(Layer.provideMerge(StatusRef.layer)))),
)

it.live("the fifth crash in a row is the end, and no descriptor is left behind", () =>
  Effect.gen(function* () {
    const before = readdirSync("/proc/self/fd").length
    const error = yield* Effect.gen(function* () {
      const plane = yield* DataPlane
      const far = yield* farEnd
      for (let round = 1; round <= 5; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const link = yield* openLink(far.socket.port)
            crash(link)
            yield* Queue.take(link.events)
          }),
        )
      }
      return yield* Effect.flip(plane.lost)
    }).pipe(Effect.provide(DataPlane.layer().pipe(Layer.provideMerge(StatusRef.layer))), Effect.scoped)
    expect(error).toMatchObject({ _tag: "KeepsCrashing" })
    // A thread that ends closes its descriptors when it gets a processor.
    yield* Effect.promise(() => soon("its descriptors", () => readdirSync("/proc/self/fd").length <= before))
  }),
)
