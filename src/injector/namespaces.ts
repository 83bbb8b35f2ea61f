/** Labels of namespaces, for the warning about Pod Security only: without an answer there is no warning, never a refusal. */
import { Clock, Effect, Result, Schema } from "effect"
import type { KubeApi } from "./kubeapi.ts"

export type NamespaceLabels = (namespace: string) => Effect.Effect<Readonly<Record<string, string>> | undefined>

/** Remembers for half a minute what a namespace said, or that it said nothing. */
export const namespaceLabels = (api: KubeApi): NamespaceLabels => {
  const known = new Map<
    string,
    { readonly at: number; readonly labels: Readonly<Record<string, string>> | undefined }
  >()
  return Effect.fnUntraced(function* (namespace) {
    const at = yield* Clock.currentTimeMillis
    const remembered = known.get(namespace)
    if (remembered !== undefined && at - remembered.at < lifetime) return remembered.labels
    const labels = yield* api.request("GET", `/api/v1/namespaces/${encodeURIComponent(namespace)}`).pipe(
      Effect.map((found) =>
        Result.getOrUndefined(
          Result.map(Schema.decodeUnknownResult(Namespace)(found), ({ metadata }) => metadata.labels ?? {}),
        ),
      ),
      Effect.timeoutOrElse({ duration: "500 millis", orElse: () => Effect.undefined }),
      Effect.orElseSucceed(() => undefined),
    )
    if (known.size >= most) known.clear()
    known.set(namespace, { at, labels })
    return labels
  })
}

const Namespace = Schema.Struct({
  metadata: Schema.Struct({ labels: Schema.optional(Schema.Record(Schema.String, Schema.String)) }),
})

const lifetime = 30_000
const most = 10_000
