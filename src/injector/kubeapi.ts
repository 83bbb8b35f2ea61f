/** The few requests that the injector makes to the API server, with the pod's own service account. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Data, Effect } from "effect"

export class KubeError extends Data.TaggedError("KubeError")<{
  readonly message: string
  /** Undefined: there was no answer. */
  readonly status: number | undefined
}> {}

export interface KubeApi {
  /** The body of an answer of 2xx; every other one is an error. `content` is sent as JSON of that type. */
  readonly request: (
    method: "GET" | "PUT" | "PATCH",
    path: string,
    content?: { readonly type: string; readonly value: unknown },
  ) => Effect.Effect<unknown, KubeError>
}

export interface KubeAccess {
  /** `https://10.96.0.1:443` */
  readonly base: string
  /** Read for every request: kubelet renews it. */
  readonly token: () => string
  /** PEM; undefined for plain HTTP. */
  readonly ca: string | undefined
}

/** Undefined outside a cluster. */
export const inCluster = (environment: Readonly<Record<string, string | undefined>>): KubeAccess | undefined => {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = environment
  if (host === undefined || host === "") return undefined
  try {
    return {
      base: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
      token: () => readFileSync(join(account, "token"), "utf8").trim(),
      ca: readFileSync(join(account, "ca.crt"), "utf8"),
    }
  } catch {
    return undefined
  }
}

export const kubeApi = (access: KubeAccess): KubeApi => ({
  request: (method, path, content) =>
    Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(`${access.base}${path}`, {
          method,
          signal,
          headers: {
            accept: "application/json",
            authorization: `Bearer ${access.token()}`,
            ...(content === undefined ? {} : { "content-type": content.type }),
          },
          ...(content === undefined ? {} : { body: JSON.stringify(content.value) }),
          ...(access.ca === undefined ? {} : { tls: { ca: access.ca } }),
        })
        return { status: response.status, text: await response.text() }
      },
      catch: (error) => error as { readonly code?: string },
    }).pipe(
      Effect.mapError(
        (error) =>
          new KubeError({ message: `${method} ${path}: no answer: ${error.code ?? "unknown"}`, status: undefined }),
      ),
      Effect.timeoutOrElse({
        duration: "5 seconds",
        orElse: () => Effect.fail(new KubeError({ message: `${method} ${path}: no answer in 5 s`, status: undefined })),
      }),
      Effect.flatMap(({ status, text }) =>
        status >= 200 && status < 300
          ? Effect.try({
              try: () => JSON.parse(text) as unknown,
              catch: () => new KubeError({ message: `${method} ${path}: the answer is no JSON`, status }),
            })
          : Effect.fail(new KubeError({ message: `${method} ${path}: status ${status}${hint(status)}`, status })),
      ),
    ),
})

const hint = (status: number): string =>
  status === 403
    ? ": the service account may not do this; see k8s/base/rbac.yaml"
    : status === 404
      ? ": it does not exist; it is part of the manifests in k8s/"
      : ""

const account = "/var/run/secrets/kubernetes.io/serviceaccount"
