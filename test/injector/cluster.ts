/** What an API server does around the webhook: it asks, and applies the answer's patch. */
import { JsonPatch, Result, type Schema } from "effect"
import { decodeReview } from "../../src/injector/kubernetes.ts"
import { answer } from "../../src/injector/review.ts"
import type { Defaults } from "../../src/injector/sidecar.ts"

export const defaults: Defaults = {
  image: "registry.example/culvert:1.2.3",
  imagePullPolicy: undefined,
  tun: { kind: "hostPath" },
  config: undefined,
  secret: undefined,
  environment: { CULVERT_BYPASS: "10.244.0.0/16,10.96.0.0/12" },
  resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "192Mi" } },
  startupSeconds: 120,
  version: "1.2.3",
}

export interface PodObject {
  readonly apiVersion: "v1"
  readonly kind: "Pod"
  readonly metadata: {
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly [key: string]: unknown
  }
  readonly spec: {
    readonly containers: ReadonlyArray<ContainerObject>
    readonly initContainers?: ReadonlyArray<ContainerObject> | null
    readonly volumes?: ReadonlyArray<{ readonly name: string }> | null
    readonly [key: string]: unknown
  }
}

type ContainerObject = { readonly name: string; readonly [key: string]: unknown }

/** A pod that asks for the tunnel. */
export const asking = (
  spec: Partial<PodObject["spec"]> = {},
  annotations: Readonly<Record<string, string>> | undefined = { "culvert.dev/config": "vpn" },
): PodObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "app",
    labels: { "culvert.dev/inject": "true" },
    ...(annotations === undefined ? {} : { annotations }),
  },
  spec: { containers: [{ name: "app", image: "app:1" }], ...spec },
})

/** Annotations that say all that can be said. */
export const everything: Readonly<Record<string, string>> = {
  "culvert.dev/config": "secret/vpn",
  "culvert.dev/secret": "login",
  "culvert.dev/bypass": "192.0.2.0/24",
  "culvert.dev/inbound": "tcp:8080",
  "culvert.dev/dns": "10.8.0.1",
  "culvert.dev/dns-mode": "off",
  "culvert.dev/cluster-domains": "corp.example",
  "culvert.dev/log-level": "debug",
  "culvert.dev/ready-check": "tcp:intranet.corp.example:443",
  "culvert.dev/resources-requests-cpu": "1",
  "culvert.dev/resources-requests-memory": "1Gi",
  "culvert.dev/resources-limits-cpu": "2",
  "culvert.dev/resources-limits-memory": "2Gi",
}

export const reviewOf = (object: unknown, request: object = {}) => ({
  apiVersion: "admission.k8s.io/v1",
  kind: "AdmissionReview",
  request: {
    uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
    kind: { group: "", version: "v1", kind: "Pod" },
    resource: { group: "", version: "v1", resource: "pods" },
    operation: "CREATE",
    namespace: "shop",
    userInfo: { username: "system:serviceaccount:kube-system:replicaset-controller" },
    object,
    oldObject: null,
    dryRun: false,
    ...request,
  },
})

export interface Response {
  readonly uid: string
  readonly allowed: boolean
  readonly patch?: string
  readonly patchType?: string
  readonly warnings?: ReadonlyArray<string>
  readonly status?: { readonly message: string }
  readonly auditAnnotations?: Readonly<Record<string, string>>
}

export const ask = (
  pod: unknown,
  given: Partial<Defaults> = {},
  namespaceLabels?: Readonly<Record<string, string>>,
  request: object = {},
): Response => {
  const decoded = Result.getOrThrow(decodeReview(JSON.stringify(reviewOf(pod, request))))
  return JSON.parse(answer(decoded, { ...defaults, ...given }, namespaceLabels).body).response
}

export const patchOf = (response: Response): JsonPatch.JsonPatch =>
  response.patch === undefined ? [] : JSON.parse(Buffer.from(response.patch, "base64").toString())

/** The pod as it is after the webhook; one that is refused is an error. */
export const admitted = (pod: PodObject, given: Partial<Defaults> = {}): PodObject => {
  const response = ask(pod, given)
  if (!response.allowed) throw new Error(response.status?.message)
  return JsonPatch.apply(patchOf(response), pod as unknown as Schema.Json) as unknown as PodObject
}
