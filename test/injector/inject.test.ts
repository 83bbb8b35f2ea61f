import { describe, expect, test } from "bun:test"
import { admitted, ask, asking, patchOf } from "./cluster.ts"

const names = (containers: ReadonlyArray<{ readonly name: string }> | null | undefined) =>
  (containers ?? []).map(({ name }) => name)
const refusal = (pod: unknown) => {
  const response = ask(pod)
  expect(response.allowed).toBe(false)
  expect(response.patch).toBeUndefined()
  return response.status!.message
}
const skipped = (pod: unknown, request: object = {}) => {
  const response = ask(pod, {}, undefined, request)
  expect(response.allowed).toBe(true)
  expect(response.patch).toBeUndefined()
  return response.auditAnnotations!.status
}
const noLabel = (pod: ReturnType<typeof asking>) => ({ ...pod, metadata: { ...pod.metadata, labels: {} } })

describe("the sidecar is the first container to start", () => {
  for (const [shape, initContainers] of [
    ["a pod without init containers", undefined],
    ["a pod with an empty list", []],
    ["a pod whose list Go wrote as null", null],
  ] as const) {
    test(shape, () => {
      const pod = admitted(asking(initContainers === undefined ? {} : { initContainers }))
      expect(names(pod.spec.initContainers)).toEqual(["culvert"])
    })
  }

  test("before the pod's own, which keep their order", () => {
    const pod = admitted(asking({ initContainers: [{ name: "migrate" }, { name: "seed" }] }))
    expect(names(pod.spec.initContainers)).toEqual(["culvert", "migrate", "seed"])
  })

  test("it is moved to the front again when another webhook came before it", () => {
    const once = admitted(asking())
    const disturbed = {
      ...once,
      spec: { ...once.spec, initContainers: [{ name: "istio-init" }, ...once.spec.initContainers!] },
    }
    const twice = admitted(disturbed)
    expect(names(twice.spec.initContainers)).toEqual(["culvert", "istio-init"])
    expect(twice.spec.initContainers![0]).toEqual(once.spec.initContainers![0]!)
  })
})

test("the sidecar gates the application, is probed by kubelet and has one capability", () => {
  const [sidecar] = admitted(asking({ securityContext: { runAsNonRoot: true, runAsUser: 1000 } })).spec.initContainers!
  expect(sidecar).toMatchObject({
    image: "registry.example/culvert:1.2.3",
    args: ["start"],
    restartPolicy: "Always",
    startupProbe: { httpGet: { path: "/startupz", port: 4911 }, failureThreshold: 120 },
    livenessProbe: { httpGet: { path: "/livez", port: 4911 } },
    readinessProbe: { httpGet: { path: "/readyz", port: 4911 } },
    securityContext: {
      runAsUser: 0,
      runAsNonRoot: false,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] },
    },
    resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "192Mi" } },
  })
})

test("configuration comes from a ConfigMap or a Secret, the login from a Secret", () => {
  const volumes = (annotations: Record<string, string>) => admitted(asking({}, annotations)).spec.volumes
  expect(volumes({ "culvert.dev/config": "vpn" })).toContainEqual({
    name: "culvert-config",
    configMap: { name: "vpn", defaultMode: 0o400 },
  } as never)
  expect(volumes({ "culvert.dev/config": "secret/vpn", "culvert.dev/secret": "login" })).toEqual([
    { name: "culvert-config", secret: { secretName: "vpn", defaultMode: 0o400 } },
    { name: "culvert-credentials", secret: { secretName: "login", defaultMode: 0o400 } },
    { name: "culvert-tun", hostPath: { path: "/dev/net/tun", type: "CharDevice" } },
  ] as never)
})

test("annotations become settings; the bypass adds to the cluster's", () => {
  const pod = admitted(
    asking(
      {},
      {
        "culvert.dev/config": "vpn",
        "culvert.dev/bypass": "192.0.2.0/24",
        "culvert.dev/dns-mode": "off",
        "culvert.dev/inbound": "tcp:8080,icmp",
        "culvert.dev/resources-limits-memory": "1Gi",
      },
    ),
  )
  const [sidecar] = pod.spec.initContainers!
  expect(sidecar!.env).toEqual([
    { name: "CULVERT_BYPASS", value: "10.244.0.0/16,10.96.0.0/12,192.0.2.0/24" },
    { name: "CULVERT_DNS_MODE", value: "off" },
    { name: "CULVERT_INBOUND", value: "tcp:8080,icmp" },
    { name: "CULVERT_KILL_SWITCH", value: "on" },
  ])
  expect(sidecar!.resources).toEqual({ requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "1Gi" } })
})

test("a device plugin's resource takes the place of the host's device", () => {
  const pod = admitted(asking(), { tun: { kind: "resource", name: "squat.ai/tun" } })
  expect(names(pod.spec.volumes)).toEqual(["culvert-config"])
  expect(pod.spec.initContainers![0]!.resources).toMatchObject({ limits: { "squat.ai/tun": "1" } })
})

test("the state is written back, beside the annotations that are there", () => {
  const pod = admitted(asking({}, { "culvert.dev/config": "vpn", "a/b": "c~d" }))
  expect(pod.metadata.annotations).toEqual({
    "culvert.dev/config": "vpn",
    "a/b": "c~d",
    "culvert.dev/status": "injected",
    "culvert.dev/version": "1.2.3",
    "kubectl.kubernetes.io/default-container": "app",
  })
})

describe("left alone are", () => {
  const pod = asking()
  test("pods that did not ask", () => {
    expect(skipped(noLabel(pod))).toBe("skipped: not-requested")
    expect(skipped({ ...pod, metadata: { labels: { "culvert.dev/inject": "false" } } })).toBe("skipped: not-requested")
  })
  test("mirror pods, which kubelet runs anyway", () => {
    expect(skipped(asking({}, { "kubernetes.io/config.mirror": "x" }))).toBe("skipped: mirror-pod")
  })
  test("pods that have the sidecar", () => {
    expect(skipped(admitted(pod))).toBe("skipped: already-injected")
  })
  test("everything that is not the creation of a pod", () => {
    expect(skipped(pod, { operation: "UPDATE" })).toBe("skipped: not-a-new-pod")
    expect(skipped(null, { operation: "DELETE" })).toBe("skipped: not-a-new-pod")
    expect(skipped(pod, { kind: { group: "apps", version: "v1", kind: "Deployment" } })).toBe("skipped: not-a-new-pod")
  })
})

describe("refused, because it would run without the tunnel, is", () => {
  test("a label that is neither true nor false", () => {
    expect(refusal({ ...asking(), metadata: { labels: { "culvert.dev/inject": "True" } } })).toContain(
      'must be "true" or "false"',
    )
  })
  test("a pod on its node's network", () => {
    expect(refusal(asking({ hostNetwork: true }))).toContain("hostNetwork")
  })
  test("a Windows pod, however it says so", () => {
    expect(refusal(asking({ os: { name: "windows" } }))).toContain("Linux")
    expect(refusal(asking({ nodeSelector: { "kubernetes.io/os": "windows" } }))).toContain("Linux")
  })
  test("a pod that does not say which configuration", () => {
    expect(refusal(asking({}, {}))).toContain("culvert.dev/config")
  })
  test("a container or volume of the sidecar's name", () => {
    expect(refusal(asking({ containers: [{ name: "culvert" }] }))).toContain('container "culvert"')
    expect(refusal(asking({ initContainers: [{ name: "culvert" }] }))).toContain('container "culvert"')
    expect(refusal(asking({ volumes: [{ name: "culvert-config" }] }))).toContain("culvert-config")
  })
  test("a status annotation without the sidecar, unless the sidecar can be added", () => {
    const copied = asking({}, { "culvert.dev/config": "vpn", "culvert.dev/status": "injected" })
    expect(names(admitted(copied).spec.initContainers)).toEqual(["culvert"])
    const faked = asking(
      { initContainers: [{ name: "culvert", restartPolicy: "OnFailure" }] },
      copied.metadata.annotations,
    )
    expect(refusal(faked)).toContain('container "culvert"')
  })
  test("a wish to open the pod, or one that cannot be read", () => {
    for (const [annotation, value, said] of [
      ["kill-switch", "off", "always on"],
      ["image", "evil:1", "chosen by the injector"],
      ["bypass", "0.0.0.0/0", "wider than /8"],
      ["bypass", "10.0.0.0/8 ::/1", "wider than /7"],
      ["bypass", "pods", "no network"],
      ["dns-mode", "resolvconf", "writable"],
      ["dns-mode", "none", "one of"],
      ["ready-check", "http://x", "tcp:HOST:PORT"],
      ["config", "kube-system/vpn", "own namespace"],
      ["config", "secret/kube-system/vpn", "own namespace"],
      ["secret", "../token", "own namespace"],
      ["resources-limits-memory", "much", "quantity"],
    ] as const) {
      const message = refusal(asking({}, { "culvert.dev/config": "vpn", [`culvert.dev/${annotation}`]: value }))
      expect(message).toContain(`culvert.dev/${annotation}`)
      expect(message).toContain(said)
    }
  })
  test("a pod that is not shaped like one, without a word of what it holds", () => {
    const message = refusal({ metadata: { labels: { "culvert.dev/inject": "true" } }, spec: { containers: "hunter2" } })
    expect(message).toContain("cannot be read")
    expect(message).not.toContain("hunter2")
    expect(refusal(null)).toContain("cannot be read")
  })
})

describe("the user is warned", () => {
  const warned = (pod: unknown, labels?: Record<string, string>) => (ask(pod, {}, labels).warnings ?? []).join("\n")
  test("of nothing in the usual case", () => {
    expect(warned(asking())).toBe("")
    expect(warned(asking(), { "pod-security.kubernetes.io/enforce": "privileged" })).toBe("")
  })
  test("that Pod Security will refuse the pod", () => {
    for (const level of ["baseline", "restricted"])
      expect(warned(asking(), { "pod-security.kubernetes.io/enforce": level })).toContain(level)
  })
  test("of a misspelt annotation, with the one that is meant", () => {
    expect(warned(asking({}, { "culvert.dev/config": "vpn", "culvert.dev/bypas": "10.0.0.0/8" }))).toContain(
      "is culvert.dev/bypass meant?",
    )
  })
  test("of containers that could open the kill switch", () => {
    expect(warned(asking({ containers: [{ name: "app", securityContext: { privileged: true } }] }))).toContain("app")
    expect(
      warned(asking({ containers: [{ name: "app", securityContext: { capabilities: { add: ["NET_ADMIN"] } } }] })),
    ).toContain("NET_ADMIN")
  })
  test("that a user namespace and a device of the host do not go together", () => {
    const pod = asking({ hostUsers: false })
    expect(warned(pod)).toContain("device plugin")
    const plugin = { tun: { kind: "resource", name: "squat.ai/tun" } } as const
    expect(ask(pod, plugin).warnings).toBeUndefined()
    expect(warned(asking({ hostUsers: true }))).toBe("")
  })
  test("of a container on the port of the probes, and of a shared process namespace", () => {
    expect(warned(asking({ containers: [{ name: "app", ports: [{ containerPort: 4911 }] }] }))).toContain("4911")
    expect(warned(asking({ shareProcessNamespace: true }))).toContain("/proc")
  })
})

test("a review's answer carries its own uid and a JSON patch", () => {
  const response = ask(asking())
  expect(response).toMatchObject({ uid: "705ab4f5-6393-11e8-b7cc-42010a800002", allowed: true, patchType: "JSONPatch" })
  expect(patchOf(response).length).toBeGreaterThan(0)
})
