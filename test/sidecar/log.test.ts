import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { events } from "../../src/sidecar/events.ts"
import { logLayer, RateLimit } from "../../src/sidecar/log.ts"
import { loggingPage } from "../../src/sidecar/reference.ts"

const project = join(import.meta.dir, "../..")

/** To write it anew: bun -e 'await Bun.write("docs/logging.md", (await import("./src/sidecar/reference.ts")).loggingPage())' */
test("docs/logging.md is what the table says", () => {
  expect(readFileSync(join(project, "docs/logging.md"), "utf8")).toBe(loggingPage())
})

test("the table has every event of the code, and no other", () => {
  const src = join(project, "src")
  const text = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => /^(tunnel|cli|sidecar|network|protocol)\/.*\.ts$/.test(file) && !/inject/.test(file))
    .map((file) => readFileSync(join(src, file), "utf8"))
    .join("\n")
  // `event(NAME, ...)`, where the name may be an expression with several names; `event: NAME`; `notice(LEVEL, NAME, ...)`.
  const places = /(?:\.event\(\s*([^,]+),|\bevent: ("[a-z_]+")|\bnotice\(\s*"\w+",\s*("[a-z-]+"))/g
  const names = [...text.matchAll(places)].flatMap((match) =>
    [...(match[1] ?? match[2] ?? match[3] ?? "").matchAll(/"([a-z][a-z_-]+)"/g)].map(([, name]) =>
      name!.replaceAll("-", "_"),
    ),
  )
  expect([...new Set(names)].sort()).toEqual(Object.keys(events).sort())
})

const logged = (format: "json" | "text", effect: Effect.Effect<unknown>, colour = false) => {
  const lines: Array<string> = []
  Effect.runSync(Effect.provide(effect, logLayer(format, "info", { colour, write: (line) => lines.push(line) })))
  return lines
}

test("a JSON line has the same keys in the same order", () => {
  const effect = Effect.logInfo("packets pass").pipe(Effect.annotateLogs({ mtu: 1500, event: "connected" }))
  const [line = ""] = logged("json", effect)
  expect(Object.keys(JSON.parse(line))).toEqual(["ts", "level", "event", "message", "mtu"])
  expect(JSON.parse(line)).toMatchObject({ level: "info", event: "connected", message: "packets pass", mtu: 1500 })
})

test("a secret cannot be logged by accident", () => {
  const password = Redacted.make("correct horse")
  const effect = Effect.logInfo("as a fact").pipe(
    Effect.annotateLogs({ event: "settings", password, tree: { password } }),
  )
  for (const format of ["json", "text"] as const) {
    const lines = logged(format, effect).join("\n")
    expect(lines).toContain("redacted")
    expect(lines).not.toContain("correct horse")
  }
})

test("text has a tree for the settings, and colour only where it is wanted", () => {
  const settings = { http: ":4911", profile: ["client", "dev tun"] }
  const effect = Effect.logWarning("in force").pipe(Effect.annotateLogs({ event: "settings", settings }))
  const [plain = ""] = logged("text", effect)
  expect(plain.split("\n").slice(1)).toEqual(["  ├ http: :4911", "  └ profile", "    ├ client", "    └ dev tun"])
  expect(plain).not.toContain("\x1b")
  expect(logged("text", effect, true)[0]).toContain("\x1b[33mwarn\x1b[0m")
})

test("a flood of one event is cut and counted, others and errors go on", () => {
  const limit = new RateLimit()
  const admitted = Array.from({ length: 100 }, () => limit.admit("flood", 1000)).filter((one) => one !== undefined)
  expect(admitted).toEqual(Array(30).fill(0))
  expect(limit.admit("other", 1000)).toBe(0)
  expect(limit.admit("flood", 11_000)).toBe(70)
  expect(limit.admit("flood", 11_001)).toBe(0)

  const flood = (log: typeof Effect.logInfo) =>
    Effect.forEach(Array.from({ length: 100 }), () => log("again").pipe(Effect.annotateLogs({ event: "flood" })))
  expect(logged("json", flood(Effect.logInfo))).toHaveLength(30)
  expect(logged("json", flood(Effect.logError))).toHaveLength(100)
})

test("the program goes on when nobody reads its log any more", async () => {
  const program = `
    import { Effect } from "effect"
    import { logLayer } from "./src/sidecar/log.ts"
    const log = () => Effect.runSync(Effect.logInfo("still here").pipe(Effect.provide(logLayer("json", "info"))))
    log()
    process.stdin.on("end", () => {
      for (let lines = 0; lines < 3; lines++) log()
      setTimeout(() => process.exit(7), 50)
    }).resume()`
  const streams = { stdin: "pipe", stdout: "pipe", stderr: "pipe" } as const
  const child = Bun.spawn([process.execPath, "-e", program], { cwd: project, ...streams })
  const reader = child.stdout.getReader()
  expect(new TextDecoder().decode((await reader.read()).value)).toContain("still here")
  await reader.cancel()
  child.stdin.end()
  expect(await new Response(child.stderr).text()).toBe("")
  expect(await child.exited).toBe(7)
})
