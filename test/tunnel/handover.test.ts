import { expect } from "bun:test"
import { Context, Effect, Fiber, Layer } from "effect"
import type { Profile } from "../../src/config/index.ts"
import { afterglow, idleLimit, longestDrain, mostFormer } from "../../src/tunnel/former.ts"
import { keepUp } from "../../src/tunnel/keepup.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { Wishes } from "../../src/tunnel/wishes.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import type { ScriptedServer, ServerOptions } from "../support/server.ts"
import { elapse, profile, pushReply, server, world } from "./attempt.ts"

/** A tunnel that is up over link 1. `next` says what the server of each further link is like. */
const connected = (
  next: (link: number) => Partial<ServerOptions> | "nobody" = () => ({}),
  first: Partial<ServerOptions> = {},
  file: Profile = profile(),
) =>
  Effect.gen(function* () {
    const servers: Array<ScriptedServer | undefined> = []
    const plane = new MemoryPlane(() => {
      const options = servers.length === 0 ? first : next(servers.length + 1)
      const made = options === "nobody" ? undefined : server(options)
      servers.push(made)
      return made
    })
    const { applied, layer } = world(plane)
    const context: Context.Context<Layer.Success<typeof layer>> = yield* Layer.build(layer)
    const wishes = new Wishes()
    const events: Array<{ readonly event: string; readonly message: string; readonly facts: object }> = []
    const told = Context.get(context, StatusRef)
    yield* told.listen((happened) => void events.push(happened))
    const fiber = yield* Effect.forkScoped(keepUp(file, wishes, "sequential").pipe(Effect.provide(context)))
    yield* elapse("1 millis")
    expect((yield* told.get).phase).toBe("connected")
    applied.length = 0
    plane.commands.length = 0
    events.length = 0
    return {
      plane,
      servers,
      applied,
      fiber,
      wishes,
      status: told.get,
      /** The names of the events so far. */
      happened: () => events.map(({ event }) => event),
      events,
      wish: (profile: Profile = file) => Effect.andThen(wishes.ask(profile), elapse("1 millis")),
    }
  })

const pushing = (address: string): Partial<ServerOptions> => ({
  push: [`${pushReply.replace("10.8.0.2", address)},ping 10,ping-restart 60`],
})
const addressOf = (link: number) => `10.8.0.${link + 1}`
/** As with duplicate-cn and a pool. */
const pool = (link: number) => pushing(addressOf(link))

it.effect("the address stays: the new connection carries at once, the old one goes on receiving for two seconds", () =>
  Effect.gen(function* () {
    const { plane, status, happened, events, wish } = yield* connected()
    yield* wish()
    expect(plane.commands).toEqual(["hold 200", "installKey 0", "useKey 0", "carry 2", "carry 2"])
    expect([...plane.open]).toEqual([1, 2])
    yield* elapse(afterglow - 10)
    expect([...plane.open]).toEqual([1, 2])
    yield* elapse(20)
    expect([...plane.open]).toEqual([2])
    expect(happened()).toEqual(["handover_started", "handed_over"])
    expect(events[1]!.facts).toMatchObject({ sessions: "one", addresses: ["10.8.0.2/24"] })
    const lastHandover = { at: expect.any(Number), ok: true, message: events[1]!.message }
    expect(yield* status).toMatchObject({ phase: "connected", connects: 1, handover: undefined, lastHandover })
  }),
)

it.effect(
  "over TCP the old link is asked something before the server may end it: then it has read all of its stream",
  () =>
    Effect.gen(function* () {
      const { plane, wish } = yield* connected(() => ({}), {}, profile("proto tcp"))
      yield* wish()
      expect(plane.commands).toEqual(["hold 200", "occ", "hold 200", "installKey 0", "useKey 0", "carry 2", "carry 2"])
      // One that does not answer is not waited for longer than packets may wait.
      plane.answersOcc = false
      plane.commands.length = 0
      yield* wish()
      expect(plane.commands).toEqual(["hold 200", "occ"])
      yield* elapse(200)
      expect(plane.commands.slice(2)).toEqual(["hold 200", "installKey 0", "useKey 0", "carry 3", "carry 3"])
    }),
)

it.effect("another address: the new one carries once it is proven to, connections of before keep to the old link", () =>
  Effect.gen(function* () {
    const { plane, applied, status, events, wish } = yield* connected(pool)
    yield* wish()
    expect(plane.commands).toEqual([
      "hold 200",
      "installKey 0",
      "useKey 0",
      // The old one lives, so nothing has to wait for the proof.
      "carry 1",
      "occ",
      "drain 1 10.8.0.2/24",
      "carry 2",
      "carry 2",
    ])
    expect(applied.indexOf("keep address replace 10.8.0.2/32 dev tun0")).toBeLessThan(
      applied.indexOf("address replace 10.8.0.3/24 dev tun0"),
    )
    expect(applied).toContain("route replace 10.9.0.0/16 dev tun0 proto 149 src 10.8.0.3")
    expect(events.at(-1)).toMatchObject({ event: "handed_over", facts: { sessions: "two" } })
    expect(yield* status).toMatchObject({ addresses: ["10.8.0.3/24"] })
  }),
)

it.effect("the old link closes when nothing has gone through it for 30 seconds, with all that was kept for it", () =>
  Effect.gen(function* () {
    const { plane, applied, events, wish } = yield* connected(pool)
    yield* wish()
    plane.linkCounters.lastTunActivity = 20_000
    yield* elapse(idleLimit)
    expect([...plane.open]).toEqual([1, 2])
    // It is pinged as long as it lives.
    expect(plane.commands.filter((command) => command === "ping").length).toBeGreaterThanOrEqual(2)
    yield* elapse(20_010)
    expect([...plane.open]).toEqual([2])
    expect(plane.commands).toContain("drain 1 ")
    const kept = applied.filter((line) => line.startsWith("keep ")).map((line) => line.slice(5))
    const released = applied.filter((line) => line.startsWith("release ")).map((line) => line.slice(8))
    expect(released).toEqual(kept)
    expect(events.at(-1)).toMatchObject({ event: "drained", facts: { addresses: ["10.8.0.2/24"] } })
  }),
)

it.effect("however busy, the old link closes after five minutes", () =>
  Effect.gen(function* () {
    const { plane, wish } = yield* connected(pool)
    yield* wish()
    for (let second = 0; second < longestDrain / 1000; second += 10) {
      expect([...plane.open]).toEqual([1, 2])
      plane.linkCounters.lastTunActivity = plane.linkCounters.lastReceive = second * 1000
      yield* elapse("10 seconds")
    }
    expect([...plane.open]).toEqual([2])
  }),
)

it.effect("the old link closes at once when its server is gone", () =>
  Effect.gen(function* () {
    const { plane, happened, wish } = yield* connected(pool)
    yield* wish()
    plane.emit({ type: "transportFailed", generation: 1, message: "recv: end of stream" })
    yield* elapse("1 millis")
    expect([...plane.open]).toEqual([2])
    expect(happened()).toEqual(["handover_started", "handed_over", "drained"])
  }),
)

it.effect("a server that does not take it changes nothing: the old one carries on", () =>
  Effect.gen(function* () {
    const { plane, applied, status, happened, events, wish } = yield* connected(() => ({ push: ["AUTH_FAILED"] }))
    const before = yield* status
    yield* wish(profile("auth-retry none"))
    expect([...plane.open]).toEqual([1])
    expect(plane.commands.at(-1)).toBe("carry 1")
    expect(applied).toEqual([])
    expect(happened()).toEqual(["handover_started", "handover_failed"])
    expect(events[1]).toMatchObject({ facts: { stays: true } })
    expect(events[1]!.message).toContain("the present connection stays")
    const after = yield* status
    expect(after.lastHandover).toMatchObject({ ok: false, message: events[1]!.message })
    const unchanged = { lastHandover: undefined, timeline: [] }
    expect({ ...after, ...unchanged }).toEqual({ ...before, ...unchanged })
  }),
)

it.effect("a login that is refused is not tried at the other servers of the list", () =>
  Effect.gen(function* () {
    const file = profile("remote 192.0.2.2 1194\nremote 192.0.2.3 1194")
    const { plane, wish } = yield* connected(() => ({ push: ["AUTH_FAILED"] }))
    yield* wish(file)
    expect(plane.opened).toHaveLength(2)
    expect([...plane.open]).toEqual([1])
  }),
)

it.effect("a server that is silent is given up after connect-timeout, and the next of the list takes over", () =>
  Effect.gen(function* () {
    const file = profile("connect-timeout 5\nremote 192.0.2.2 1194")
    const { plane, status, happened, wish } = yield* connected((link) => (link === 2 ? "nobody" : {}))
    yield* wish(file)
    expect((yield* status).handover).toEqual({ since: 1 })
    yield* elapse("5 seconds")
    expect(plane.opened.map(({ address }) => address)).toEqual(["192.0.2.1", "192.0.2.1", "192.0.2.2"])
    expect(happened()).toEqual(["handover_started", "handed_over"])
    expect(yield* status).toMatchObject({ remote: "udp://192.0.2.2:1194", connects: 1 })
  }),
)

it.effect("a new connection over which no data comes does not take over, when the server said that it pings", () =>
  Effect.gen(function* () {
    const { plane, applied, happened, events, wish } = yield* connected(pool)
    plane.answersOcc = false
    yield* wish()
    yield* elapse("11 seconds")
    expect(happened()).toEqual(["handover_started"])
    yield* elapse("1 second")
    expect(events.at(-1)).toMatchObject({ event: "handover_failed", facts: { stays: true } })
    expect([...plane.open]).toEqual([1])
    expect(applied).toEqual([])
    expect(plane.commands.at(-1)).toBe("carry 1")
  }),
)

it.effect(
  "the old one dies before its successor is there: that is told at once, and the successor is the next connection",
  () =>
    Effect.gen(function* () {
      const file = profile("connect-timeout 5\nremote 192.0.2.2 1194")
      const { plane, status, happened, wish } = yield* connected((link) => (link === 2 ? "nobody" : {}))
      yield* wish(file)
      plane.emit({ type: "transportFailed", generation: 1, message: "recv: ECONNRESET" })
      yield* elapse("1 millis")
      expect(yield* status).toMatchObject({ phase: "connecting", lastError: "recv: ECONNRESET" })
      expect([...plane.open]).toEqual([2])
      yield* elapse("5 seconds")
      expect(yield* status).toMatchObject({ phase: "connected", connects: 2, lastError: undefined })
      expect(happened()).toEqual(["handover_started", "disconnected", "connected"])
      expect([...plane.open]).toEqual([3])
    }),
)

it.effect("neither lives: it goes on as after any other end", () =>
  Effect.gen(function* () {
    const file = profile("connect-timeout 5")
    const { plane, status, happened, wish } = yield* connected((link) => (link === 2 ? "nobody" : {}))
    yield* wish(file)
    plane.emit({ type: "transportFailed", generation: 1, message: "recv: ECONNRESET" })
    yield* elapse("8 seconds")
    expect(happened()).toEqual([
      "handover_started",
      "disconnected",
      "handover_failed",
      "retry_scheduled",
      "connecting",
      "connected",
    ])
    expect(yield* status).toMatchObject({ phase: "connected", connects: 2, handover: undefined })
    expect([...plane.open]).toEqual([3])
  }),
)

it.effect("a server of one session that ends the old one for the new one costs no word", () =>
  Effect.gen(function* () {
    const { plane, servers, status, happened, wish } = yield* connected(() => ({ unasked: false, stop: "beforePush" }))
    yield* wish()
    expect(plane.commands).toEqual(["hold 200"])
    plane.emit({ type: "transportFailed", generation: 1, message: "recv: end of stream" })
    yield* elapse("100 millis")
    expect((yield* status).phase).toBe("connected")
    servers[1]!.say(100, pushReply)
    plane.deliver(servers[1])
    yield* elapse("1 millis")
    expect(happened()).toEqual(["handover_started", "handed_over"])
    expect([...plane.open]).toEqual([2])
  }),
)

it.effect("a newer wish takes the place of one that is under way", () =>
  Effect.gen(function* () {
    const { plane, happened, wish } = yield* connected((link) => (link < 6 ? "nobody" : {}))
    for (let round = 0; round < 5; round++) {
      yield* wish(profile(`setenv UV_ROUND ${round}`))
      expect(plane.open.size).toBe(2)
    }
    expect([...plane.open]).toEqual([1, 6])
    expect(happened().filter((event) => event === "handed_over")).toHaveLength(1)
  }),
)

it.effect(
  "ten in a row, each with another address: no more links than there may be, the longest idle one makes way",
  () =>
    Effect.gen(function* () {
      const { plane, happened, wish } = yield* connected(pool)
      for (let link = 2; link <= 11; link++) {
        yield* wish()
        yield* elapse("1 second")
        expect(plane.open.size).toBeLessThanOrEqual(1 + mostFormer)
      }
      expect([...plane.open]).toEqual([7, 8, 9, 10, 11])
      expect(happened().filter((event) => event === "drained")).toHaveLength(10 - mostFormer)
    }),
)

it.effect("an address that comes back is no former one: its old link is closed before", () =>
  Effect.gen(function* () {
    const { plane, wish } = yield* connected((link) => pushing(addressOf(link === 3 ? 1 : link)))
    yield* wish()
    expect([...plane.open]).toEqual([1, 2])
    yield* wish()
    expect([...plane.open]).toEqual([2, 3])
    expect(plane.commands).toContain("drain 2 10.8.0.3/24")
  }),
)

it.effect("what cannot stand beside the present connection comes after it", () =>
  Effect.gen(function* () {
    const bound = profile("lport 5000")
    const { plane, happened, wish } = yield* connected(() => ({}), {}, bound)
    yield* wish(bound)
    expect(happened()).toEqual(["handover_impossible", "connecting", "connected"])
    expect([...plane.open]).toEqual([2])
  }),
)

it.effect("interrupted at any moment of a handover, no link is left", () =>
  Effect.gen(function* () {
    const moments: ReadonlyArray<readonly [Partial<ServerOptions> | "nobody", number]> = [
      ["nobody", 1000],
      [{ stop: "duringTls" }, 1000],
      [{ stop: "beforePush", unasked: false }, 1000],
      [pushing(addressOf(2)), 0],
      [pushing(addressOf(2)), 10_000],
      [{}, 1000],
    ]
    for (const [next, after] of moments) {
      const { plane, fiber, wish } = yield* connected(() => next)
      yield* wish()
      yield* elapse(after)
      expect(plane.open.size).toBe(2)
      yield* Fiber.interrupt(fiber)
      expect(plane.open.size).toBe(0)
    }
  }),
)

it.effect("connections that are closed are forgotten, however many there were", () =>
  Effect.gen(function* () {
    const { plane, wish } = yield* connected()
    const handovers = 20
    for (let count = 0; count < handovers; count++) {
      yield* wish()
      yield* elapse(afterglow + 10)
    }
    expect(plane.made).toHaveLength(1 + handovers)
    // What the last fibers ran may lie on the stack still, which the collector takes for references: not for long.
    const alive = () => plane.made.filter((link) => link.deref() !== undefined).length
    for (let tries = 0; tries < 20 && alive() > 3; tries++) {
      yield* Effect.promise(() => Bun.sleep(1))
      Bun.gc(true)
    }
    expect(alive()).toBeLessThanOrEqual(3)
  }),
)
