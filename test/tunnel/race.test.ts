import { expect } from "bun:test"
import { Context, Effect, Layer } from "effect"
import { keepUp } from "../../src/tunnel/keepup.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { Wishes } from "../../src/tunnel/wishes.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import type { ServerOptions } from "../support/server.ts"
import { elapse, profile, server, world } from "./attempt.ts"

const three = (directives = "") => profile(`remote 192.0.2.2 1194\nremote 192.0.2.3 1194\n${directives}`)

/** Races for a connection; `servers` says what becomes of each link, in the order in which they are opened. */
const racing = (servers: (link: number) => Partial<ServerOptions> | "nobody", file = three()) =>
  Effect.gen(function* () {
    let links = 0
    const plane = new MemoryPlane(() => {
      const options = servers(++links)
      return options === "nobody" ? undefined : server(options)
    })
    const { layer } = world(plane)
    const context: Context.Context<Layer.Success<typeof layer>> = yield* Layer.build(layer)
    const status = Context.get(context, StatusRef)
    const events: Array<string> = []
    yield* status.listen(({ event }) => void events.push(event))
    yield* Effect.forkScoped(keepUp(file, new Wishes(), "race").pipe(Effect.provide(context)))
    yield* elapse("1 millis")
    const opened = () => plane.opened.map(({ address }) => address.slice(-1)).join("")
    return { plane, status: status.get, events, opened }
  })

it.effect("the first of the list is taken when it answers at once: nobody else is asked", () =>
  Effect.gen(function* () {
    const { opened, status, events } = yield* racing(() => ({}))
    yield* elapse("1 second")
    expect(opened()).toBe("1")
    expect(yield* status).toMatchObject({ phase: "connected", remote: "udp://192.0.2.1:1194", attempts: 1 })
    expect(events).toEqual(["connecting", "race_won", "connected"])
  }),
)

it.effect("a silent one is overtaken after 250 ms, by the next that answers; its link is closed", () =>
  Effect.gen(function* () {
    const { plane, opened, status } = yield* racing((link) => (link === 3 ? {} : "nobody"))
    yield* elapse(498)
    expect(opened()).toBe("12")
    yield* elapse(1)
    expect(opened()).toBe("123")
    expect([...plane.open]).toEqual([3])
    expect(yield* status).toMatchObject({ phase: "connected", remote: "udp://192.0.2.3:1194" })
    // The others heard nothing more of us.
    expect(plane.commands.filter((command) => command === "detach")).toHaveLength(2)
  }),
)

it.effect("one that fails at once makes way at once", () =>
  Effect.gen(function* () {
    const { plane, opened, status } = yield* racing((link) => (link === 1 ? "nobody" : {}))
    plane.emit({ type: "transportFailed", generation: 1, message: "recv: ECONNREFUSED" })
    yield* elapse("1 millis")
    expect(opened()).toBe("12")
    expect((yield* status).phase).toBe("connected")
  }),
)

it.effect("nobody answers: one failed round with every server in its message, then another race", () =>
  Effect.gen(function* () {
    const { opened, status, events, plane } = yield* racing(() => "nobody", three("connect-timeout 5"))
    yield* elapse("6 seconds")
    expect(opened().slice(0, 3)).toBe("123")
    expect(yield* status).toMatchObject({ attempts: 2 })
    const { lastError } = yield* status
    for (const last of [1, 2, 3]) expect(lastError).toContain(`udp://192.0.2.${last}:1194`)
    expect(events.slice(0, 4)).toEqual(["connecting", "disconnected", "retry_scheduled", "connecting"])
    expect(plane.open.size).toBeLessThanOrEqual(3)
  }),
)

it.effect("connect-retry-max counts races", () =>
  Effect.gen(function* () {
    const { opened, events } = yield* racing(() => "nobody", three("connect-timeout 5\nconnect-retry-max 2"))
    yield* elapse("1 minute")
    expect(opened()).toBe("123123")
    expect(events.filter((event) => event === "connecting")).toHaveLength(2)
  }),
)

it.effect("who answers first and then fails does not win the next race", () =>
  Effect.gen(function* () {
    // The first address answers each time and never ends its handshake.
    const { opened, status } = yield* racing(
      (link) => (link === 1 ? { stop: "duringTls" } : {}),
      three("hand-window 5"),
    )
    yield* elapse("5 seconds")
    expect(opened()).toBe("1")
    yield* elapse("2 seconds")
    expect(opened()).toBe("12")
    expect(yield* status).toMatchObject({ phase: "connected", remote: "udp://192.0.2.2:1194" })
  }),
)
