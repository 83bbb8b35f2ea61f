/** Reviews that are nearly right: whatever stands in them, there is an answer, and nobody who asked gets through unchanged. */
import { expect, test } from "bun:test"
import { JsonPatch, Result, type Schema } from "effect"
import { decodeReview } from "../../src/injector/kubernetes.ts"
import { answer } from "../../src/injector/review.ts"
import { asking, defaults, patchOf, type Response, reviewOf } from "./cluster.ts"

const odd: ReadonlyArray<unknown> = [
  null,
  0,
  -1,
  1e308,
  "",
  "x",
  "\u0000",
  [],
  [null],
  {},
  { a: 1 },
  true,
  [[]],
  "__proto__",
]

const original = reviewOf(
  asking({
    initContainers: [{ name: "migrate", restartPolicy: "Always", securityContext: { capabilities: { add: ["A"] } } }],
    volumes: [{ name: "v" }],
    nodeSelector: { a: "b" },
    os: { name: "linux" },
  }),
)

/** Every path in a value, the root first. */
const paths = (value: unknown, at: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> => [
  at,
  ...(typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => paths(inner, [...at, key]))
    : []),
]

const replaced = (value: unknown, [key, ...rest]: ReadonlyArray<string>, by: unknown): unknown => {
  if (key === undefined) return by
  const copy: Record<string, unknown> = Array.isArray(value) ? ([...value] as never) : { ...(value as object) }
  copy[key] = replaced(copy[key], rest, by)
  return copy
}

test("every value of a review replaced by every odd one", () => {
  const outcomes = { unreadable: 0, refused: 0, allowed: 0 }
  for (const path of paths(original)) {
    for (const by of odd) {
      const review = replaced(original, path, by) as typeof original
      const decoded = decodeReview(JSON.stringify(review))
      if (Result.isFailure(decoded)) {
        outcomes.unreadable++
        continue
      }
      const response = JSON.parse(answer(decoded.success, defaults, undefined).body).response as Response
      outcomes[response.allowed ? "allowed" : "refused"]++
      const pod = review.request.object as ReturnType<typeof asking>
      const asked = review.request.operation === "CREATE" && pod?.metadata?.labels?.["culvert.dev/inject"] === "true"
      const isPod = review.request.kind.kind === "Pod" && (review.request.kind.group ?? "") === ""
      if (!response.allowed || !asked || !isPod || "kubernetes.io/config.mirror" in (pod.metadata.annotations ?? {}))
        continue
      const after = JsonPatch.apply(patchOf(response), pod as unknown as Schema.Json) as unknown as typeof pod
      expect({ path, by, first: after.spec.initContainers?.[0]?.name }).toEqual({ path, by, first: "culvert" })
    }
  }
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(50)
})

test("text that is cut off anywhere is answered with an error", () => {
  const text = JSON.stringify(original)
  for (let length = 0; length < text.length; length++)
    expect(Result.isFailure(decodeReview(text.slice(0, length)))).toBe(true)
})

test("annotations with the names of what every object has do nothing", () => {
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    const pod = JSON.parse(
      JSON.stringify(asking()).replace('"culvert.dev/config"', `"culvert.dev/${name}":"x","culvert.dev/config"`),
    )
    const decoded = Result.getOrThrow(decodeReview(JSON.stringify(reviewOf(pod))))
    const response = JSON.parse(answer(decoded, defaults, undefined).body).response as Response
    expect(response.warnings?.join()).toContain("is unknown to Culvert")
  }
})
