/** The injector with its own CA, from an API server that is asked over HTTP to a review over the certificate that results. */
import { expect } from "bun:test"
import { Effect, Logger, Result } from "effect"
import { run } from "../../src/injector/injector.ts"
import { defaultsOf, table } from "../../src/injector/settings.ts"
import { readTable } from "../../src/settings/index.ts"
import { eventually } from "../support/child.ts"
import { it } from "../support/effect.ts"
import { asking, reviewOf } from "./cluster.ts"

it.live("an API server that reads the caBundle trusts the webhook, and the user is warned of Pod Security", () =>
  Effect.gen(function* () {
    const secret = { metadata: { name: "ca", resourceVersion: "1" }, data: {} }
    const state = { secret, caBundle: "", seen: new Set<string>() }
    const api = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        const { pathname } = new URL(request.url)
        state.seen.add(`${request.method} ${pathname.split("/").at(-2)} ${request.headers.get("content-type") ?? ""}`)
        if (request.headers.get("authorization") !== "Bearer sesame") return new Response("{}", { status: 401 })
        if (pathname === "/api/v1/namespaces/culvert-system/secrets/culvert-injector-ca") {
          if (request.method === "PUT") state.secret = (await request.json()) as typeof secret
          return Response.json(state.secret)
        }
        if (pathname === "/api/v1/namespaces/shop")
          return Response.json({ metadata: { labels: { "pod-security.kubernetes.io/enforce": "restricted" } } })
        if (request.method === "PATCH")
          state.caBundle = ((await request.json()) as [unknown, { value: string }])[1].value
        return Response.json({ webhooks: [{ name: "inject.culvert.dev", clientConfig: { caBundle: state.caBundle } }] })
      },
    })
    yield* Effect.addFinalizer(() => Effect.promise(() => api.stop(true)))

    const lines: Array<Record<string, unknown>> = []
    const settings = Result.getOrThrow(
      readTable(
        table,
        { image: "culvert:1", listen: "127.0.0.1:0", http: "off", authority: "own", drainSeconds: "0" },
        {},
      ),
    )
    const access = { base: `http://127.0.0.1:${api.port}`, token: () => "sesame", ca: undefined }
    yield* Effect.forkScoped(
      run(settings, Result.getOrThrow(defaultsOf(settings)), access).pipe(
        Effect.provide(
          Logger.layer([Logger.map(Logger.formatStructured, ({ annotations }) => void lines.push(annotations))]),
        ),
      ),
    )
    const listen = yield* Effect.promise(() =>
      eventually(5000, "the injector listens", () => lines.find(({ event }) => event === "starting")?.listen as string),
    )
    const answer = yield* Effect.promise(async () => {
      const response = await fetch(`https://127.0.0.1:${listen.split(":").at(-1)}/mutate`, {
        method: "POST",
        headers: { "content-type": "application/json", host: "culvert-injector.culvert-system.svc" },
        body: JSON.stringify(reviewOf(asking())),
        tls: {
          ca: Buffer.from(state.caBundle, "base64").toString(),
          serverName: "culvert-injector.culvert-system.svc",
        },
      } as RequestInit)
      return (await response.json()) as { readonly response: { readonly warnings: ReadonlyArray<string> } }
    })
    expect(answer.response.warnings.join()).toContain("restricted")
    expect([...state.seen].sort()).toEqual([
      "GET mutatingwebhookconfigurations ",
      "GET namespaces ",
      "GET secrets ",
      "PATCH mutatingwebhookconfigurations application/json-patch+json",
      "PUT secrets application/json",
    ])
    expect(JSON.stringify(lines)).not.toContain("PRIVATE")
  }),
)
