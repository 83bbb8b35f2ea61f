import { expect } from "bun:test"
import { Effect, Layer, Queue } from "effect"
import { KillSwitch } from "../../src/network/index.ts"
import { DataPlane } from "../../src/tunnel/dataplane.ts"
import { followServer } from "../../src/tunnel/float.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { staticKey } from "../config/fixtures.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import { address, attempt, elapse, profile, server, world } from "./attempt.ts"

/** A sockaddr_in. */
const at = (address: string, port = 1194) =>
  Uint8Array.of(2, 0, port >> 8, port & 255, ...address.split(".").map(Number), ...new Array(8).fill(0))

const up = (directives: string) =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { status, applied } = yield* attempt(plane, profile(directives))
    yield* elapse("1 millis")
    const from = at("198.51.100.7", 4000)
    return { plane, status, applied, moved: Effect.sync(() => plane.emit({ type: "peerMoved", generation: 1, from })) }
  })

it.effect("where an authentic packet came from is where packets go, and what the status names", () =>
  Effect.gen(function* () {
    const { plane, status, moved } = yield* up("float")
    yield* moved
    yield* elapse("1 millis")
    expect(plane.commands.at(-1)).toBe("roam 198.51.100.7")
    const { phase, connects, remote, timeline } = yield* status
    expect({ phase, connects, remote }).toEqual({
      phase: "connected",
      connects: 1,
      remote: "udp://198.51.100.7:4000 (192.0.2.1)",
    })
    expect(timeline.at(-1)?.message).toBe(
      "the server is at udp://198.51.100.7:4000 now, no longer at udp://192.0.2.1:1194",
    )
  }),
)

it.effect("without float there is no socket for strangers", () =>
  Effect.gen(function* () {
    expect((yield* up("")).plane.opened[0]?.strays).toBeUndefined()
    expect((yield* up("float")).plane.opened[0]?.strays).toEqual({ hasControlKey: false })
    expect((yield* up(`float\n<tls-crypt>\n${staticKey}</tls-crypt>`)).plane.opened[0]?.strays).toEqual({
      hasControlKey: true,
    })
    expect((yield* up("float\nproto tcp")).plane.opened[0]?.strays).toBeUndefined()
  }),
)

it.effect("the way is open before anything is sent there, and closed after nothing is any more", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { layer } = world(plane)
    const killSwitch = KillSwitch.of({
      ...KillSwitch.none,
      server: ({ address, port }) =>
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => void plane.commands.push(`open ${address}:${port}`)),
            () => Effect.sync(() => void plane.commands.push(`close ${address}:${port}`)),
          ),
        ),
    })
    const context = yield* Layer.build(Layer.merge(layer, Layer.succeed(KillSwitch, killSwitch)))
    yield* Effect.gen(function* () {
      const link = yield* (yield* DataPlane).open({
        transport: "udp",
        ...address,
        port: 1194,
        local: undefined,
        socket: profile().socket,
      })
      const moves = yield* Queue.sliding<Uint8Array>(1)
      const peer = { current: { address, port: 1194, hop: undefined } }
      yield* Effect.forkScoped(followServer(profile().remotes[0], link, moves, peer), { startImmediately: true })
      Queue.offerUnsafe(moves, at(address.address))
      yield* elapse("2 seconds")
      expect(plane.commands).toEqual([])
      for (const [address, port] of [
        ["198.51.100.7", 4000],
        ["198.51.100.8", 4000],
      ] as const) {
        Queue.offerUnsafe(moves, at(address, port))
        yield* elapse("2 seconds")
      }
      expect(plane.commands).toEqual([
        "open 198.51.100.7:4000",
        "roam 198.51.100.7",
        "open 198.51.100.8:4000",
        "roam 198.51.100.8",
        "close 198.51.100.7:4000",
      ])
      // One that goes back and forth has the firewall changed once a second.
      for (let i = 0; i < 50; i++) {
        Queue.offerUnsafe(moves, at(i % 2 === 0 ? "198.51.100.7" : "198.51.100.8"))
        yield* elapse("100 millis")
      }
      expect(plane.commands.filter((command) => command.startsWith("roam")).length).toBeLessThanOrEqual(2 + 6)
      expect((yield* (yield* StatusRef).get).remote).toBeUndefined()
    }).pipe(Effect.scoped, Effect.provide(context))
    expect(plane.commands.filter((command) => command.startsWith("open")).length).toBe(
      plane.commands.filter((command) => command.startsWith("close")).length,
    )
  }),
)
