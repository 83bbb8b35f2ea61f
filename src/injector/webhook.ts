/** `POST /mutate`: from the bytes of a request to an answer, with a log line and counters for each. */
import { Data, Effect, Result } from "effect"
import { decodeReview } from "./kubernetes.ts"
import type { InjectorMetrics } from "./metrics.ts"
import type { NamespaceLabels } from "./namespaces.ts"
import { type Answer, answer } from "./review.ts"
import type { Defaults } from "./sidecar.ts"

export interface WebhookOptions {
  readonly defaults: Defaults
  readonly labels: NamespaceLabels
  readonly metrics: InjectorMetrics
}

/** Bytes. The API server takes objects of up to 3 MiB, and a review may hold two. */
export const bodyLimit = 8 * 1024 * 1024

/** Never fails: what cannot be answered as a review is answered as text, which the API server shows to the user. */
export const mutate = (request: Request, { defaults, labels, metrics }: WebhookOptions): Effect.Effect<Response> =>
  Effect.gen(function* () {
    if (request.method !== "POST") return yield* new Unreadable({ status: 405, message: "reviews come by POST" })
    if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? ""))
      return yield* new Unreadable({ status: 415, message: "reviews come as application/json" })
    const body = yield* readBody(request)
    const begin = performance.now()
    const decoded = decodeReview(body)
    if (Result.isFailure(decoded)) return yield* new Unreadable({ status: 400, message: decoded.failure })
    const review = decoded.success
    const given = answer(review, defaults, review.namespace ? yield* labels(review.namespace) : undefined)
    metrics.answered(given.verdict, (performance.now() - begin) / 1000)
    yield* report(given)
    return new Response(given.body, { headers: { "content-type": "application/json" } })
  }).pipe(
    Effect.catch(({ status, message }) => {
      metrics.unreadable(status)
      return Effect.as(
        Effect.logWarning(message).pipe(Effect.annotateLogs({ event: "review_unreadable", status })),
        new Response(`culvert: ${message}\n`, { status }),
      )
    }),
  )

const report = ({ verdict, namespace, pod }: Answer): Effect.Effect<void> => {
  const facts = { namespace, pod }
  switch (verdict.outcome) {
    case "injected":
      return Effect.logInfo("the pod gets a sidecar").pipe(
        Effect.annotateLogs({ event: "review_injected", ...facts, warnings: verdict.warnings }),
      )
    case "skipped":
      return Effect.logDebug("the pod is left alone").pipe(
        Effect.annotateLogs({ event: "review_skipped", ...facts, reason: verdict.reason }),
      )
    case "refused":
      return Effect.logWarning(verdict.message).pipe(
        Effect.annotateLogs({ event: "review_refused", ...facts, reason: verdict.reason }),
      )
  }
}

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly status: number; readonly message: string }> {}

/** Read piece by piece, so that no more than the limit is ever held, whatever length was announced. */
const readBody = (request: Request): Effect.Effect<string, Unreadable> =>
  Effect.tryPromise({
    try: async () => {
      const tooLarge = new Unreadable({ status: 413, message: `the review is larger than ${bodyLimit} bytes` })
      if (Number(request.headers.get("content-length") ?? 0) > bodyLimit) throw tooLarge
      const pieces: Array<Uint8Array> = []
      let size = 0
      for await (const piece of request.body ?? []) {
        size += piece.byteLength
        if (size > bodyLimit) throw tooLarge
        pieces.push(piece)
      }
      return Buffer.concat(pieces).toString("utf8")
    },
    catch: (error) =>
      error instanceof Unreadable ? error : new Unreadable({ status: 400, message: "the body was cut short" }),
  })
