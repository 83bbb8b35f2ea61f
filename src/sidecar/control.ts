/**
 * Requests that change something: `POST /reconnect`, `/pause`, `/resume`, on the loopback and with a bearer token. Apart from the
 * HTTP server of the probes, which the whole pod network can reach.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Data, Effect, Layer, Redacted, Result, Runtime } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"
import type { Wish } from "../tunnel/index.ts"
import { listenWith, route } from "./listener.ts"
import type { Settings } from "./settings.ts"

export class ControlTokenError extends Data.TaggedError("ControlTokenError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 64
}

/** Serves until the scope ends. The token is read at each request, so that a rotated Secret holds at once. */
export const serveControl = Effect.fnUntraced(function* (
  listen: Listen,
  tokenFile: string,
  ask: (wish: Wish) => Effect.Effect<void>,
) {
  yield* Effect.fromResult(readToken(tokenFile))
  const answer = (wish: Wish) =>
    Effect.gen(function* () {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const token = readToken(tokenFile)
      if (Result.isFailure(token)) return HttpServerResponse.text(`${token.failure.message}\n`, { status: 503 })
      if (!isSame(headers.authorization ?? "", `Bearer ${Redacted.value(token.success)}`)) {
        return HttpServerResponse.text("the bearer token is missing or wrong\n", {
          status: 401,
          headers: { "www-authenticate": "Bearer" },
        })
      }
      yield* ask(wish)
      return HttpServerResponse.text(`${wish}\n`, { status: 202 })
    })
  return yield* listenWith(
    listen,
    Layer.mergeAll(
      route("POST", "/reconnect", answer("reconnect")),
      route("POST", "/pause", answer("pause")),
      route("POST", "/resume", answer("resume")),
    ),
    "another address can be given with --control or CULVERT_CONTROL",
  )
})

/** What the settings name, or the credentials' own `control-token`; undefined: there is no control. */
export const tokenFileOf = (settings: Pick<Settings, "controlTokenFile" | "credentials">): string | undefined => {
  const beside = join(settings.credentials, "control-token")
  return settings.controlTokenFile ?? (existsSync(beside) ? beside : undefined)
}

/** The file is a secret like others: what is in it is in no message. */
export const readToken = (file: string): Result.Result<Redacted.Redacted<string>, ControlTokenError> => {
  const refuse = (why: string) => Result.fail(new ControlTokenError({ message: `control token file ${file}: ${why}` }))
  try {
    const token = readFileSync(file, "utf8").trim()
    return token.length < shortest
      ? refuse(`the token has less than ${shortest} characters; make one with: openssl rand -hex 32`)
      : Result.succeed(Redacted.make(token))
  } catch (error) {
    return refuse(`cannot be read: ${(error as NodeJS.ErrnoException).code ?? "unknown error"}`)
  }
}

/** In the same time wherever they differ, whatever their lengths. */
const isSame = (given: string, wanted: string): boolean => timingSafeEqual(digest(given), digest(wanted))

const digest = (text: string) => createHash("sha256").update(text).digest()

const shortest = 16
