import { expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Result } from "effect"
import { readSettings } from "../../src/sidecar/settings.ts"

const success = (result: ReturnType<typeof readSettings>) => Result.getOrThrow(result)
const problem = (result: ReturnType<typeof readSettings>) => {
  if (Result.isSuccess(result)) throw new Error("expected a refusal")
  return result.failure.message
}

test("defaults", () => {
  expect(success(readSettings({}, {}))).toEqual({
    config: "/etc/culvert/client.ovpn",
    credentials: "/etc/culvert/credentials",
    http: { hostname: "::", port: 4911 },
  } as never)
})

test("a flag wins over the variable, the variable over the file", () => {
  const directory = mkdtempSync(join(tmpdir(), "culvert-settings-"))
  try {
    writeFileSync(join(directory, "http"), "127.0.0.1:1\n")
    const file = { CULVERT_HTTP_FILE: join(directory, "http") }
    expect(success(readSettings({}, file)).http).toEqual({ hostname: "127.0.0.1", port: 1 })
    expect(success(readSettings({}, { ...file, CULVERT_HTTP: "[::1]:2" })).http).toEqual({ hostname: "::1", port: 2 })
    expect(success(readSettings({ http: ":3" }, { ...file, CULVERT_HTTP: "[::1]:2" })).http).toEqual({
      hostname: "::",
      port: 3,
    })
    expect(success(readSettings({ http: "off" }, {})).http).toBe("off")
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test("every wrong setting is named, with where it came from", () => {
  const message = problem(
    readSettings({ logFormat: "xml" }, { CULVERT_HTTP: "nowhere", CULVERT_LOG_LEVEL_FILE: "/nonexistent/x" }),
  )
  expect(message).toContain("--log-format: must be one of json, text")
  expect(message).toContain("CULVERT_HTTP: must be ADDRESS:PORT")
  expect(message).toContain("CULVERT_LOG_LEVEL_FILE=/nonexistent/x: cannot be read: ENOENT")
  expect(problem(readSettings({ http: "a:70000" }, {}))).toContain("--http")
})
