import { expect } from "bun:test"
import { Effect, Exit, Logger, Scope } from "effect"
import { prepare, type Sources, serve } from "../../src/sidecar/index.ts"
import type { Happened } from "../../src/tunnel/index.ts"
import { it } from "../support/effect.ts"
import { soon } from "../support/pair.ts"
import { idle } from "./world.ts"

const scene = Effect.gen(function* () {
  const world = {
    status: idle,
    counters: { heartbeat: 99_000, lastReceive: 0 } as Record<string, number>,
    now: 100_000,
  }
  const listeners: Array<(happened: Happened) => void> = []
  const sources: Sources = {
    status: () => world.status,
    counters: () => world.counters,
    now: () => world.now,
    listen: (listener) => Effect.sync(() => void listeners.push(listener)),
  }
  const happens = (event: string, facts: Happened["facts"] = {}) =>
    Effect.sync(() => {
      for (const listener of listeners) listener({ at: 0, event, message: event, facts })
    })
  return { world, sources, happens }
})

const served = Effect.gen(function* () {
  const { world, sources, happens } = yield* scene
  const server = yield* serve({ hostname: "127.0.0.1", port: 0 }, yield* prepare(sources))
  const get = (path: string, init: RequestInit = {}) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
      return { status: response.status, body: await response.text(), headers: response.headers }
    })
  const codes = Effect.all([get("/startupz"), get("/livez"), get("/readyz")]).pipe(
    Effect.map((all) => all.map(({ status }) => status)),
  )
  return { world, get, codes, happens, port: server.port }
})

it.live("the probes tell the truth in every phase", () =>
  Effect.gen(function* () {
    const { world, get, codes } = yield* served
    expect(yield* codes).toEqual([503, 200, 503])
    world.status = { ...idle, phase: "connected", connects: 1, deadAfter: 60, since: Date.now() }
    expect(yield* codes).toEqual([200, 200, 200])
    world.status = { ...world.status, phase: "waiting", lastError: "nothing heard" }
    expect(yield* codes).toEqual([200, 200, 503])
    expect((yield* get("/readyz")).body).toContain("waiting: nothing heard")
    world.status = { ...world.status, phase: "connected", since: Date.now() - 3_600_000 }
    world.counters.lastReceive = 38_999
    expect(yield* codes).toEqual([200, 200, 503])
    world.counters.lastReceive = 39_001
    expect(yield* codes).toEqual([200, 200, 200])
    // Silence before a reconnect is not held against the new connection.
    world.counters.lastReceive = 1
    world.status = { ...world.status, since: Date.now() }
    expect(yield* codes).toEqual([200, 200, 200])
  }),
)

it.live("a data plane that stands still fails liveness", () =>
  Effect.gen(function* () {
    const { world, codes } = yield* served
    world.counters.heartbeat = 90_000
    expect(yield* codes).toEqual([503, 503, 503])
  }),
)

it.live("verbose lists the checks that hold as well", () =>
  Effect.gen(function* () {
    const { get } = yield* served
    expect((yield* get("/readyz")).body).not.toContain("data-plane")
    expect((yield* get("/readyz?verbose")).body).toContain("[+] data-plane")
  }),
)

it.live("metrics and status come from the same counters", () =>
  Effect.gen(function* () {
    const { world, get } = yield* served
    world.counters.tunReadBytes = 1234
    world.counters["drop:replay"] = 7
    const { body } = yield* get("/metrics")
    expect(body).toContain("openvpn_client_tun_tap_read_bytes_total 1234")
    expect(body).toContain('openvpn_client_dropped_packets_total{direction="received",reason="replay"} 7')
    expect((yield* get("/metrics")).body).toContain("openvpn_client_tun_tap_read_bytes_total 1234")
    expect(JSON.parse((yield* get("/status")).body)).toMatchObject({
      phase: "connecting",
      counters: { tunReadBytes: 1234 },
    })
  }),
)

it.live("only GET and HEAD are taken, and a body that nobody reads is not taken either", () =>
  Effect.gen(function* () {
    const { get } = yield* served
    for (const path of ["/", "/livez", "/readyz", "/startupz", "/status", "/metrics", "/events"]) {
      const wanted = path === "/events" ? 200 : (yield* get(path)).status
      expect(yield* get(path, { method: "HEAD" })).toMatchObject({ status: wanted, body: "" })
      for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        const { status, headers } = yield* get(path, { method })
        expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD"])
      }
    }
    expect((yield* get("/status", { method: "POST", body: "x".repeat(100_000) })).status).toBe(413)
  }),
)

it.live("an unknown path is 404 and a port in use is one clear error", () =>
  Effect.gen(function* () {
    const { get, world } = yield* served
    expect((yield* get("/nothing")).status).toBe(404)
    const taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() })
    yield* Effect.addFinalizer(() => Effect.promise(() => taken.stop(true)))
    const sources: Sources = {
      status: () => world.status,
      counters: () => world.counters,
      now: () => 0,
      listen: () => Effect.void,
    }
    const error = yield* Effect.flip(serve({ hostname: "127.0.0.1", port: taken.port! }, yield* prepare(sources)))
    expect(error.message).toContain(`127.0.0.1:${taken.port}`)
  }),
)

it.live(
  "a server whose socket is gone says so; what it counted and showed is there again when it is started anew",
  () =>
    Effect.gen(function* () {
      const { sources, happens } = yield* scene
      const answers = yield* prepare(sources)
      const scope = yield* Scope.make()
      const { port, running } = yield* Scope.provide(serve({ hostname: "127.0.0.1", port: 0 }, answers), scope)
      yield* happens("connected", { seconds: 1 })
      yield* Scope.close(scope, Exit.void)
      expect((yield* Effect.flip(running)).message).toBe(`nobody listens on 127.0.0.1:${port} any more`)
      const again = yield* serve({ hostname: "127.0.0.1", port }, answers)
      expect(again.port).toBe(port)
      const body = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/metrics`).then((got) => got.text()))
      expect(body).toContain('openvpn_client_connects_total{result="success"} 1\n')
    }),
)

it.live("a request that meets a defect is answered with 500 and told; the server goes on", () =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    yield* Effect.gen(function* () {
      const { world, get } = yield* served
      const { counters } = world
      Object.defineProperty(world, "counters", {
        get: () => {
          throw new Error("an invariant")
        },
        configurable: true,
      })
      expect((yield* get("/status")).status).toBe(500)
      yield* Effect.promise(() => soon("a line", () => lines.some((line) => line.includes("an invariant"))))
      Object.defineProperty(world, "counters", { value: counters })
      expect((yield* get("/status")).status).toBe(200)
    }).pipe(Effect.provide(Logger.layer([logger])))
  }),
)

it.live("an event that cannot be counted is the end of the server's run, and of nothing else", () =>
  Effect.gen(function* () {
    const { sources, happens } = yield* scene
    const { running } = yield* serve({ hostname: "127.0.0.1", port: 0 }, yield* prepare(sources))
    const broken = {
      get seconds() {
        throw new Error("an invariant")
      },
    }
    yield* happens("connected", broken)
    expect((yield* Effect.flip(running)).message).toBe("counting connected: Error: an invariant")
  }),
)
