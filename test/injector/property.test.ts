/** Over generated pods: a seed that fails is printed, and CULVERT_SEED replays it. */
import { expect, test } from "bun:test"
import { JsonPatch, type Schema } from "effect"
import { admitted, ask, type PodObject, patchOf } from "./cluster.ts"

const seeds =
  process.env.CULVERT_SEED === undefined ? Array.from({ length: 500 }, (_, seed) => seed) : [+process.env.CULVERT_SEED]

const forAll = (property: (pod: PodObject) => void) => {
  for (const seed of seeds) {
    try {
      property(generate(seed))
    } catch (error) {
      throw new Error(`CULVERT_SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error })
    }
  }
}

test("injecting twice is injecting once", () => {
  forAll((pod) => {
    if (!ask(pod).allowed) return
    const once = admitted(pod)
    expect(patchOf(ask(once))).toEqual([])
  })
})

test("what the user wrote stays", () => {
  forAll((pod) => {
    if (!ask(pod).allowed) return
    expect(without(admitted(pod))).toEqual(emptied(pod))
  })
})

test("a pod that asked has the sidecar first, or is refused", () => {
  let injected = 0
  forAll((pod) => {
    const response = ask(pod)
    if (pod.metadata.labels?.["culvert.dev/inject"] !== "true") return expect(patchOf(response)).toEqual([])
    if (!response.allowed) return
    injected++
    const [first] = admitted(pod).spec.initContainers!
    expect(first).toMatchObject({ name: "culvert", restartPolicy: "Always" })
  })
  if (seeds.length > 1) expect(injected).toBeGreaterThan(seeds.length / 4)
})

test("the patch only adds", () => {
  forAll((pod) => {
    const patch = patchOf(ask(pod))
    expect(patch.filter(({ op }) => op !== "add")).toEqual([])
    JsonPatch.apply(patch, pod as unknown as Schema.Json)
  })
})

/** The pod without all that injection adds; empty lists and objects are gone, since the patch may have made them. */
const without = (pod: PodObject) =>
  emptied({
    ...pod,
    metadata: {
      ...pod.metadata,
      annotations: Object.fromEntries(
        Object.entries(pod.metadata.annotations ?? {}).filter(
          ([key]) => !/^culvert\.dev\/(status|version)$|default-container$/.test(key),
        ),
      ),
    },
    spec: {
      ...pod.spec,
      initContainers: (pod.spec.initContainers ?? []).filter(({ name }) => name !== "culvert"),
      volumes: (pod.spec.volumes ?? []).filter(({ name }) => !name.startsWith("culvert-")),
    },
  })

const emptied = (pod: PodObject) => {
  const none = (value: unknown) => value == null || Object.keys(value).length === 0
  const { annotations, ...metadata } = pod.metadata
  const { initContainers, volumes, ...spec } = pod.spec
  return {
    ...pod,
    metadata: { ...metadata, ...(none(annotations) ? {} : { annotations }) },
    spec: { ...spec, ...(none(initContainers) ? {} : { initContainers }), ...(none(volumes) ? {} : { volumes }) },
  }
}

function generate(seed: number): PodObject {
  let state = (seed + 1) * 0x9e3779b1
  const below = (limit: number) => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39)
    return ((state ^ (state >>> 15)) >>> 0) % limit
  }
  const sometimes = <A>(value: () => A, oneIn = 2): A | undefined => (below(oneIn) === 0 ? value() : undefined)
  const several = <A>(value: (index: number) => A): ReadonlyArray<A> =>
    Array.from({ length: below(4) }, (_, i) => value(i))
  const maybe = (fields: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  const word = () => ["a", "b~c", "d/e", "é", "0", "-", "constructor", ""][below(8)]!
  const container = (name: string) => ({
    name,
    ...maybe({
      image: sometimes(() => `image:${below(9)}`),
      restartPolicy: sometimes(() => "Always", 5),
      command: sometimes(() => several(word)),
      env: sometimes(() => several((i) => ({ name: `E${i}`, value: word() }))),
      ports: sometimes(() => several((i) => ({ containerPort: 4909 + i }))),
      securityContext: sometimes(() => ({
        privileged: below(2) === 0,
        capabilities: { add: several(() => "NET_ADMIN") },
      })),
      volumeMounts: sometimes(() => several((i) => ({ name: `v${i}`, mountPath: `/${word()}` }))),
    }),
  })
  const list = <A>(value: (index: number) => A) => [undefined, null, several(value)][below(3)]
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: maybe({
      name: sometimes(() => "pod"),
      generateName: sometimes(() => "pod-"),
      creationTimestamp: null,
      labels: { [word()]: word(), "culvert.dev/inject": ["true", "true", "true", "false", "yes"][below(5)] },
      annotations: sometimes(
        () =>
          maybe({
            "culvert.dev/config": sometimes(() => ["vpn", "secret/vpn", "Bad Name"][below(3)], 1),
            "culvert.dev/secret": sometimes(() => "login"),
            "culvert.dev/bypass": sometimes(() => ["10.0.0.0/8", "0.0.0.0/0"][below(2)], 6),
            [`x/${word()}`]: word(),
          }),
        1,
      ),
    }) as PodObject["metadata"],
    spec: {
      ...maybe({
        initContainers: list((i) => container(`i${i}`)),
        volumes: list((i) => ({ name: `v${i}`, emptyDir: {} })),
        hostNetwork: sometimes(() => below(4) === 0),
        securityContext: sometimes(() => ({ runAsNonRoot: true, fsGroup: 5 })),
        nodeSelector: sometimes(() => ({ "kubernetes.io/os": ["linux", "windows"][below(2)] }), 6),
        shareProcessNamespace: sometimes(() => true),
        tolerations: sometimes(() => several(() => ({ key: word() }))),
      }),
      containers: [container("app"), ...several((i) => container(`c${i}`))],
    },
  }
}
