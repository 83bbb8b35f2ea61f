/** The import rule of docs/architecture.md: who may know whom. Any other arrow fails here. */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize, relative } from "node:path"

const src = join(import.meta.dir, "..", "src")

/** Rooms of ours, then packages. `effect/X` allows that module; `effect` allows the barrel and every module. */
const rules: Readonly<
  Record<string, { readonly rooms: ReadonlyArray<string>; readonly packages: ReadonlyArray<string> }>
> = {
  config: { rooms: [], packages: ["effect/Schema", "effect/Result", "effect/Data", "effect/Redacted"] },
  protocol: { rooms: ["config"], packages: ["effect/Result", "effect/Data", "effect/Redacted"] },
  openssl: { rooms: [], packages: ["bun:ffi"] },
  linux: { rooms: [], packages: ["bun:ffi"] },
  dataplane: { rooms: ["protocol", "openssl", "linux"], packages: [] },
  network: { rooms: ["config", "linux"], packages: ["effect", "dns-packet"] },
  tunnel: {
    rooms: ["config", "protocol", "openssl", "linux", "dataplane", "network", "version.ts"],
    packages: ["effect", "node:"],
  },
  settings: { rooms: ["config"], packages: ["effect", "node:"] },
  sidecar: { rooms: ["settings", "tunnel", "config", "version.ts"], packages: ["effect", "prom-client", "node:"] },
  injector: { rooms: ["settings", "tunnel", "config", "version.ts"], packages: ["effect", "prom-client", "node:"] },
  cli: {
    rooms: Object.keys({
      config: 0,
      openssl: 0,
      linux: 0,
      tunnel: 0,
      settings: 0,
      sidecar: 0,
      network: 0,
      injector: 0,
      "version.ts": 0,
    }),
    packages: ["effect", "@effect/platform-node-shared/", "node:"],
  },
}

/** The barrel `import { Schema } from "effect"` counts as `effect/Schema`. */
const imports = (
  file: string,
): ReadonlyArray<{ readonly specifier: string; readonly names: ReadonlyArray<string> }> => {
  const text = readFileSync(file, "utf8").replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, "")
  const statements = [...text.matchAll(/^(?:import|export)\s(?:([^;"']*?)\sfrom\s)?["']([^"']+)["']/gms)]
  const calls = [...text.matchAll(/\bimport\(()["']([^"']+)["']\)/g)]
  return [...statements, ...calls].map((match) => ({
    specifier: match[2]!,
    names: [...(match[1] ?? "").matchAll(/[{,]\s*(?:type\s+)?(\w+)/g)].map((name) => name[1]!),
  }))
}

/** Without comments and double-quoted strings. */
const code = (file: string) =>
  readFileSync(join(src, file), "utf8")
    .replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, "")
    .replace(/"[^"\n]*"/g, '""')

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))

const violations = (file: string): ReadonlyArray<string> => {
  const room = file.split("/")[0]!
  const rule = rules[room]
  if (rule === undefined) return []
  return imports(join(src, file)).flatMap(({ specifier, names }) => {
    if (specifier.startsWith(".")) {
      const target = relative(src, normalize(join(src, dirname(file), specifier))).split("/")[0]!
      return target === room || rule.rooms.includes(target) ? [] : [`${file} imports ${target}`]
    }
    const modules = specifier === "effect" ? names.map((name) => `effect/${name}`) : [specifier]
    return modules
      .filter(
        (module) =>
          !rule.packages.some(
            (allowed) =>
              module === allowed ||
              (module.startsWith(`${allowed}/`) && !allowed.includes("/")) ||
              (/[:/]$/.test(allowed) && module.startsWith(allowed)),
          ),
      )
      .map((module) => `${file} imports ${module}`)
  })
}

test("every room has a rule, or is one of the entry points", () => {
  const rooms = new Set(files.map((file) => file.split("/")[0]!))
  expect([...rooms].filter((room) => rules[room] === undefined).sort()).toEqual(["main.ts", "version.ts"])
})

test("rooms import only what the architecture allows", () => {
  expect(files.flatMap(violations)).toEqual([])
})

test("the scan sees forbidden arrows", () => {
  const seen = imports(join(src, "tunnel", "session.ts")).map(({ specifier }) => specifier)
  expect(seen).toContain("../openssl/index.ts")
  expect(seen).toContain("effect")
})

test("pure rooms use no clock, no randomness and no timers", () => {
  const impure =
    /\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|process\.\w|Bun\.\w)/
  const offenders = files
    .filter((file) => file.startsWith("config/") || file.startsWith("protocol/"))
    .filter((file) => impure.test(code(file)))
  expect(offenders).toEqual([])
})
