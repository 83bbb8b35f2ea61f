/** The policies do what the webhook does: their CEL is evaluated and the results are compared. */
import { describe, expect, test } from "bun:test"
import { JsonPatch, type Schema } from "effect"
import { table } from "../../src/injector/wishes.ts"
import { admitted, ask, asking, defaults, everything, type PodObject } from "../injector/cluster.ts"
import { contextOf, evaluate, matches, type Policy } from "./cel.ts"
import { read } from "./manifests.ts"

const policy = (file: string) => read(file)[0] as unknown as Policy
const mutating = policy("policy/mutating/mutating.yaml")
const validating = policy("policy/validating/validating.yaml")
const params = {
  data: { image: defaults.image, clusterNetworks: defaults.environment.CULVERT_BYPASS as string } as Record<
    string,
    string
  >,
}
// The sidecar's size as the policy has it, which knows no settings but the parameters.
const given = { resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "256Mi" } } }

const byPolicy = (pod: PodObject): PodObject => {
  if (!matches(mutating, pod, params)) return pod
  const patch = evaluate(mutating.spec.mutations![0]!.jsonPatch.expression, contextOf(mutating, pod, params))
  return JsonPatch.apply(patch as JsonPatch.JsonPatch, pod as unknown as Schema.Json) as unknown as PodObject
}

/** The policy cannot know a version, and lists variables in an order of its own. */
const comparable = (pod: PodObject) => ({
  ...pod,
  metadata: { ...pod.metadata, annotations: { ...pod.metadata.annotations, "culvert.dev/version": "" } },
  spec: {
    ...pod.spec,
    initContainers: (pod.spec.initContainers ?? []).map((container) => ({
      ...container,
      ...(container.name === "culvert"
        ? { env: (container.env as ReadonlyArray<{ name: string }>).toSorted((a, b) => a.name.localeCompare(b.name)) }
        : {}),
    })),
  },
})

const refusals = (pod: PodObject, context = params): ReadonlyArray<string> =>
  validating.spec
    .validations!.filter(({ expression }) => {
      try {
        return evaluate(expression, contextOf(validating, pod, context)) !== true
      } catch {
        // An expression that fails is a refusal, as failurePolicy says.
        return true
      }
    })
    .map(({ message }) => message)

const pods: Readonly<Record<string, PodObject>> = {
  "the least": asking(),
  "without init containers of its own, with volumes": asking({ volumes: [{ name: "data" }] }),
  "with init containers": asking({ initContainers: [{ name: "migrate" }], volumes: [] }),
  "with everything said": asking({}, { ...everything, "kubectl.kubernetes.io/default-container": "app" }),
  "a ConfigMap by its long name": asking({}, { "culvert.dev/config": "configmap/vpn" }),
}

test("the pod that says everything says all that can be said", () => {
  const said = Object.keys(pods["with everything said"]!.metadata.annotations!).filter((key) =>
    key.startsWith("culvert.dev/"),
  )
  const sayable = Object.entries(table).flatMap(([name, row]) =>
    row!.sets === "nothing" ? [] : [`culvert.dev/${name}`],
  )
  expect(said.sort()).toEqual(sayable.sort())
})

describe("the mutating policy gives a pod what the webhook gives it:", () => {
  for (const [name, pod] of Object.entries(pods)) {
    test(name, () => {
      expect(comparable(byPolicy(pod))).toEqual(comparable(admitted(pod, given)))
    })
  }

  test("once, not twice", () => {
    const once = byPolicy(asking())
    expect(byPolicy(once)).toEqual(once)
  })

  test("first again, when another webhook came before it", () => {
    const once = byPolicy(asking({ initContainers: [{ name: "migrate" }] }))
    const others = [{ name: "istio-init" }, ...once.spec.initContainers!]
    const again = byPolicy({ ...once, spec: { ...once.spec, initContainers: others } })
    expect(again.spec.initContainers!.map(({ name }) => name)).toEqual(["culvert", "istio-init", "migrate"])
    expect(again.spec.initContainers![0]).toEqual(once.spec.initContainers![0]!)
    // A container that only has the name is nobody's to move.
    const faked = asking({ initContainers: [{ name: "first" }, { name: "culvert" }] })
    expect(byPolicy(faked)).toEqual(faked)
  })

  test("with the defaults of the ConfigMap", () => {
    params.data.config = "everybody"
    try {
      const bare = asking({}, undefined)
      const own = { ...given, config: { kind: "configMap", name: "everybody" } as const }
      expect(comparable(byPolicy(bare))).toEqual(comparable(admitted(bare, own)))
    } finally {
      delete params.data.config
    }
  })

  test("and nothing to pods that the webhook leaves alone or refuses", () => {
    for (const pod of [asking({ hostNetwork: true }), asking({}, { "kubernetes.io/config.mirror": "x" })])
      expect(byPolicy(pod)).toBe(pod)
  })
})

describe("the validating policy", () => {
  test("accepts what webhook and policy made", () => {
    for (const pod of Object.values(pods)) {
      expect(refusals(admitted(pod, given))).toEqual([])
      expect(refusals(byPolicy(pod))).toEqual([])
    }
  })

  test("accepts a sidecar of any size and with a device plugin", () => {
    expect(refusals(admitted(asking(), { tun: { kind: "resource", name: "squat.ai/tun" } }))).toEqual([])
  })

  test("accepts a bypass of any cluster's size", () => {
    for (const bypass of ["10.0.0.0/8", "fc00::/7", "192.0.2.60/32,10.7.0.0/16", "2001:db8::/64", "10.0.0.7"])
      expect(refusals(admitted(asking({}, { "culvert.dev/config": "vpn", "culvert.dev/bypass": bypass })))).toEqual([])
  })

  test("refuses a pod that asked and got nothing", () => {
    expect(refusals(asking()).join()).toContain("is the injector running")
  })

  test("leaves out no namespace: where nobody injects, nobody gets through", () => {
    expect(read("policy/validating/validating.yaml")[1]).toMatchObject({
      kind: "ValidatingAdmissionPolicyBinding",
      spec: { validationActions: ["Deny"], paramRef: { parameterNotFoundAction: "Deny" } },
    })
    expect(JSON.stringify(read("policy/validating/validating.yaml"))).not.toContain("namespaceSelector")
  })

  test("refuses what the webhook refuses", () => {
    for (const pod of [
      asking({ hostNetwork: true }),
      asking({ os: { name: "windows" } }),
      asking({ nodeSelector: { "kubernetes.io/os": "windows" } }),
      asking({}, {}),
      ...["0.0.0.0/0", "10.0.0.0/8,0.0.0.0/1", "0.0.0.0/0 10.0.0.0/8", "0.0.0.0/00", "::/0", "10.0.0.0/7"].map(
        (bypass) => asking({}, { "culvert.dev/config": "vpn", "culvert.dev/bypass": bypass }),
      ),
      asking({}, { "culvert.dev/config": "vpn", "culvert.dev/dns-mode": "resolvconf" }),
      asking({}, { "culvert.dev/config": "vpn", "culvert.dev/kill-switch": "off" }),
      { ...asking(), metadata: { ...asking().metadata, labels: { "culvert.dev/inject": "yes" } } },
    ]) {
      expect(ask(pod).allowed).toBe(false)
      expect(refusals(byPolicy(pod)).length).toBeGreaterThan(0)
    }
  })

  test("refuses a sidecar that somebody changed", () => {
    const pod = admitted(asking(), given)
    const [sidecar] = pod.spec.initContainers!
    const changed = (change: object) =>
      refusals({ ...pod, spec: { ...pod.spec, initContainers: [{ ...sidecar!, ...change }] } })
    expect(changed({})).toEqual([])
    for (const change of [
      { image: "evil:1" },
      { restartPolicy: "OnFailure" },
      { restartPolicy: undefined },
      { startupProbe: undefined },
      { args: ["status"] },
      { command: ["sleep"] },
      { env: [] },
      { env: [{ name: "CULVERT_KILL_SWITCH", value: "off" }] },
      {
        env: [
          { name: "CULVERT_KILL_SWITCH", value: "on" },
          { name: "CULVERT_KILL_SWITCH", value: "off" },
        ],
      },
      { securityContext: { capabilities: { drop: ["ALL"], add: ["NET_ADMIN", "SYS_ADMIN"] } } },
      { securityContext: undefined },
      { lifecycle: { postStart: { exec: { command: ["culvert", "firewall", "clear"] } } } },
      { livenessProbe: { exec: { command: ["culvert", "firewall", "clear"] } } },
      { envFrom: [{ configMapRef: { name: "bypass" } }] },
      { env: [...(sidecar!.env as ReadonlyArray<object>), { name: "CULVERT_BYPASS_FILE", value: "/etc/culvert/all" }] },
    ])
      expect(changed(change).length).toBeGreaterThan(0)
    expect(
      refusals({ ...pod, spec: { ...pod.spec, initContainers: [{ name: "first" }, sidecar!] } }).length,
    ).toBeGreaterThan(0)
  })
})
