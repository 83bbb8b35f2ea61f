/** Probes, status and metrics over HTTP. Read-only: no request changes anything, no answer holds a credential. */
import { Data, Effect, Layer, Runtime } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"
import type { Status } from "../tunnel/index.ts"
import { type Check, liveness, type Observation, readiness } from "./health.ts"
import { makeMetrics } from "./metrics.ts"

export class HttpError extends Data.TaggedError("HttpError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 71
}

/** Where the answers come from. All are cheap and none waits. */
export interface Sources {
  readonly status: () => Status
  readonly counters: () => Readonly<Record<string, number>>
  /** The clock of the counters' time stamps, ms. */
  readonly now: () => number
}

/** Serves until the scope ends. */
export const serve = Effect.fnUntraced(function* (listen: Listen, sources: Sources) {
  const { handler, dispose } = HttpRouter.toWebHandler(routes(sources).pipe(Layer.provide(HttpServer.layerServices)), {
    disableLogger: true,
    routerConfig: { ignoreTrailingSlash: false },
  })
  yield* Effect.addFinalizer(() => Effect.promise(() => dispose()))
  return yield* Effect.acquireRelease(
    Effect.try({
      try: () => Bun.serve({ hostname: listen.hostname, port: listen.port, fetch: (request) => handler(request) }),
      catch: (error) =>
        new HttpError({
          message: `listening on ${listen.hostname}:${listen.port}: ${error instanceof Error ? error.message : String(error)}; another address can be given with --http or CULVERT_HTTP`,
        }),
    }),
    (server) => Effect.promise(() => server.stop(true)),
  )
})

const routes = (sources: Sources) => {
  const observe = (): Observation => {
    const counters = sources.counters()
    const at = sources.now()
    return {
      status: sources.status(),
      workerAge: at - (counters.heartbeat ?? 0),
      receiveAge: (counters.lastReceive ?? 0) > 0 ? at - (counters.lastReceive ?? 0) : undefined,
    }
  }
  const registry = makeMetrics(sources)
  let started = false
  const startup = (seen: Observation): ReadonlyArray<Check> => {
    started ||= seen.status.connects > 0
    return [
      { name: "first-connection", ok: started, reason: started ? "was ready" : "not ready yet" },
      ...(started ? [] : readiness(seen)),
    ]
  }
  return Layer.mergeAll(
    HttpRouter.add(
      "GET",
      "/startupz",
      probe(() => startup(observe())),
    ),
    HttpRouter.add(
      "GET",
      "/livez",
      probe(() => liveness(observe())),
    ),
    HttpRouter.add(
      "GET",
      "/readyz",
      probe(() => readiness(observe())),
    ),
    HttpRouter.add(
      "GET",
      "/status",
      Effect.sync(() => HttpServerResponse.jsonUnsafe({ ...sources.status(), counters: sources.counters() })),
    ),
    HttpRouter.add(
      "GET",
      "/metrics",
      Effect.map(
        Effect.promise(() => registry.metrics()),
        (body) => HttpServerResponse.text(body, { contentType: registry.contentType }),
      ),
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
