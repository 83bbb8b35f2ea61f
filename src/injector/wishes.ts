/**
 * What a pod asks for by annotations: one table of what may be said. An annotation never sets the image, a capability, the
 * source of tun or the kill switch: whoever may create pods must not be able to widen what the cluster's owner allowed.
 */
import { Result } from "effect"
import { address, domain, inbound, listOf, network, oneOf } from "../settings/index.ts"

export const domainName = "culvert.dev"
export const injectLabel = `${domainName}/inject`
export const statusAnnotation = `${domainName}/status`
export const versionAnnotation = `${domainName}/version`

/** An object of the pod's own namespace that holds `client.ovpn`. */
export interface ConfigSource {
  readonly kind: "configMap" | "secret"
  readonly name: string
}

export interface Resources {
  readonly requests: Readonly<Record<string, string>>
  readonly limits: Readonly<Record<string, string>>
}

export interface Wishes {
  readonly config: ConfigSource | undefined
  /** Secret with `username` and `password`. */
  readonly secret: string | undefined
  /** `CULVERT_*` variables of the sidecar. */
  readonly environment: Readonly<Record<string, string>>
  readonly resources: Resources
}

/** All annotations at once; the failure names every wrong one. `unknown` lists misspelt ones, which do nothing. */
export const readWishes = (
  annotations: Readonly<Record<string, string>>,
): Result.Result<{ readonly wishes: Wishes; readonly unknown: ReadonlyArray<string> }, string> => {
  const problems: Array<string> = []
  const unknown: Array<string> = []
  const environment: Record<string, string> = {}
  const resources = { requests: {} as Record<string, string>, limits: {} as Record<string, string> }
  let config: ConfigSource | undefined
  let secret: string | undefined
  const take = <A>(key: string, parsed: Result.Result<A, string>, use: (value: A) => void) =>
    Result.isSuccess(parsed) ? use(parsed.success) : problems.push(`annotation ${key}: ${parsed.failure}`)

  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(`${domainName}/`) || key === statusAnnotation || key === versionAnnotation) continue
    const row = table[key.slice(domainName.length + 1)]
    switch (row?.sets) {
      case undefined:
        unknown.push(key)
        break
      case "config":
        take(key, configSource(value), (source) => {
          config = source
        })
        break
      case "secret":
        take(key, objectName(value), (name) => {
          secret = name
        })
        break
      case "variable":
        take(key, row.check(value), () => {
          environment[row.variable] = value
        })
        break
      case "resource":
        take(key, quantity(value), (amount) => {
          resources[row.bound][row.resource] = amount
        })
        break
      case "nothing":
        problems.push(`annotation ${key}: ${row.because}`)
        break
    }
  }
  return problems.length > 0
    ? Result.fail(problems.join("; "))
    : Result.succeed({ wishes: { config, secret, environment, resources }, unknown })
}

/** `NAME` and `configmap/NAME` are ConfigMaps, `secret/NAME` is a Secret. */
export const configSource = (value: string): Result.Result<ConfigSource, string> => {
  const [kind, name] = value.includes("/") ? value.split("/", 2) : ["configmap", value]
  return kind === "configmap" || kind === "secret"
    ? Result.map(objectName(value.slice(value.indexOf("/") + 1)), (name) => ({
        kind: kind === "secret" ? ("secret" as const) : ("configMap" as const),
        name,
      }))
    : Result.fail(`must be NAME, configmap/NAME or secret/NAME in the pod's own namespace, not ${kind}/${name}`)
}

/** DNS-1123 subdomain: names of ConfigMaps and Secrets. No slash, so that no other namespace can be named. */
export const objectName = (value: string): Result.Result<string, string> =>
  value.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(value)
    ? Result.succeed(value)
    : Result.fail("must be the name of an object in the pod's own namespace")

/** `100m`, `64Mi`, `1.5`, `1e3`. */
export const quantity = (value: string): Result.Result<string, string> =>
  /^\d+(\.\d+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE]\d+)?$/.test(value)
    ? Result.succeed(value)
    : Result.fail("must be a quantity such as 100m or 64Mi")

/** A bypass that is wider than any cluster's networks would let out what the tunnel is for. */
export const narrowNetwork = (value: string): Result.Result<string, string> =>
  Result.flatMap(network(value), (text) => {
    const [host = "", prefix] = text.split("/")
    const widest = host.includes(":") ? 7 : 8
    return prefix !== undefined && Number(prefix) < widest
      ? Result.fail(`is wider than /${widest}: nearly everything would leave beside the tunnel`)
      : Result.succeed(text)
  })

type Row = { readonly documentation: string } & (
  | { readonly sets: "config" | "secret" }
  | {
      readonly sets: "variable"
      readonly variable: string
      readonly check: (value: string) => Result.Result<unknown, string>
    }
  | { readonly sets: "resource"; readonly bound: "requests" | "limits"; readonly resource: "cpu" | "memory" }
  | { readonly sets: "nothing"; readonly because: string }
)

const variable = (
  variable: string,
  check: (value: string) => Result.Result<unknown, string>,
  documentation: string,
): Row => ({ sets: "variable", variable, check, documentation })

const resource = (bound: "requests" | "limits", resource: "cpu" | "memory"): Row => ({
  sets: "resource",
  bound,
  resource,
  documentation: `The sidecar's \`resources.${bound}.${resource}\`.`,
})

const dnsMode = (value: string): Result.Result<unknown, string> =>
  value === "resolvconf"
    ? Result.fail("resolvconf needs a writable /etc/resolv.conf, which an injected sidecar has not; use redirect")
    : oneOf("redirect", "off")(value)

const readyCheck = (value: string): Result.Result<unknown, string> =>
  /^(tcp:[^\s/]+:\d{1,5}|icmp:[^\s/]+)$/.test(value)
    ? Result.succeed(value)
    : Result.fail("must be tcp:HOST:PORT or icmp:HOST")

/** What may be said, by the part of the annotation after `culvert.dev/`. */
export const table: Readonly<Record<string, Row | undefined>> = {
  config: {
    sets: "config",
    documentation:
      "Where `client.ovpn` is: `NAME` or `configmap/NAME` for a ConfigMap, `secret/NAME` for a Secret. Required unless the injector has a default.",
  },
  secret: {
    sets: "secret",
    documentation:
      "Secret with the keys `username` and `password`, and if needed `otp`, `key-passphrase` and `control-token`.",
  },
  bypass: variable(
    "CULVERT_BYPASS",
    listOf(narrowNetwork),
    "Networks that are reached beside the tunnel, beside those that the injector was given.",
  ),
  inbound: variable("CULVERT_INBOUND", listOf(inbound), "What may come in through the tunnel: `tcp:8080,icmp`."),
  dns: variable("CULVERT_DNS", listOf(address), "DNS servers to ask through the tunnel when the server names none."),
  "dns-mode": variable("CULVERT_DNS_MODE", dnsMode, "`redirect` (the default) or `off`."),
  "cluster-domains": variable(
    "CULVERT_CLUSTER_DOMAINS",
    listOf(domain),
    "Domains that the cluster's resolvers answer, beside the search list.",
  ),
  "ready-check": variable(
    "CULVERT_READY_CHECK",
    readyCheck,
    "What has to answer through the tunnel for the pod to be ready: `tcp:HOST:PORT` or `icmp:HOST`.",
  ),
  "log-level": variable(
    "CULVERT_LOG_LEVEL",
    oneOf("debug", "info", "warn", "error"),
    "`debug`, `info`, `warn` or `error`.",
  ),
  "resources-requests-cpu": resource("requests", "cpu"),
  "resources-requests-memory": resource("requests", "memory"),
  "resources-limits-cpu": resource("limits", "cpu"),
  "resources-limits-memory": resource("limits", "memory"),
  "kill-switch": {
    sets: "nothing",
    because: "the kill switch of an injected sidecar is always on",
    documentation: "Refused: the kill switch of an injected sidecar is always on.",
  },
  image: {
    sets: "nothing",
    because: "the image is chosen by the injector, not by the pod",
    documentation: "Refused: the image is chosen by the injector.",
  },
}
