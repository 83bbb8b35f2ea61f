/** PUSH_UPDATE on a connection that carries traffic: what the server may change is changed, and the connection stays. */
import { expect } from "bun:test"
import { Effect, Fiber } from "effect"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import { attempt, elapse, pushReply, reasonOf, server } from "./attempt.ts"

/** Connected, with a way to say something and to look at what came of it. */
const connected = Effect.fnUntraced(function* (push = `${pushReply},ping 10,ping-restart 60`) {
  const peer = server({ push: [push] })
  const plane = new MemoryPlane(() => peer)
  const { fiber, status, applied, nameServers } = yield* attempt(plane)
  yield* elapse("1 second")
  applied.length = 0
  const update = Effect.fnUntraced(function* (options: string) {
    peer.say(1000, `PUSH_UPDATE,${options}`)
    plane.deliver()
    yield* elapse("1 millis")
  })
  return { fiber, plane, status, applied, nameServers, update }
})

it.effect("routes: the new ones take the place of the old ones", () =>
  Effect.gen(function* () {
    const { update, applied, status } = yield* connected()
    yield* update("route 10.77.0.0 255.255.0.0")
    expect(applied).toContain("route replace 10.77.0.0/16 dev tun0 proto 149")
    expect(applied.some((change) => change.includes("10.9.0.0"))).toBe(false)
    yield* update("redirect-gateway def1")
    expect(applied).toContain("route replace 128.0.0.0/1 dev tun0 proto 149")
    expect(yield* status).toMatchObject({ phase: "connected", connects: 1 })
  }),
)

it.effect("addresses of both families, and they go again", () =>
  Effect.gen(function* () {
    const { update, status } = yield* connected()
    yield* update("ifconfig 10.8.0.9 255.255.255.0,ifconfig-ipv6 fd00::9/64 fd00::1")
    expect((yield* status).addresses).toEqual(["10.8.0.9/24", "fd00::9/64"])
    yield* update("-ifconfig-ipv6")
    expect(yield* status).toMatchObject({ connects: 1, addresses: ["10.8.0.9/24"] })
  }),
)

it.effect("name servers", () =>
  Effect.gen(function* () {
    const { update, nameServers } = yield* connected(`${pushReply},dhcp-option DNS 10.8.0.1`)
    yield* update("dhcp-option DNS 10.8.0.53")
    yield* update("dns server 1 address 10.8.0.54,-dhcp-option")
    expect(nameServers).toEqual([["10.8.0.1"], ["10.8.0.53"], ["10.8.0.54"]])
  }),
)

it.effect("the MTU of the device", () =>
  Effect.gen(function* () {
    const { update, applied, status } = yield* connected()
    yield* update("tun-mtu 1400")
    expect(applied).toContain("link set dev tun0 mtu 1400 up")
    expect((yield* status).mtu).toBe(1400)
  }),
)

it.effect("pings, and how long a silence lasts until the server is taken for dead", () =>
  Effect.gen(function* () {
    const { update, plane, fiber, status } = yield* connected()
    yield* update("ping 2,ping-restart 20")
    expect((yield* status).deadAfter).toBe(20)
    yield* elapse("11 seconds")
    expect(plane.commands.filter((command) => command === "ping").length).toBeGreaterThanOrEqual(5)
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* elapse("10 seconds")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "PingRestart" })
  }),
)

it.effect("both at once, by keepalive", () =>
  Effect.gen(function* () {
    const { update, status } = yield* connected()
    yield* update("keepalive 5 15")
    expect((yield* status).deadAfter).toBe(15)
  }),
)

for (const [option, tag] of [
  ["inactive 30", "Inactive"],
  ["session-timeout 30", "SessionTimeout"],
] as const)
  it.effect(`${option}`, () =>
    Effect.gen(function* () {
      const { update, fiber } = yield* connected()
      yield* update(option)
      yield* elapse("28 seconds")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* elapse("3 seconds")
      expect(yield* reasonOf(fiber)).toMatchObject({ tag })
    }),
  )

it.effect("whether and how often to say good-bye", () =>
  Effect.gen(function* () {
    const { update, fiber, plane } = yield* connected()
    yield* update("explicit-exit-notify 3")
    yield* Fiber.interrupt(fiber)
    expect(plane.commands.filter((command) => command === "occExit")).toHaveLength(3)
  }),
)

it.effect("what cannot change while connected takes a new connection, as OpenVPN does; not when it is optional", () =>
  Effect.gen(function* () {
    const { update, fiber, status } = yield* connected()
    yield* update("?peer-id 9,?cipher AES-128-GCM,?no-such-option 1")
    expect(yield* status).toMatchObject({ phase: "connected", connects: 1 })
    yield* update("peer-id 9")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "ServerRestart", retry: "same" })
  }),
)

it.effect("what has no effect here takes no new connection", () =>
  Effect.gen(function* () {
    const { update, status } = yield* connected()
    yield* update("block-outside-dns,register-dns,setenv-safe ROOM 1")
    expect(yield* status).toMatchObject({ phase: "connected", connects: 1 })
  }),
)
