/** The settings of `culvert inject`. */
import { Result } from "effect"
import {
  integer,
  type Listen,
  listen,
  listOf,
  oneOf,
  row,
  SettingsError,
  type SettingsOf,
  text,
} from "../settings/index.ts"
import { version } from "../version.ts"
import type { Defaults, Tun } from "./sidecar.ts"
import { configSource, narrowNetwork, objectName, quantity } from "./wishes.ts"

const address = (value: string): Result.Result<Listen, string> =>
  Result.flatMap(listen(value), (parsed) =>
    parsed === "off" ? Result.fail("must be ADDRESS:PORT or [ADDRESS]:PORT") : Result.succeed(parsed),
  )

/** `hostpath`, `none`, or `resource/squat.ai/tun`. */
const tun = (value: string): Result.Result<Tun, string> => {
  if (value === "hostpath") return Result.succeed({ kind: "hostPath" })
  if (value === "none") return Result.succeed({ kind: "none" })
  const name = /^resource\/([a-z0-9.-]+\/[A-Za-z0-9._-]+)$/.exec(value)?.[1]
  return name === undefined
    ? Result.fail("must be hostpath, none or resource/NAME, such as resource/squat.ai/tun")
    : Result.succeed({ kind: "resource", name })
}

export const table = {
  image: row("image", undefined, "The image of the sidecars. Required.", text),
  imagePullPolicy: row(
    "image-pull-policy",
    undefined,
    "`Always`, `IfNotPresent` or `Never`; without it Kubernetes decides by the tag.",
    oneOf("Always", "IfNotPresent", "Never"),
  ),
  tun: row(
    "tun",
    "hostpath",
    "How sidecars come to /dev/net/tun: `hostpath`, `resource/NAME` of a device plugin, or `none` when the runtime gives it to everybody.",
    tun,
  ),
  config: row("default-config", undefined, "What a pod without `culvert.dev/config` gets.", configSource),
  secret: row("default-secret", undefined, "What a pod without `culvert.dev/secret` gets.", objectName),
  bypass: row(
    "cluster-networks",
    "",
    "The cluster's pod, service and node networks, which every sidecar leaves beside the tunnel: `10.244.0.0/16,10.96.0.0/12`.",
    listOf(narrowNetwork),
  ),
  cpuRequest: row("cpu-request", "20m", "CPU that a sidecar asks for.", quantity),
  memoryRequest: row("memory-request", "128Mi", "Memory that a sidecar asks for.", quantity),
  memoryLimit: row("memory-limit", "256Mi", "Memory that a sidecar may use.", quantity),
  startupSeconds: row(
    "startup-seconds",
    "120",
    "Seconds in which the first connection of a sidecar must come up before kubelet starts it anew.",
    integer(5, 86_400),
  ),
  drainSeconds: row(
    "drain-seconds",
    "5",
    "Seconds for which reviews are still answered after the signal to stop, until every API server knows that the pod goes.",
    integer(0, 60),
  ),
  listen: row("listen", "[::]:8443", "Where reviews are answered, over TLS.", address),
  http: row("http", "[::]:8080", "Where probes and metrics are served; `off` for nowhere.", listen),
  authority: row(
    "authority",
    "files",
    "`files`: certificate and key come from files, such as cert-manager's; `own`: Culvert is its own CA, kept in a Secret.",
    oneOf("files", "own"),
  ),
  certificate: row("tls-certificate", "/etc/culvert-injector/tls/tls.crt", "Certificate chain of the server.", text),
  key: row("tls-key", "/etc/culvert-injector/tls/tls.key", "Its private key.", text),
  namespace: row("namespace", "culvert-system", "The injector's own namespace.", objectName),
  service: row("service", "culvert-injector", "The Service by which the API server finds the injector.", objectName),
  webhook: row(
    "webhook",
    "culvert-injector",
    "The MutatingWebhookConfiguration whose caBundle is kept right, with `--authority own`.",
    objectName,
  ),
  authoritySecret: row(
    "authority-secret",
    "culvert-injector-ca",
    "The Secret that keeps the CA, with `--authority own`.",
    objectName,
  ),
  logFormat: row("log-format", undefined, "`json` or `text`; without it text on a terminal.", oneOf("json", "text")),
  logLevel: row("log-level", "info", "`debug`, `info`, `warn` or `error`.", oneOf("debug", "info", "warn", "error")),
} as const

export type InjectorSettings = SettingsOf<typeof table>

/** What every pod gets; fails when no image is given, since none could be right for everybody. */
export const defaultsOf = (settings: InjectorSettings): Result.Result<Defaults, SettingsError> =>
  settings.image === undefined
    ? Result.fail(new SettingsError({ message: "no image for the sidecars: give --image or CULVERT_IMAGE" }))
    : Result.succeed({
        image: settings.image,
        imagePullPolicy: settings.imagePullPolicy,
        tun: settings.tun,
        config: settings.config,
        secret: settings.secret,
        environment: settings.bypass.length === 0 ? {} : { CULVERT_BYPASS: settings.bypass.join(",") },
        resources: {
          requests: { cpu: settings.cpuRequest, memory: settings.memoryRequest },
          limits: { memory: settings.memoryLimit },
        },
        startupSeconds: settings.startupSeconds,
        version,
      })
