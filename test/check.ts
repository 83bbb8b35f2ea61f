/**
 * `bun run check`: format, lint, types, Effect diagnostics, then the unit tests. The first four run side by side; the tests
 * only when those passed. Status 1 when anything failed. The longest unit tests, and those that start the program, are left to
 * `npm test`, so that this takes less than a minute.
 */
import { join } from "node:path"
import { type Finished, finish } from "./support/child.ts"

const project = join(import.meta.dir, "..")
const tool = (name: string) => join(project, "node_modules/.bin", name)

const steps: ReadonlyArray<{ readonly name: string; readonly command: ReadonlyArray<string> }> = [
  { name: "format, lint", command: [tool("biome"), "check", "--error-on-warnings", "--colors=off"] },
  { name: "types", command: [tool("tsc"), "--noEmit", "--pretty", "false", "-p", "tsconfig.json"] },
  { name: "effect diagnostics", command: [tool("effect-tsgo"), "diagnostics", "--project", "tsconfig.json"] },
]

/** The first two are what bunfig.toml has, which these replace. */
const ignored = [
  "test/interop/**",
  "test/container/**",
  "test/dataplane/steady.test.ts",
  "test/dataplane/worker.test.ts",
  "test/fuzz/**",
  "test/config/fuzz.test.ts",
  "test/config/oracle.test.ts",
  "test/config/library.test.ts",
  "test/k8s/admission.test.ts",
  // Each of their tests starts the program from source.
  "test/cli/**",
].flatMap((pattern) => ["--path-ignore-patterns", pattern])
const unitTests = [tool("bun"), "test", "--parallel", "--timeout", "30000", "--only-failures", ...ignored]

const passed = await Promise.all(steps.map(({ name, command }) => step(name, command)))
if (passed.includes(false)) process.exit(1)
process.exit((await step("unit tests", unitTests)) ? 0 : 1)

async function step(name: string, command: ReadonlyArray<string>): Promise<boolean> {
  const begin = performance.now()
  const result = await finish(command, { cwd: project, deadline: 120_000 })
  const seconds = ((performance.now() - begin) / 1000).toFixed(1)
  console.log(`${result.code === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)${summary(result)}`)
  return result.code === 0
}

/** Everything it said when it failed, else nothing; what the tests counted is always of interest. */
function summary({ code, stdout, stderr }: Finished): string {
  const said = `${stdout}${stderr}`.trim()
  if (code !== 0) return `\n${said}`
  const ran = /^Ran \d+ tests.*$/m.exec(said)?.[0]
  return ran === undefined ? "" : `: ${ran.replace(/ \[.*/, "")}`
}
