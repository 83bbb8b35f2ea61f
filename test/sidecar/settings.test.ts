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
  expect(success(readSettings({}, {}))).toMatchObject({
    config: "/etc/culvert/client.ovpn",
    credentials: "/etc/culvert/credentials",
    http: { hostname: "::", port: 4911 },
    bypass: [],
    inbound: [],
    dnsMode: "redirect",
    dns: [],
    clusterDomains: [],
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

test("networks, inbound ports and domains are lists, and a wrong item is named", () => {
  expect(success(readSettings({ bypass: "10.0.0.0/8, fd00::/8 192.0.2.1" }, {})).bypass).toEqual([
    "10.0.0.0/8",
    "fd00::/8",
    "192.0.2.1",
  ])
  expect(success(readSettings({ inbound: "tcp:8080,udp:53,icmp" }, {})).inbound).toEqual([
    { protocol: "tcp", port: 8080 },
    { protocol: "udp", port: 53 },
    { protocol: "icmp" },
  ])
  for (const [settings, item] of [
    [{ bypass: "10.0.0.0/33" }, "10.0.0.0/33"],
    [{ bypass: "10.0.0.0/8,pods" }, "pods"],
    [{ inbound: "tcp:0" }, "tcp:0"],
    [{ inbound: "8080" }, "8080"],
    [{ dns: "10.0.0.0/8" }, "10.0.0.0/8"],
    [{ clusterDomains: "a b;c" }, "b;c"],
  ] as const) {
    expect(problem(readSettings(settings, {}))).toContain(item)
  }
})
