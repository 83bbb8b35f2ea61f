import { expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Result } from "effect"
import { settingsPage } from "../../src/sidecar/reference.ts"
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

/** To write it anew: bun -e 'await Bun.write("docs/settings.md", (await import("./src/sidecar/reference.ts")).settingsPage())' */
test("docs/settings.md is what the table says", () => {
  expect(readFileSync(join(import.meta.dir, "../../docs/settings.md"), "utf8")).toBe(settingsPage())
})

test("a ready check is a target by TCP or ICMP", () => {
  const target = (readyCheck: string) => success(readSettings({ readyCheck }, {})).readyCheck
  expect(target("tcp:db.internal:5432")).toEqual({ protocol: "tcp", host: "db.internal", port: 5432 })
  expect(target("tcp:[fd00::1]:80")).toEqual({ protocol: "tcp", host: "fd00::1", port: 80 })
  expect(target("icmp:fd00::1")).toEqual({ protocol: "icmp", host: "fd00::1" })
  for (const wrong of [
    "db.internal:5432",
    "tcp:db.internal",
    "tcp:a:0",
    "tcp:a:65536",
    "icmp:",
    "udp:a:1",
    "tcp::80",
  ]) {
    expect(problem(readSettings({ readyCheck: wrong }, {}))).toContain(
      "--ready-check: must be tcp:HOST:PORT or icmp:HOST",
    )
  }
})
