/**
 * Requests that change something: `POST /reconnect`, `/pause`, `/resume`, on the loopback and with a bearer token. Apart from the
 * HTTP server of the probes, which the whole pod network can reach.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { Effect, Layer, Redacted, Result } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Listen } from "../settings/index.ts"
import type { Wish } from "../tunnel/index.ts"
import { readToken } from "./controltoken.ts"
import { listenWith, route } from "./listener.ts"

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

/** In the same time wherever they differ, whatever their lengths. */
const isSame = (given: string, wanted: string): boolean => timingSafeEqual(digest(given), digest(wanted))

const digest = (text: string) => createHash("sha256").update(text).digest()
