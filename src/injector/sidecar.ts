/** The container and the volumes that a pod is given. Pure; the manifests in k8s/ repeat it and tests compare them. */
import { type ConfigSource, type Resources, statusAnnotation, versionAnnotation, type Wishes } from "./wishes.ts"

/** What the injector's owner decided for all pods. */
export interface Defaults {
  readonly image: string
  readonly imagePullPolicy: string | undefined
  /** How the container comes to /dev/net/tun. */
  readonly tun: Tun
  readonly config: ConfigSource | undefined
  readonly secret: string | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly resources: Resources
  /** Seconds in which the first connection must come up; kubelet starts the container anew after that. */
  readonly startupSeconds: number
  readonly version: string
}

export type Tun =
  | { readonly kind: "hostPath" }
  /** A device plugin's resource, such as `squat.ai/tun`. */
  | { readonly kind: "resource"; readonly name: string }
  /** The runtime gives the device to every container. */
  | { readonly kind: "none" }

export const containerName = "culvert"
export const port = 4911
/** Names that the sidecar's volumes take. */
export const volumeNames = { config: "culvert-config", credentials: "culvert-credentials", tun: "culvert-tun" } as const

export interface Addition {
  readonly container: Json
  readonly volumes: ReadonlyArray<Json>
  readonly annotations: Readonly<Record<string, string>>
}

type Json = { readonly [key: string]: JsonValue }
type JsonValue = string | number | boolean | null | Json | ReadonlyArray<JsonValue>

/** `config` and `secret` are what defaults and wishes come to. */
export const sidecar = (
  defaults: Defaults,
  wishes: Wishes,
  config: ConfigSource,
  secret: string | undefined,
): Addition => {
  const { tun } = defaults
  const device = tun.kind === "resource" ? { [tun.name]: "1" } : {}
  const mount = (name: string, mountPath: string) => ({ name, mountPath, readOnly: true })
  return {
    container: {
      name: containerName,
      image: defaults.image,
      ...(defaults.imagePullPolicy === undefined ? {} : { imagePullPolicy: defaults.imagePullPolicy }),
      args: ["start"],
      // Makes an init container a sidecar: kubelet waits for its startup probe before it starts the next one.
      restartPolicy: "Always",
      env: Object.entries(environment(defaults, wishes)).map(([name, value]) => ({ name, value })),
      ports: [{ name: "culvert", containerPort: port, protocol: "TCP" }],
      startupProbe: {
        ...get("/startupz"),
        periodSeconds: 1,
        timeoutSeconds: 2,
        failureThreshold: defaults.startupSeconds,
      },
      livenessProbe: { ...get("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
      readinessProbe: { ...get("/readyz"), periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 2 },
      resources: {
        requests: { ...defaults.resources.requests, ...wishes.resources.requests },
        limits: { ...defaults.resources.limits, ...wishes.resources.limits, ...device },
      },
      // Every field is written out: what a pod sets for all its containers must not reach this one.
      securityContext: {
        runAsUser: 0,
        runAsGroup: 0,
        runAsNonRoot: false,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] },
        seccompProfile: { type: "RuntimeDefault" },
      },
      terminationMessagePolicy: "FallbackToLogsOnError",
      volumeMounts: [
        mount(volumeNames.config, "/etc/culvert"),
        ...(secret === undefined ? [] : [mount(volumeNames.credentials, "/etc/culvert/credentials")]),
        ...(tun.kind === "hostPath" ? [{ name: volumeNames.tun, mountPath: "/dev/net/tun" }] : []),
      ],
    },
    volumes: [
      config.kind === "configMap"
        ? { name: volumeNames.config, configMap: { name: config.name, defaultMode: onlyOwner } }
        : secretVolume(volumeNames.config, config.name),
      ...(secret === undefined ? [] : [secretVolume(volumeNames.credentials, secret)]),
      ...(tun.kind === "hostPath"
        ? [{ name: volumeNames.tun, hostPath: { path: "/dev/net/tun", type: "CharDevice" } }]
        : []),
    ],
    annotations: { [statusAnnotation]: "injected", [versionAnnotation]: defaults.version },
  }
}

/** The injector's bypass names the cluster's own networks: a pod adds to it and takes nothing away. */
const environment = (defaults: Defaults, wishes: Wishes): Readonly<Record<string, string>> => {
  const bypass = [defaults.environment.CULVERT_BYPASS, wishes.environment.CULVERT_BYPASS].filter(
    (networks) => networks !== undefined && networks !== "",
  )
  return {
    ...defaults.environment,
    ...wishes.environment,
    ...(bypass.length === 0 ? {} : { CULVERT_BYPASS: bypass.join(",") }),
    CULVERT_KILL_SWITCH: "on",
  }
}

const get = (path: string) => ({ httpGet: { path, port } })

const secretVolume = (name: string, secretName: string) => ({ name, secret: { secretName, defaultMode: onlyOwner } })

/** 0400: the container's root owns the files; it has no capability to read those of others. */
const onlyOwner = 0o400
