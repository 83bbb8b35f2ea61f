import { afterAll, beforeEach, expect, test } from "bun:test"
import { join } from "node:path"
import { finish } from "../support/child.ts"

let asked = 0
let readyAt = 0
const sidecar = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: () =>
    ++asked >= readyAt ? new Response("[+] tunnel: up\n") : new Response("[-] tunnel: connecting\n", { status: 503 }),
})
afterAll(() => sidecar.stop(true))
beforeEach(() => {
  asked = 0
})
const health = (...options: ReadonlyArray<string>) =>
  finish([
    ...[process.execPath, join(import.meta.dir, "../../src/main.ts"), "health"],
    ...["--http", `127.0.0.1:${sidecar.port}`, ...options],
  ])

test("health says at once whether packets pass, and what is missing", async () => {
  readyAt = 1
  expect(await health()).toMatchObject({ code: 0, stdout: "[+] tunnel: up\n" })
  readyAt = Number.POSITIVE_INFINITY
  expect(await health()).toMatchObject({ code: 1, stderr: expect.stringContaining("tunnel: connecting") })
})

test("health --wait asks until the answer is yes, or the time is over", async () => {
  readyAt = 3
  expect(await health("--wait=20")).toMatchObject({ code: 0 })
  expect(asked).toBe(3)
  readyAt = Number.POSITIVE_INFINITY
  expect(await health("--wait=1")).toMatchObject({ code: 1, stderr: expect.stringContaining("not ready") })
  expect(asked).toBeGreaterThan(4)
})
