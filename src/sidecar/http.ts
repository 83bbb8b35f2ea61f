/** Probes, status, metrics and the page over HTTP. Read-only: no request changes anything, no answer holds a credential. */
import { Effect, Layer, Queue, type Scope, Stream } from "effect"
import { type HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"
import type { Happened, Status } from "../tunnel/index.ts"
import { type Check, liveness, type Observation, readiness } from "./health.ts"
import { listenWith, route, ServerCrashed } from "./listener.ts"
import { describe, type Live, makeLive } from "./live.ts"
import { makeMetrics } from "./metrics.ts"
import pageFile from "./page.html" with { type: "text" }

/** Where the answers come from. All are cheap and none waits. */
export interface Sources {
  readonly status: () => Status
  readonly counters: () => Readonly<Record<string, number>>
  /** The clock of the counters' time stamps, ms. */
  readonly now: () => number
  readonly listen: (listener: (happened: Happened) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** What is answered. Counts and the page's history are here, so that they outlive a crash of the server. */
export interface Answers {
  readonly routes: Layer.Layer<never, never, HttpRouter.HttpRouter>
  /** Never succeeds; belongs to the server's run. */
  readonly running: Effect.Effect<never, ServerCrashed>
}

/** Counts events until the scope ends. */
export const prepare = Effect.fnUntraced(function* (sources: Sources) {
  const observe = (): Observation => {
    const counters = sources.counters()
    const at = sources.now()
    return {
      status: sources.status(),
      workerAge: at - (counters.heartbeat ?? 0),
      phaseAge: Date.now() - sources.status().since,
      receiveAge: (counters.lastReceive ?? 0) > 0 ? at - (counters.lastReceive ?? 0) : undefined,
    }
  }
  const seen = { observe, counters: sources.counters }
  const metrics = makeMetrics(seen)
  const broken = yield* Queue.unbounded<ServerCrashed>()
  yield* sources.listen((happened) => {
    try {
      metrics.happened(happened)
    } catch (error) {
      Queue.offerUnsafe(broken, new ServerCrashed({ message: `counting ${happened.event}: ${String(error)}` }))
    }
  })
  const live = yield* makeLive(seen)
  const answers: Answers = {
    routes: Layer.mergeAll(
      probes(observe),
      get(
        "/status",
        Effect.sync(() => HttpServerResponse.jsonUnsafe(describe(seen))),
      ),
      get(
        "/metrics",
        Effect.map(Effect.promise(metrics.scrape), (body) =>
          HttpServerResponse.text(body, { contentType: metrics.contentType }),
        ),
      ),
      get("/", Effect.succeed(HttpServerResponse.text(page, { contentType: "text/html; charset=utf-8", headers }))),
      get("/events", events(live)),
    ),
    running: Effect.raceFirst(live.sampling, Effect.flatMap(Queue.take(broken), Effect.fail)),
  }
  return answers
})

/** Serves until the scope ends. */
export const serve = Effect.fnUntraced(function* (listen: Listen, { routes, running }: Answers) {
  const server = yield* listenWith(listen, routes, "another address can be given with --http or CULVERT_HTTP")
  return { port: server.port, running: Effect.raceFirst(server.running, running) }
})

const get = <E, R>(path: HttpRouter.PathInput, answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  route("GET", path, answer)

const probes = (observe: () => Observation) => {
  let started = false
  const startup = (seen: Observation): ReadonlyArray<Check> => {
    const now = readiness(seen)
    started ||= now.every(({ ok }) => ok)
    return [
      { name: "first-ready", ok: started, reason: started ? "was ready" : "not ready yet" },
      ...(started ? [] : now),
    ]
  }
  return Layer.mergeAll(
    get(
      "/startupz",
      probe(() => startup(observe())),
    ),
    get(
      "/livez",
      probe(() => liveness(observe())),
    ),
    get(
      "/readyz",
      probe(() => readiness(observe())),
    ),
  )
}

/** 200 when every check holds, else 503. The body names what fails; `?verbose` lists all. */
const probe = (checks: () => ReadonlyArray<Check>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const results = checks()
    const failing = results.filter((check) => !check.ok)
    const shown = /[?&]verbose(?:[=&]|$)/.test(request.url) ? results : failing
    const body = shown.map((check) => `[${check.ok ? "+" : "-"}] ${check.name}: ${check.reason}\n`).join("")
    return HttpServerResponse.text(body || "ok\n", { status: failing.length === 0 ? 200 : 503 })
  })

const events = (live: Live) =>
  Effect.gen(function* () {
    const head = { contentType: "text/event-stream", headers: { "cache-control": "no-store" } }
    // Nobody would ever read these messages.
    if ((yield* HttpServerRequest.HttpServerRequest).method === "HEAD")
      return HttpServerResponse.empty({ ...head, status: 200 })
    const messages = live.read()
    return messages === undefined
      ? HttpServerResponse.text("too many readers\n", { status: 503 })
      : HttpServerResponse.stream(Stream.encodeText(messages), head)
  })

const page = String(pageFile)

/** The page may run its own script, and ask for nothing but its own events. */
const headers = {
  "content-security-policy": [
    "default-src 'none'",
    `script-src '${hashOf(/<script>([\s\S]*)<\/script>/)}'`,
    `style-src '${hashOf(/<style>([\s\S]*)<\/style>/)}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
}

function hashOf(part: RegExp): string {
  const text = part.exec(page)?.[1] ?? ""
  return `sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}`
}
