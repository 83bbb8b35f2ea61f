/**
 * `npm test [-- FILTER...]`: the unit tests, then the tests against the real server (`test/interop`, root only).
 * A filter is a part of a file's path; one that names `interop` selects from there. The last line counts. Status 0 only when
 * at least one test ran, none failed and the runner itself ended well.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { sweep } from "./support/lab.ts"

const project = join(import.meta.dir, "..")

interface Group {
  readonly name: string
  readonly filters: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<string>
}

interface Case {
  readonly name: string
  readonly outcome: "passed" | "failed" | "skipped"
}

let interrupted: NodeJS.Signals | undefined
let running: Bun.Subprocess | undefined
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interrupted ??= signal
    running?.kill(signal)
  })
}

const reports = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
tellSweep()
const cases: Array<Case> = []
for (const group of groups(process.argv.slice(2))) {
  if (interrupted === undefined) cases.push(...(await run(group)))
}
rmSync(reports, { recursive: true, force: true })
tellSweep()
if (interrupted !== undefined) process.exit(128 + constants.signals[interrupted])
process.exit(conclude(cases))

/** Unit tests must not wait for the network; interop tests do. */
function groups(filters: ReadonlyArray<string>): ReadonlyArray<Group> {
  const interop = filters.filter((filter) => filter.includes("interop"))
  const unit = filters.filter((filter) => !filter.includes("interop"))
  const all: ReadonlyArray<Group> = [
    { name: "unit", filters: unit, parameters: ["--path-ignore-patterns", "test/interop/**"] },
    {
      name: "interop",
      filters: interop.length > 0 ? interop : ["test/interop/"],
      // The pattern matches nothing: it replaces what bunfig.toml may say about this directory.
      parameters: ["--path-ignore-patterns", "none", "--timeout", "60000"],
    },
  ]
  if (filters.length === 0) return all
  return all.filter(({ name }) => (name === "unit" ? unit : interop).length > 0)
}

async function run({ name, filters, parameters }: Group): Promise<ReadonlyArray<Case>> {
  console.log(`\n${name} tests`)
  const report = join(reports, `${name}.xml`)
  running = Bun.spawn(
    [process.execPath, "test", ...parameters, "--reporter=junit", `--reporter-outfile=${report}`, ...filters],
    { cwd: project, stdio: ["ignore", "inherit", "inherit"] },
  )
  const code = await running.exited
  running = undefined
  const found = readReport(report)
  // A crash, a file that cannot be loaded, an error between two tests: no test case says so.
  if (code !== 0 && !found.some(({ outcome }) => outcome === "failed")) {
    return [...found, { name: `${name}: bun test ended with status ${code}`, outcome: "failed" }]
  }
  return found
}

function conclude(cases: ReadonlyArray<Case>): number {
  const named = (outcome: Case["outcome"]) => cases.filter((one) => one.outcome === outcome).map(({ name }) => name)
  const [passed, failed, skipped] = [named("passed"), named("failed"), named("skipped")]
  console.log()
  for (const name of skipped) console.log(`skipped: ${name}`)
  for (const name of failed) console.log(`failed: ${name}`)
  if (passed.length + failed.length === 0) console.log("no test ran")
  const counts = [`${passed.length} passed`, `${failed.length} failed`]
  console.log([...counts, ...(skipped.length > 0 ? [`${skipped.length} skipped`] : [])].join(", "))
  return failed.length === 0 && passed.length > 0 ? 0 : 1
}

/** Reads what `--reporter=junit` wrote: one `testcase` element a test, its outcome as a child element. */
function readReport(file: string): ReadonlyArray<Case> {
  let text: string
  try {
    text = readFileSync(file, "utf8")
  } catch {
    return []
  }
  return [...text.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    ([, attributes = "", body = ""]) => {
      const attribute = (name: string) => unescapeXml(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "")
      const name = [attribute("file"), attribute("classname"), attribute("name")].filter(Boolean).join(" > ")
      const outcome = /<(failure|error)\b/.test(body) ? "failed" : /<skipped\b/.test(body) ? "skipped" : "passed"
      return { name, outcome }
    },
  )
}

function unescapeXml(text: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" }
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (whole, name: string) => entities[name] ?? whole)
}

function tellSweep(): void {
  const removed = sweep()
  if (removed.length > 0) console.log(`removed what a dead run left behind: ${removed.join(" ")}`)
}
