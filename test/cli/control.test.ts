import { afterAll, beforeEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { finish } from "../support/child.ts"

const token = "c0ffee-c0ffee-c0ffee"
const directory = mkdtempSync(join(tmpdir(), "culvert-control-"))
const tokenFile = join(directory, "token")
let requests: Array<string> = []
const sidecar = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request) => {
    requests.push(`${request.method} ${new URL(request.url).pathname}`)
    const isAllowed = request.headers.get("authorization") === `Bearer ${token}`
    return new Response(isAllowed ? "taken\n" : "the bearer token is missing or wrong\n", {
      status: isAllowed ? 202 : 401,
    })
  },
})
afterAll(() => {
  sidecar.stop(true)
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  requests = []
  writeFileSync(tokenFile, `${token}\n`)
})
const control = (wish: string, environment: Readonly<Record<string, string>>) =>
  finish([process.execPath, join(import.meta.dir, "../../src/main.ts"), wish], { environment })
const settings = { CULVERT_CONTROL: `127.0.0.1:${sidecar.port}`, CULVERT_CONTROL_TOKEN_FILE: tokenFile }

test.each(["reconnect", "pause", "resume"])("%s is asked of the sidecar with its token", async (wish) => {
  const { code, stdout } = await control(wish, settings)
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining(`${wish}: accepted`) })
  expect(requests).toEqual([`POST /${wish}`])
})

test("the token may stand among the credentials", async () => {
  writeFileSync(join(directory, "control-token"), token)
  const { code } = await control("pause", { CULVERT_CONTROL: settings.CULVERT_CONTROL, CULVERT_CREDENTIALS: directory })
  expect({ code, requests }).toEqual({ code: 0, requests: ["POST /pause"] })
})

test("what keeps a wish from being heard is said, without the token", async () => {
  const refused = async (environment: Readonly<Record<string, string>>) => {
    const { code, stdout, stderr } = await control("pause", environment)
    expect(code).not.toBe(0)
    expect(stdout + stderr).not.toContain(token)
    return stderr
  }
  expect(await refused({})).toContain("CULVERT_CONTROL_TOKEN_FILE")
  expect(await refused({ ...settings, CULVERT_CONTROL: "127.0.0.1:1" })).toContain("is culvert running here?")
  expect(await refused({ ...settings, CULVERT_CONTROL_TOKEN_FILE: "/nowhere" })).toContain("cannot be read: ENOENT")
  expect(requests).toEqual([])
  writeFileSync(tokenFile, "another-token-than-the-sidecar's")
  expect(await refused(settings)).toBe("pause: the bearer token is missing or wrong\n")
})
