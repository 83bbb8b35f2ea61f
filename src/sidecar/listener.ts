/** One listening socket and its routes: what both HTTP servers of the sidecar stand on. */
import { Cause, Data, Effect, FiberSet, Layer, Runtime } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"

export class HttpError extends Data.TaggedError("HttpError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 71
}

/** A server that had started stands no more. */
export class ServerCrashed extends Data.TaggedError("ServerCrashed")<{ readonly message: string }> {}

/**
 * One listening socket for these routes; `hint` is for the case that it cannot be had. `running` never succeeds. A request
 * that meets a defect is answered with 500 and told; it is not the end of the server, or anybody could bring that about.
 */
export const listenWith = Effect.fnUntraced(function* (
  listen: Listen,
  routes: Layer.Layer<never, never, HttpRouter.HttpRouter>,
  hint: string,
) {
  const tell = yield* FiberSet.makeRuntime<never>()
  const told = (cause: Cause.Cause<unknown>) => Effect.sync(() => void tell(tellDefect(cause)))
  const { handler, dispose } = HttpRouter.toWebHandler(routes.pipe(Layer.provide(HttpServer.layerServices)), {
    disableLogger: true,
    middleware: Effect.tapCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : told(cause))),
    routerConfig: { ignoreTrailingSlash: false },
  })
  yield* Effect.addFinalizer(() => Effect.promise(() => dispose()))
  const server = yield* Effect.acquireRelease(
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
  return { port: server.port!, running: listening(listen.hostname, server.port!) }
})

/** Fails when nobody listens there any more, which the runtime does not tell. */
const listening = (hostname: string, port: number): Effect.Effect<never, ServerCrashed> =>
  Effect.gen(function* () {
    for (;;) {
      yield* Effect.sleep("1 second")
      if (isFree(hostname, port))
        return yield* new ServerCrashed({ message: `nobody listens on ${hostname}:${port} any more` })
    }
  })

/** Whether the port can be had. Asking so takes 10 microseconds, and no firewall has a say in it. */
const isFree = (hostname: string, port: number): boolean => {
  try {
    Bun.listen({ hostname, port, socket: { data: () => {} } }).stop(true)
    return true
  } catch {
    return false
  }
}

const tellDefect = (cause: Cause.Cause<unknown>) =>
  Effect.logError(`answering a request: ${Cause.pretty(cause)}`).pipe(Effect.annotateLogs({ event: "request_failed" }))

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
