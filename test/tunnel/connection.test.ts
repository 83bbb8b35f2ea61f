import { expect } from "bun:test"
import { Effect, Fiber, Layer } from "effect"
import { TlsContext } from "../../src/openssl/index.ts"
import { keepUp } from "../../src/tunnel/keepup.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { Wishes } from "../../src/tunnel/wishes.ts"
import { staticKey } from "../config/fixtures.ts"
import { Authority, SERVER } from "../openssl/authority.ts"
import { tlsCrypt } from "../protocol/pair.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import { attempt, elapse, profile, pushReply, reasonOf, server, world } from "./attempt.ts"

const plain = { _tag: "Plain" } as const

it.effect("connects: routes first, then the status says so", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { status, applied } = yield* attempt(plane)
    yield* elapse("1 millis")
    expect(yield* status).toMatchObject({
      phase: "connected",
      connects: 1,
      cipher: "AES-256-GCM",
      addresses: ["10.8.0.2/24"],
      deadAfter: 60,
    })
    expect(plane.commands).toEqual(["installKey 0", "useKey 0", "carry 1"])
    expect(applied).toContain("route replace 10.9.0.0/16 dev tun0 proto 149")
  }),
)

it.effect("a server that falls silent after the connection is found dead to the second, pinged until then", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { fiber, status } = yield* attempt(plane)
    yield* elapse("1 millis")
    yield* elapse("59 seconds")
    expect(plane.commands.filter((command) => command === "ping")).toHaveLength(5)
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* elapse("1 second")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "PingRestart" })
    expect(yield* status).toMatchObject({ phase: "waiting" })
    expect(plane.commands.at(-1)).toBe("detach")
  }),
)

it.effect(
  "a network that is away for less than ping-restart costs nothing: the same session, pinged all the time",
  () =>
    Effect.gen(function* () {
      const plane = new MemoryPlane(() => server({ push: [`${pushReply},ping 10,ping-restart 120`] }))
      const { fiber, status } = yield* attempt(plane)
      yield* elapse("1 millis")
      const before = yield* status
      const commands = plane.commands.length
      yield* elapse("1 minute")
      plane.linkCounters.lastReceive = 60_000
      yield* elapse("119 seconds")
      expect(fiber.pollUnsafe()).toBeUndefined()
      expect(yield* status).toEqual(before)
      expect(new Set(plane.commands.slice(commands))).toEqual(new Set(["ping"]))
      expect(plane.opened).toHaveLength(1)
    }),
)

for (const { what, wrapping, directives, deadAt } of [
  { what: "is no sign of life where anybody could have sent it", wrapping: plain, directives: "", deadAt: 60 },
  {
    what: "is a sign of life where a key of its own proves that it is the server's",
    wrapping: tlsCrypt,
    directives: `<tls-crypt>\n${staticKey}</tls-crypt>`,
    deadAt: 110,
  },
]) {
  it.effect(`a control packet ${what}`, () =>
    Effect.gen(function* () {
      const peer = server({ wrapping })
      const plane = new MemoryPlane(() => peer)
      const { fiber } = yield* attempt(plane, profile(directives))
      yield* elapse("1 millis")
      yield* elapse("50 seconds")
      peer.say(50_000, "INFO,still here")
      plane.deliver()
      yield* elapse(`${deadAt - 50 - 1} seconds`)
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* elapse("1 second")
      expect(yield* reasonOf(fiber)).toMatchObject({ tag: "PingRestart" })
    }),
  )
}

it.effect("the device follows the path to the server, down and up again, but not beyond what the server allows", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { status, applied, path } = yield* attempt(plane)
    path.bytes = 9000
    yield* elapse("1 millis")
    expect((yield* status).mtu).toBe(1500)
    path.bytes = 1280
    yield* elapse("5 seconds")
    path.bytes = 1500
    yield* elapse("5 seconds")
    yield* elapse("5 seconds")
    // 20 bytes IPv4, 8 UDP, 4 opcode and peer id, 4 packet id, 16 tag.
    expect(applied.filter((line) => line.startsWith("mtu"))).toEqual(["mtu tun0 1228", "mtu tun0 1448"])
    expect((yield* status).mtu).toBe(1448)
  }),
)

it.effect("a day with a key an hour, without an interruption", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { fiber, status } = yield* attempt(plane)
    yield* elapse("1 millis")
    for (let minute = 1; minute <= 24 * 60; minute++) {
      plane.linkCounters.lastReceive = minute * 60_000
      yield* elapse("1 minute")
    }
    expect(fiber.pollUnsafe()).toBeUndefined()
    expect(yield* status).toMatchObject({ phase: "connected", renegotiations: 24 })
    const keys = plane.commands.filter((command) => /^(install|use)Key/.test(command))
    expect(keys.slice(0, 6)).toEqual([
      "installKey 0",
      "useKey 0",
      "installKey 1",
      "useKey 1",
      "installKey 2",
      "useKey 2",
    ])
    // Two keys live at any time at most: each new one but the first two retires the one before last.
    expect(plane.commands.filter((command) => command.startsWith("retireKey"))).toHaveLength(23)
  }),
)

it.effect("the server's renegotiation is joined and counted", () =>
  Effect.gen(function* () {
    const peer = server()
    const plane = new MemoryPlane(() => peer)
    const { status } = yield* attempt(plane)
    yield* elapse("10 seconds")
    peer.renegotiate(10_000)
    plane.deliver()
    yield* elapse("1 second")
    expect((yield* status).renegotiations).toBe(1)
  }),
)

it.effect("a key that the server sends with is sent with at once", () =>
  Effect.gen(function* () {
    const peer = server()
    const plane = new MemoryPlane(() => peer)
    yield* attempt(plane)
    yield* elapse("10 seconds")
    peer.renegotiate(10_000)
    plane.deliver()
    yield* elapse("1 second")
    expect(plane.commands.at(-1)).toBe("installKey 1")
    plane.emit({ type: "keyUsed", generation: 1, keyId: 1 })
    yield* elapse("1 millis")
    expect(plane.commands.at(-1)).toBe("useKey 1")
  }),
)

it.effect("nobody answers: the attempt ends after connect-timeout and goes to the next address", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { fiber } = yield* attempt(plane, profile("connect-timeout 20"))
    yield* elapse("19 seconds")
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* elapse("1 second")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "NoAnswer", retry: "advance" })
  }),
)

it.effect("a server that stops in the middle of TLS is given up after hand-window", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server({ stop: "duringTls" }))
    const { fiber } = yield* attempt(plane, profile("hand-window 30"))
    yield* elapse("31 seconds")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "HandshakeTimeout" })
  }),
)

it.effect("what the server says ends the connection as it says", () =>
  Effect.gen(function* () {
    for (const [message, expected] of [
      ["RESTART", { tag: "ServerRestart" }],
      ["HALT,maintenance", { tag: "ServerHalt", retry: "never" }],
      ["AUTH_FAILED", { tag: "AuthFailed", temporary: false }],
    ] as const) {
      const peer = server()
      const plane = new MemoryPlane(() => peer)
      const { fiber } = yield* attempt(plane)
      yield* elapse("1 second")
      peer.say(1000, message)
      plane.deliver()
      yield* elapse("1 second")
      expect(yield* reasonOf(fiber)).toMatchObject(expected)
    }
  }),
)

it.effect("the worker's reports end it too: a lost transport, an exit of the server", () =>
  Effect.gen(function* () {
    for (const [type, tag] of [
      ["transportFailed", "Transport"],
      ["remoteExit", "ServerExit"],
    ] as const) {
      const plane = new MemoryPlane(() => server())
      const { fiber } = yield* attempt(plane)
      yield* elapse("1 second")
      plane.emit({ type, generation: 1, message: "recv: ECONNRESET" })
      yield* elapse("1 second")
      expect(yield* reasonOf(fiber)).toMatchObject({ tag, retry: "same" })
    }
  }),
)

it.effect(
  "interrupting says good-bye before the transport closes: on the data channel, or on the control channel",
  () =>
    Effect.gen(function* () {
      const old = new MemoryPlane(() => server({ push: [`${pushReply},explicit-exit-notify 2`] }))
      const first = yield* attempt(old)
      yield* elapse("1 second")
      yield* Fiber.interrupt(first.fiber)
      expect(old.commands.slice(-3)).toEqual(["occExit", "occExit", "detach"])

      const peer = server({ push: [`${pushReply},explicit-exit-notify,protocol-flags cc-exit`] })
      const second = yield* attempt(new MemoryPlane(() => peer))
      yield* elapse("1 second")
      yield* Fiber.interrupt(second.fiber)
      expect(peer.messages).toContain("EXIT")
    }),
)

it.effect("a server of another authority is refused, and nothing is installed", () =>
  Effect.gen(function* () {
    const stranger = new Authority()
    const other = stranger.issue("server", "ec", SERVER)
    stranger.remove()
    const context = TlsContext.create({
      ca: undefined,
      ...other,
      minimum: "1.2",
      certProfile: "legacy",
      verify: () => undefined,
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => context.free()))
    const plane = new MemoryPlane(() => server({ accept: () => context.accept() }))
    const { fiber } = yield* attempt(plane)
    yield* elapse("1 second")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "PeerRefused", check: "chain" })
    expect(plane.commands).toEqual(["detach"])
  }),
)

it.effect("with the retry policy above: dead server, back-off, traffic again by itself", () =>
  Effect.gen(function* () {
    let alive = true
    const plane = new MemoryPlane(() => (alive ? server() : undefined))
    const file = profile("connect-timeout 5")
    const { layer } = world(plane)
    const context = yield* Layer.build(layer)
    yield* Effect.forkScoped(keepUp(file, new Wishes(), "sequential").pipe(Effect.provide(context)), {
      startImmediately: true,
    })
    const status = Effect.flatMap(StatusRef, (ref) => ref.get).pipe(Effect.provide(context))
    yield* elapse("1 second")
    expect((yield* status).phase).toBe("connected")
    alive = false
    yield* elapse("70 seconds")
    expect((yield* status).phase).not.toBe("connected")
    alive = true
    yield* elapse("10 seconds")
    expect(yield* status).toMatchObject({ phase: "connected", connects: 2 })
  }),
)
