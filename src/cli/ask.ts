/** One request to the sidecar that runs here, over a port of its own. */
import { Data, Effect, Runtime } from "effect"
import type { Listen } from "../settings/index.ts"

export class NotReachable extends Data.TaggedError("NotReachable")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

/** `ok`: the status was one of success. No answer at all is a failure. */
export const askSidecar = (listen: Listen, path: string, init: RequestInit = {}) => {
  const url = `http://${hostOf(listen)}:${listen.port}${path}`
  return Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(url, { ...init, signal })
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
}

const hostOf = ({ hostname }: Listen): string =>
  anyAddress.has(hostname) ? "localhost" : hostname.includes(":") ? `[${hostname}]` : hostname

const anyAddress = new Set(["::", "0.0.0.0"])
