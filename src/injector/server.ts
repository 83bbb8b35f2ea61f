/** The HTTPS server of the webhook, whose certificate may change under way, and the plain one for kubelet and Prometheus. */
import { Effect, Ref, Stream, SubscriptionRef } from "effect"
import type { Listen } from "../settings/index.ts"
import { type CertificateSource, InjectorError } from "./certificates.ts"
import type { InjectorMetrics } from "./metrics.ts"
import { bodyLimit } from "./webhook.ts"
import type { KeyPair } from "./x509.ts"

type Handler = (request: Request) => Promise<Response>

/**
 * Serves until the scope ends. A new certificate is a new listener on the same port: the one before answers what it has
 * accepted and goes. `run` follows the changes.
 */
export const serveTls = Effect.fnUntraced(function* (
  listen: Listen,
  current: CertificateSource["current"],
  handler: Handler,
) {
  const open = (port: number, pair: KeyPair) =>
    bind(listen, () =>
      Bun.serve({
        hostname: listen.hostname,
        port,
        reusePort: true,
        // Above our own limit, so that what is too large gets an answer in words.
        maxRequestBodySize: 4 * bodyLimit,
        development: false,
        tls: { cert: pair.certificate, key: pair.key },
        fetch: handler,
      }),
    )
  const shown = yield* SubscriptionRef.get(current)
  const server = yield* Effect.acquireRelease(
    Effect.flatMap(open(listen.port, shown), (server) => Ref.make({ server, pair: shown })),
    (ref) => Effect.flatMap(Ref.get(ref), ({ server }) => Effect.promise(() => server.stop(true))),
  )
  const port = (yield* Ref.get(server)).server.port ?? listen.port
  const show = Effect.fnUntraced(function* (pair: KeyPair) {
    const before = yield* Ref.get(server)
    if (before.pair.certificate === pair.certificate) return
    yield* Ref.set(server, { server: yield* open(port, pair), pair })
    // Ends when its last connection does: nobody waits for that.
    void before.server.stop(false)
  }, Effect.uninterruptible)
  return { port, run: Effect.andThen(Stream.runForEach(SubscriptionRef.changes(current), show), Effect.never) }
})

/** Probes and metrics. */
export const servePlain = (
  listen: Listen,
  readiness: () => { readonly ok: boolean; readonly reason: string },
  metrics: InjectorMetrics,
) =>
  Effect.acquireRelease(
    bind(listen, () =>
      Bun.serve({
        hostname: listen.hostname,
        port: listen.port,
        development: false,
        routes: {
          "/healthz": new Response("ok\n"),
          "/readyz": () => {
            const { ok, reason } = readiness()
            return new Response(`[${ok ? "+" : "-"}] ${reason}\n`, { status: ok ? 200 : 503 })
          },
          "/metrics": async () =>
            new Response(await metrics.registry.metrics(), {
              headers: { "content-type": metrics.registry.contentType },
            }),
        },
        fetch: () => new Response("not found\n", { status: 404 }),
      }),
    ),
    (server) => Effect.promise(() => server.stop(true)),
  )

const bind = <A>({ hostname, port }: Listen, serve: () => A) =>
  Effect.try({
    try: serve,
    catch: (error) =>
      new InjectorError({
        message: `listening on ${hostname}:${port}: ${error instanceof Error ? error.message : String(error)}`,
      }),
  })
