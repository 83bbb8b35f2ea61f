/** `culvert inject` as a process, asked over TLS as the API server asks. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { issue, makeAuthority } from "../../src/injector/x509.ts"
import { Child, finish } from "../support/child.ts"
import { asking, type Response as ReviewResponse, reviewOf } from "./cluster.ts"

const now = Date.now()
const day = { from: now - 60_000, to: now + 86_400_000 }
const authority = makeAuthority("test", day)
const directory = mkdtempSync(join(tmpdir(), "culvert-inject-"))
const main = join(import.meta.dir, "../../src/main.ts")
let injector: Child
let https = ""
let http = ""

beforeAll(async () => {
  const leaf = issue(authority, ["localhost"], day)
  writeFileSync(join(directory, "tls.crt"), leaf.certificate)
  writeFileSync(join(directory, "tls.key"), leaf.key)
  injector = new Child("culvert inject", [
    ...[process.execPath, main, "inject", "--image", "culvert:1", "--log-format", "json", "--log-level", "debug"],
    ...["--listen", "localhost:0", "--http", "localhost:0", "--cluster-networks", "10.0.0.0/8", "--drain-seconds", "1"],
    ...["--tls-certificate", join(directory, "tls.crt"), "--tls-key", join(directory, "tls.key")],
  ])
  const started = JSON.parse(await injector.line(/"starting"/))
  const portOf = (listen: string) => listen.slice(listen.lastIndexOf(":") + 1)
  https = `https://localhost:${portOf(started.listen)}`
  http = `http://localhost:${portOf(started.http)}`
})

afterAll(async () => {
  await injector.stop()
  rmSync(directory, { recursive: true })
})

const post = async (
  body: string | ReadableStream,
  headers: Record<string, string> = { "content-type": "application/json" },
) => {
  const response = await fetch(`${https}/mutate?timeout=5s`, {
    method: "POST",
    body,
    headers,
    tls: { ca: authority.certificate },
  })
  return { status: response.status, text: await response.text() }
}
const review = async (object: unknown) => {
  const { status, text } = await post(JSON.stringify(reviewOf(object)))
  expect(status).toBe(200)
  return JSON.parse(text).response as ReviewResponse
}
const metrics = async () => (await fetch(`${http}/metrics`)).text()

test("a review is answered over TLS, logged in one line and counted", async () => {
  const since = injector.lines.length
  expect(await review(asking())).toMatchObject({ allowed: true, patchType: "JSONPatch" })
  const logged = JSON.parse(await injector.line(/review_injected/, 5000, since))
  expect(logged).toMatchObject({ level: "info", namespace: "shop", pod: "app" })
  expect(await metrics()).toContain('culvert_injector_admission_responses_total{outcome="injected",reason=""} 1')
})

test("what a review takes is measured where it is answered", async () => {
  const measured = async () => {
    const text = await metrics()
    const figure = (part: string) => Number(text.split(`admission_duration_seconds_${part} `)[1]?.split("\n")[0])
    return { seconds: figure("sum"), reviews: figure("count"), fast: figure('bucket{le="0.005"}') }
  }
  const before = await measured()
  for (let reviews = 0; reviews < 200; reviews++) await review(asking())
  const after = await measured()
  expect(after.reviews - before.reviews).toBe(200)
  const mean = (1000 * (after.seconds - before.seconds)) / 200
  console.log(`a review: ${mean.toFixed(2)} ms on average, ${after.fast - before.fast} of 200 below 5 ms`)
})

test("a refusal says why, to the user, in the log and in the counters", async () => {
  const since = injector.lines.length
  const response = await review(asking({ hostNetwork: true }))
  expect(response.allowed).toBe(false)
  expect(JSON.parse(await injector.line(/review_refused/, 5000, since))).toMatchObject({ reason: "host-network" })
  expect(await metrics()).toContain('outcome="refused",reason="host-network"')
})

test("what is no review is answered with a clear error", async () => {
  for (const [body, said] of [
    ["", "no JSON"],
    ["{", "no JSON"],
    ["[]", "no AdmissionReview"],
    ["null", "no AdmissionReview"],
    ['{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}', "apiVersion"],
    [JSON.stringify(reviewOf(asking(), { uid: 7 })), "uid"],
    ["[".repeat(2_000_000), "no JSON"],
  ] as const) {
    const { status, text } = await post(body)
    expect({ status, said: text.includes(said) }).toEqual({ status: 400, said: true })
  }
  expect((await post("{}", { "content-type": "text/plain" })).status).toBe(415)
  expect((await fetch(`${https}/mutate`, { tls: { ca: authority.certificate } })).status).toBe(405)
  expect((await fetch(`${https}/`, { tls: { ca: authority.certificate } })).status).toBe(404)
})

test("a review larger than the limit is refused, announced or not, and the next one is answered", async () => {
  const huge = JSON.stringify(reviewOf(asking({ padding: "x".repeat(9 * 1024 * 1024) })))
  const announced = await post(huge)
  expect([announced.status, announced.text]).toEqual([413, expect.stringContaining("larger than 8388608 bytes")])
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(huge))
      controller.close()
    },
  })
  expect((await post(stream)).status).toBe(413)
  const deep = asking({ odd: JSON.parse(`${"[".repeat(500)}${"]".repeat(500)}`), padding: "x".repeat(2 * 1024 * 1024) })
  expect((await review(deep)).allowed).toBe(true)
})

test("probes and metrics are plain HTTP; the webhook is not", async () => {
  expect((await fetch(`${http}/healthz`)).status).toBe(200)
  const ready = await fetch(`${http}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining("valid until")])
  expect((await fetch(`${http}/mutate`, { method: "POST" })).status).toBe(404)
  expect(await metrics()).toMatch(/culvert_injector_certificate_expiry_timestamp_seconds 1\d{9}/)
})

test("an image is required; wrong settings are all named; a certificate must be there", async () => {
  const run = (...parameters: ReadonlyArray<string>) => finish([process.execPath, main, "inject", ...parameters])
  expect(await run()).toMatchObject({ code: 64, stdout: expect.stringContaining("--image") })
  const wrong = await run("--image", "a", "--tun", "tap", "--cluster-networks", "0.0.0.0/0", "--startup-seconds", "1")
  expect(wrong.code).toBe(64)
  for (const flag of ["--tun", "--cluster-networks", "--startup-seconds"])
    expect(JSON.parse(wrong.stdout).message).toContain(flag)
  const absent = await run("--image", "a", "--log-format", "json", "--tls-key", "/nonexistent")
  expect(absent).toMatchObject({ code: 71, stdout: expect.stringContaining("/nonexistent: ENOENT") })
})

test("after SIGTERM it is not ready, answers what still comes, and ends with status 0", async () => {
  injector.signal("SIGTERM")
  await injector.line(/"stopping"/)
  const ready = await fetch(`${http}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([503, "[-] stopping\n"])
  expect((await review(asking())).allowed).toBe(true)
  expect(await injector.exited()).toBe(0)
})
