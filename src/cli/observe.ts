/** `culvert status` and `culvert health`: ask the running sidecar over its own HTTP port. */
import { Console, Data, Effect, Option, Result, Runtime } from "effect"
import { Command, Flag } from "effect/cli"
import { readSettings, table } from "../sidecar/index.ts"

export class NotReachable extends Data.TaggedError("NotReachable")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

const http = Flag.String("http").pipe(
  Flag.withDescription(`${table.http.documentation} [${table.http.variable}]`),
  Flag.optional,
)

export const status = Command.make(
  "status",
  { http, json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false)) },
  Effect.fnUntraced(function* ({ http, json }) {
    const { body } = yield* ask(http, "/status")
    if (json) return yield* Console.log(body)
    const status = JSON.parse(body) as Readonly<Record<string, unknown>>
    for (const key of ["phase", "remote", "device", "addresses", "cipher", "tls", "attempts", "lastError"]) {
      const value = status[key]
      if (value !== undefined)
        yield* Console.log(`${key.padEnd(10)} ${Array.isArray(value) ? value.join(" ") : String(value)}`)
    }
  }),
).pipe(Command.withDescription("Show what the running sidecar does"))

export const health = Command.make(
  "health",
  { http },
  Effect.fnUntraced(function* ({ http }) {
    const { ok, body } = yield* ask(http, "/readyz?verbose")
    yield* Console.log(body.trimEnd())
    if (!ok) return yield* new NotReachable({ message: "not ready" })
  }),
).pipe(Command.withDescription("Exit 0 when packets pass: for exec probes"))

const ask = Effect.fnUntraced(function* (flag: Option.Option<string>, path: string) {
  const settings = yield* Effect.fromResult(
    Result.map(readSettings({ http: Option.getOrUndefined(flag) }, process.env), (settings) => settings.http),
  )
  if (settings === "off") return yield* new NotReachable({ message: "CULVERT_HTTP is off: there is nothing to ask" })
  const host = anyAddress.has(settings.hostname)
    ? "localhost"
    : settings.hostname.includes(":")
      ? `[${settings.hostname}]`
      : settings.hostname
  const url = `http://${host}:${settings.port}${path}`
  return yield* Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(url, { signal })
      return { ok: response.ok, body: await response.text() }
    },
    catch: (error) =>
      new NotReachable({
        message: `asking ${url}: ${error instanceof Error ? error.message : String(error)}; is culvert running here?`,
      }),
  }).pipe(
    Effect.timeoutOrElse({
      duration: "3 seconds",
      orElse: () => Effect.fail(new NotReachable({ message: `asking ${url}: no answer in 3 s` })),
    }),
  )
})

const anyAddress = new Set(["::", "0.0.0.0"])
