/** Over generated pods: a seed that fails is printed, and CULVERT_SEED replays it. */
import { expect, test } from "bun:test"
import { JsonPatch, type Schema } from "effect"
import { admitted, ask, type PodObject, patchOf } from "./cluster.ts"
import { generate } from "./generate.ts"

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
