/** Probes, status, metrics and the page over HTTP. Read-only: no request changes anything, no answer holds a credential. */
import { createHash } from "node:crypto"
import { Data, Effect, Layer, Runtime, type Scope, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"
import type { Happened, Status } from "../tunnel/index.ts"
import { type Check, liveness, type Observation, readiness } from "./health.ts"
import { describe, type Live, makeLive } from "./live.ts"
import { makeMetrics } from "./metrics.ts"
import pageFile from "./page.html" with { type: "text" }

export class HttpError extends Data.TaggedError("HttpError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 71
}

/** Where the answers come from. All are cheap and none waits. */
export interface Sources {
  readonly status: () => Status
  readonly counters: () => Readonly<Record<string, number>>
  /** The clock of the counters' time stamps, ms. */
  readonly now: () => number
  readonly listen: (listener: (happened: Happened) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** Serves until the scope ends. */
export const serve = Effect.fnUntraced(function* (listen: Listen, sources: Sources) {
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
  yield* sources.listen(metrics.happened)
  const live = yield* makeLive(seen)
  return yield* listenWith(
    listen,
    Layer.mergeAll(
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
    "another address can be given with --http or CULVERT_HTTP",
  )
})

/** One listening socket for these routes; `hint` is for the case that it cannot be had. */
export const listenWith = Effect.fnUntraced(function* (
  listen: Listen,
  routes: Layer.Layer<never, never, HttpRouter.HttpRouter>,
  hint: string,
) {
  const { handler, dispose } = HttpRouter.toWebHandler(routes.pipe(Layer.provide(HttpServer.layerServices)), {
    disableLogger: true,
    routerConfig: { ignoreTrailingSlash: false },
  })
  yield* Effect.addFinalizer(() => Effect.promise(() => dispose()))
  return yield* Effect.acquireRelease(
    Effect.try({
      try: () =>
        Bun.serve({
          hostname: listen.hostname,
          port: listen.port,
          // No request has a body that is read.
          maxRequestBodySize: 1024,
          // A defect's page would show the program's source and environment.
          development: false,
          fetch: (request) => handler(request),
        }),
      catch: (error) =>
        new HttpError({
          message: `listening on ${listen.hostname}:${listen.port}: ${error instanceof Error ? error.message : String(error)}; ${hint}`,
        }),
    }),
    (server) => Effect.promise(() => server.stop(true)),
  )
})

/** A path that knows one method; the others are told so. HEAD is GET without the body (RFC 9110 9.3.2). */
export const route = <E, R>(
  method: "GET" | "POST",
  path: HttpRouter.PathInput,
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
) =>
  HttpRouter.add(
    "*",
    path,
    Effect.gen(function* () {
      const asked = (yield* HttpServerRequest.HttpServerRequest).method
      if (asked === method || (asked === "HEAD" && method === "GET")) return yield* answer
      const allow = method === "GET" ? "GET, HEAD" : method
      return HttpServerResponse.text(`${path} takes ${allow}\n`, { status: 405, headers: { allow } })
    }),
  )

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
    const messages = live()
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
  return `sha256-${createHash("sha256").update(text).digest("base64")}`
}
