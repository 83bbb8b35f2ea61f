/** The admission webhook as one program: certificate, servers, and what keeps them fresh. */
import { Cause, Effect, Exit, SubscriptionRef } from "effect"
import { version } from "../version.ts"
import { ownAuthority } from "./authority.ts"
import { certificateNow, fromFiles, InjectorError } from "./certificates.ts"
import { type KubeAccess, kubeApi } from "./kubeapi.ts"
import { makeMetrics } from "./metrics.ts"
import { namespaceLabels } from "./namespaces.ts"
import { servePlain, serveTls } from "./server.ts"
import type { InjectorSettings } from "./settings.ts"
import type { Defaults } from "./sidecar.ts"
import { mutate } from "./webhook.ts"
import { readPair } from "./x509.ts"

/** Serves until it is interrupted. `cluster` undefined: no API server can be asked. */
export const run = (settings: InjectorSettings, defaults: Defaults, cluster: KubeAccess | undefined) =>
  Effect.gen(function* () {
    const api = cluster === undefined ? undefined : kubeApi(cluster)
    const source = yield* settings.authority === "files"
      ? fromFiles({ certificate: settings.certificate, key: settings.key }, "10 seconds")
      : api === undefined
        ? Effect.fail(
            new InjectorError({ message: "--authority own works in a cluster only: no service account here" }),
          )
        : ownAuthority(api, { ...settings, secret: settings.authoritySecret })
    const metrics = makeMetrics(() => (readPair(SubscriptionRef.getUnsafe(source.current))?.notAfter ?? 0) / 1000)
    const options = {
      defaults,
      metrics,
      labels: api === undefined ? () => Effect.undefined : namespaceLabels(api),
    }
    const context = yield* Effect.context<never>()
    const runPromise = Effect.runPromiseWith(context)
    let draining = false
    const https = yield* serveTls(settings.listen, source.current, async (request) => {
      const { pathname } = new URL(request.url)
      const response = await (pathname === "/mutate" ? runPromise(mutate(request, options)) : other(pathname))
      if (draining) response.headers.set("connection", "close")
      return response
    })
    const readiness = () => (draining ? { ok: false, reason: "stopping" } : certificateNow(source.current))
    const http = settings.http === "off" ? undefined : yield* servePlain(settings.http, readiness, metrics)
    yield* Effect.addFinalizer((exit) =>
      Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause) && settings.drainSeconds > 0
        ? Effect.gen(function* () {
            draining = true
            yield* Effect.logInfo(`stopping: answering for ${settings.drainSeconds} s more`).pipe(
              Effect.annotateLogs({ event: "stopping" }),
            )
            yield* Effect.sleep(`${settings.drainSeconds} seconds`)
          })
        : Effect.void,
    )
    yield* Effect.logInfo(`Culvert injector ${version}`).pipe(
      Effect.annotateLogs({
        event: "starting",
        version,
        image: defaults.image,
        authority: settings.authority,
        listen: `[${settings.listen.hostname}]:${https.port}`,
        http: settings.http === "off" ? "off" : `[${settings.http.hostname}]:${http?.port}`,
        tun: defaults.tun.kind === "resource" ? defaults.tun.name : defaults.tun.kind,
        clusterNetworks: settings.bypass,
      }),
    )
    return yield* Effect.raceAllFirst([https.run, source.watch])
  }).pipe(Effect.scoped)

const other = (pathname: string) =>
  pathname === "/healthz" ? new Response("ok\n") : new Response("not found\n", { status: 404 })
