/**
 * The parts of Kubernetes objects that injection looks at. Everything else of a pod passes by unread: the answer is a patch,
 * so what is not known here cannot be lost. Absent and `null` mean the same, because Go writes empty lists as `null`.
 */
import { Result, Schema } from "effect"

const maybe = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))
const maybeText = maybe(Schema.String)
const texts = Schema.Record(Schema.String, Schema.String)

const Container = Schema.Struct({
  name: Schema.String,
  restartPolicy: maybeText,
  ports: maybe(Schema.Array(Schema.Struct({ containerPort: maybe(Schema.Number), protocol: maybeText }))),
  securityContext: maybe(
    Schema.Struct({
      privileged: maybe(Schema.Boolean),
      capabilities: maybe(Schema.Struct({ add: maybe(Schema.Array(Schema.String)) })),
    }),
  ),
})
export type Container = typeof Container.Type

const Pod = Schema.Struct({
  metadata: Schema.Struct({
    name: maybeText,
    generateName: maybeText,
    labels: maybe(texts),
    annotations: maybe(texts),
  }),
  spec: Schema.Struct({
    initContainers: maybe(Schema.Array(Container)),
    containers: maybe(Schema.Array(Container)),
    volumes: maybe(Schema.Array(Schema.Struct({ name: Schema.String }))),
    nodeSelector: maybe(texts),
    os: maybe(Schema.Struct({ name: maybeText })),
    hostNetwork: maybe(Schema.Boolean),
    hostUsers: maybe(Schema.Boolean),
    shareProcessNamespace: maybe(Schema.Boolean),
  }),
})
export type Pod = typeof Pod.Type

const AdmissionReview = Schema.Struct({
  apiVersion: Schema.Literal("admission.k8s.io/v1"),
  kind: Schema.Literal("AdmissionReview"),
  request: Schema.Struct({
    uid: Schema.NonEmptyString,
    kind: Schema.Struct({ group: maybeText, version: Schema.String, kind: Schema.String }),
    operation: Schema.String,
    namespace: maybeText,
    object: Schema.optional(Schema.Unknown),
  }),
})
export type AdmissionRequest = (typeof AdmissionReview.Type)["request"]

/** What the API server sends; a failure names the place, never the value that stood there. */
export const decodeReview = (text: string): Result.Result<AdmissionRequest, string> => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return Result.fail("the body is no JSON")
  }
  return Result.mapBoth(Schema.decodeUnknownResult(AdmissionReview)(json), {
    onSuccess: ({ request }) => request,
    onFailure: (error) => `the body is no AdmissionReview of admission.k8s.io/v1: ${oneLine(error.message)}`,
  })
}

export const decodePod = (object: unknown): Result.Result<Pod, string> =>
  Result.mapError(Schema.decodeUnknownResult(Pod)(object), (error) => oneLine(error.message))

const oneLine = (message: string): string => message.replace(/\s*\n\s*/g, " ")
