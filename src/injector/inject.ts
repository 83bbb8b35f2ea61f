/**
 * From a pod to what is done about it. Pure. A pod that asked for the tunnel and cannot have it is refused, never let
 * through: it would run and everything it sends would leave beside the tunnel.
 */
import { type JsonPatch, JsonPointer, Result, type Schema } from "effect"
import { nearest } from "../config/spelling.ts"
import type { Container, Pod } from "./kubernetes.ts"
import { type Addition, containerName, type Defaults, port, sidecar, volumeNames } from "./sidecar.ts"
import { domainName, injectLabel, readWishes, statusAnnotation, table } from "./wishes.ts"

export type Verdict =
  | { readonly outcome: "injected"; readonly patch: JsonPatch.JsonPatch; readonly warnings: ReadonlyArray<string> }
  | { readonly outcome: "skipped"; readonly reason: SkipReason }
  | { readonly outcome: "refused"; readonly reason: RefusalReason; readonly message: string }

export type SkipReason = "not-a-new-pod" | "not-requested" | "mirror-pod" | "already-injected"
export type RefusalReason =
  | "label"
  | "host-network"
  | "windows"
  | "name-taken"
  | "no-config"
  | "annotation"
  | "unreadable-pod"

/** `raw` is the pod as it came; `namespaceLabels` undefined: not known. */
export const inject = (
  pod: Pod,
  raw: unknown,
  defaults: Defaults,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
): Verdict => {
  const label = pod.metadata.labels?.[injectLabel]
  const annotations = pod.metadata.annotations ?? {}
  if (label === undefined || label === "false") return { outcome: "skipped", reason: "not-requested" }
  // Kubelet runs a static pod from its file whatever is answered here.
  if (mirror in annotations) return { outcome: "skipped", reason: "mirror-pod" }
  if (label !== "true")
    return refuse("label", `label ${injectLabel} must be "true" or "false"; the pod would run without the tunnel`)

  const present = findSidecar(pod)
  if (present === 0) return { outcome: "skipped", reason: "already-injected" }
  if (present !== undefined)
    return {
      outcome: "injected",
      patch: moveFirst(raw, present),
      warnings: warnings(pod, [], namespaceLabels, defaults),
    }

  const obstacle = obstacleOf(pod)
  if (obstacle !== undefined) return obstacle
  const read = readWishes(annotations)
  if (Result.isFailure(read)) return refuse("annotation", read.failure)
  const { wishes, unknown } = read.success
  const config = wishes.config ?? defaults.config
  if (config === undefined)
    return refuse(
      "no-config",
      "annotation culvert.dev/config is missing: it names the ConfigMap, or as secret/NAME the Secret, that holds client.ovpn",
    )
  const addition = sidecar(defaults, wishes, config, wishes.secret ?? defaults.secret)
  return {
    outcome: "injected",
    patch: patchOf(pod, addition),
    warnings: warnings(pod, unknown, namespaceLabels, defaults),
  }
}

/** Index of a sidecar of ours; the annotation alone proves nothing, it can be copied. */
const findSidecar = (pod: Pod): number | undefined => {
  if (pod.metadata.annotations?.[statusAnnotation] !== "injected") return undefined
  const index = (pod.spec.initContainers ?? []).findIndex(
    ({ name, restartPolicy }) => name === containerName && restartPolicy === "Always",
  )
  return index < 0 ? undefined : index
}

const obstacleOf = ({ spec }: Pod): Verdict | undefined => {
  if (spec.hostNetwork === true)
    return refuse(
      "host-network",
      `a pod with hostNetwork has the network of its node, which a tunnel must not take over; remove hostNetwork or the label ${injectLabel}`,
    )
  if (spec.os?.name === "windows" || spec.nodeSelector?.["kubernetes.io/os"] === "windows")
    return refuse("windows", `Culvert runs on Linux nodes only; remove the label ${injectLabel}`)
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])]
  if (containers.some(({ name }) => name === containerName))
    return refuse(
      "name-taken",
      `the pod has a container "${containerName}" of its own; rename it, or remove the label ${injectLabel} if that is the VPN client`,
    )
  const ours: ReadonlyArray<string> = Object.values(volumeNames)
  const taken = (spec.volumes ?? []).find(({ name }) => ours.includes(name))
  return taken === undefined
    ? undefined
    : refuse(
        "name-taken",
        `the pod has a volume "${taken.name}", a name that the sidecar's own volume needs; rename it`,
      )
}

const patchOf = ({ metadata, spec }: Pod, { container, volumes, annotations }: Addition): JsonPatch.JsonPatch => [
  ...(spec.initContainers == null
    ? [add("/spec/initContainers", [container])]
    : [add("/spec/initContainers/0", container)]),
  ...(spec.volumes == null ? [add("/spec/volumes", volumes)] : volumes.map((volume) => add("/spec/volumes/-", volume))),
  ...annotate(metadata.annotations, { ...annotations, ...defaultContainer({ metadata, spec }) }),
]

const annotate = (
  present: Pod["metadata"]["annotations"],
  added: Readonly<Record<string, string>>,
): JsonPatch.JsonPatch =>
  present == null
    ? [add("/metadata/annotations", added)]
    : Object.entries(added).map(([key, value]) => add(`/metadata/annotations/${JsonPointer.escapeToken(key)}`, value))

/** So that `kubectl logs` and `exec` mean the application. */
const defaultContainer = ({ metadata, spec }: Pod): Readonly<Record<string, string>> => {
  const key = "kubectl.kubernetes.io/default-container"
  const first = spec.containers?.[0]
  return first === undefined || metadata.annotations?.[key] !== undefined ? {} : { [key]: first.name }
}

/** Another webhook put its container before ours after we had been asked; whatever runs first runs without the tunnel. */
const moveFirst = (raw: unknown, index: number): JsonPatch.JsonPatch => [
  { op: "remove", path: `/spec/initContainers/${index}` },
  add(
    "/spec/initContainers/0",
    (raw as { readonly spec: { readonly initContainers: ReadonlyArray<Schema.Json> } }).spec.initContainers[index]!,
  ),
]

/** Kubernetes shows at most 256 characters of a warning. */
const warnings = (
  pod: Pod,
  unknown: ReadonlyArray<string>,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
  { tun }: Defaults,
): ReadonlyArray<string> => {
  const level = namespaceLabels?.["pod-security.kubernetes.io/enforce"]
  const others = [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? [])].filter(
    ({ name }) => name !== containerName,
  )
  return [
    ...(level === "baseline" || level === "restricted"
      ? [
          `Pod Security "${level}" of this namespace refuses NET_ADMIN, which the VPN sidecar needs: label the namespace pod-security.kubernetes.io/enforce=privileged`,
        ]
      : []),
    ...unknown.map((key) => `annotation ${key} is unknown to Culvert and does nothing${meant(key)}`),
    ...others
      .filter(couldChangeFirewall)
      .map(({ name }) => `container ${name} has NET_ADMIN or is privileged: it could switch off the kill switch`),
    ...others
      .filter(({ ports }) => (ports ?? []).some(({ containerPort }) => containerPort === port))
      .map(({ name }) => `container ${name} wants port ${port}, where the VPN sidecar answers its probes`),
    // The kernel has no idmapped mounts of devtmpfs, so kubelet cannot start the container.
    ...(pod.spec.hostUsers === false && tun.kind === "hostPath"
      ? [
          "hostUsers: false: a hostPath volume cannot bring /dev/net/tun into a user namespace; the injector's CULVERT_TUN has to name a device plugin",
        ]
      : []),
    ...(pod.spec.shareProcessNamespace === true
      ? ["shareProcessNamespace: other containers that run as root can read the VPN's credentials through /proc"]
      : []),
  ].map((warning) => warning.slice(0, 256))
}

const couldChangeFirewall = ({ securityContext }: Container): boolean =>
  securityContext?.privileged === true ||
  (securityContext?.capabilities?.add ?? []).some((name) => /^(CAP_)?(NET_ADMIN|SYS_ADMIN|ALL)$/i.test(name))

const meant = (key: string): string => {
  const near = nearest(key.slice(domainName.length + 1), Object.keys(table))
  return near === undefined ? "" : `; is ${domainName}/${near} meant?`
}

const add = (path: string, value: Schema.Json) => ({ op: "add", path, value }) as const

const refuse = (reason: RefusalReason, message: string): Verdict => ({ outcome: "refused", reason, message })

const mirror = "kubernetes.io/config.mirror"
