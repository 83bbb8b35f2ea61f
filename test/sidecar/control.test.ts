import { expect } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { serveControl } from "../../src/sidecar/index.ts"
import { readSettings } from "../../src/sidecar/settings.ts"
import { it } from "../support/effect.ts"

const token = "0123456789abcdef0123"

const served = Effect.gen(function* () {
  const directory = mkdtempSync(join(tmpdir(), "culvert-control-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
  const file = join(directory, "token")
  writeFileSync(file, `${token}\n`)
  const wishes: Array<string> = []
  const ask = (wish: string) => Effect.sync(() => void wishes.push(wish))
  const server = yield* serveControl({ hostname: "127.0.0.1", port: 0 }, file, ask)
  const request = (path: string, authorization?: string, method = "POST") =>
    Effect.promise(async () => {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method, headers })
      return { status: response.status, body: await response.text() }
    })
  return { file, wishes, request }
})

it.live("each wish is passed on, and only as POST", () =>
  Effect.gen(function* () {
    const { wishes, request } = yield* served
    for (const wish of ["reconnect", "pause", "resume"]) {
      expect((yield* request(`/${wish}`, `Bearer ${token}`)).status).toBe(202)
      for (const method of ["GET", "PUT", "DELETE", "OPTIONS"])
        expect((yield* request(`/${wish}`, `Bearer ${token}`, method)).status).toBe(405)
    }
    expect(wishes).toEqual(["reconnect", "pause", "resume"])
    expect((yield* request("/metrics", `Bearer ${token}`, "GET")).status).toBe(404)
  }),
)

it.live("without the right token nothing happens, and the answer does not hold it", () =>
  Effect.gen(function* () {
    const { wishes, request } = yield* served
    for (const authorization of [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      token,
    ]) {
      const { status, body } = yield* request("/reconnect", authorization)
      expect(status).toBe(401)
      expect(body).not.toContain(token)
    }
    expect(wishes).toEqual([])
  }),
)

it.live("a replaced token holds at once; while there is none every request is refused", () =>
  Effect.gen(function* () {
    const { file, wishes, request } = yield* served
    writeFileSync(file, "another-token-of-fair-length")
    expect((yield* request("/pause", `Bearer ${token}`)).status).toBe(401)
    expect((yield* request("/pause", "Bearer another-token-of-fair-length")).status).toBe(202)
    writeFileSync(file, "")
    expect((yield* request("/pause", "Bearer ")).status).toBe(503)
    rmSync(file)
    expect((yield* request("/pause", "Bearer ")).status).toBe(503)
    expect(wishes).toEqual(["pause"])
  }),
)

it.live("a token that is missing or short, and an address that is not of the loopback, are refused at the start", () =>
  Effect.gen(function* () {
    const { file } = yield* served
    writeFileSync(file, "short")
    const listen = { hostname: "127.0.0.1", port: 0 }
    expect((yield* Effect.flip(serveControl(listen, file, () => Effect.void))).message).toContain("less than 16")
    expect((yield* Effect.flip(serveControl(listen, `${file}.gone`, () => Effect.void))).message).toContain("ENOENT")
    for (const control of [":4912", "0.0.0.0:4912", "[::]:4912", "10.0.0.1:4912", "127.0.0.1.example.com:1", "off"]) {
      expect(readSettings({ control }, {})._tag).toBe("Failure")
    }
    for (const control of ["127.0.0.1:1", "[::1]:4912"]) expect(readSettings({ control }, {})._tag).toBe("Success")
  }),
)
