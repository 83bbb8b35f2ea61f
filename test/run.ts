/**
 * `npm test [-- FILTER...]`: the unit tests, and the tests against the real server (`test/interop`, root only), several files at a time.
 * A filter is a part of a file's path; one that names `interop` selects from there. The last line counts. Status 0 only when
 * at least one test ran, none failed and the runner itself ended well.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, constants, tmpdir } from "node:os"
import { join } from "node:path"
import { sweep } from "./support/lab.ts"

const project = join(import.meta.dir, "..")

interface Job {
  readonly name: string
  readonly filters: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<string>
}

interface Case {
  readonly name: string
  readonly outcome: "passed" | "failed" | "skipped"
}

/** Folders of tests that start real servers: a process for each file. */
const realFolders = ["test/interop", "test/container"]

/** Those that take longest begin first, so that at the end no lane waits for one of them. */
const longest = [
  "unit",
  "test/interop/protocol-matrix.test.ts",
  "test/interop/rekey.test.ts",
  "test/interop/hostile.test.ts",
  "test/interop/matrix.test.ts",
  "test/interop/handover.test.ts",
  "test/interop/leak.test.ts",
  "test/interop/protocol-login.test.ts",
  "test/container/container.test.ts",
]

/** Jobs at a time: most of them mostly wait. More would only make each of them slower. */
const lanes = Math.min(6, Math.max(3, 2 * availableParallelism()))

let interrupted: NodeJS.Signals | undefined
const running = new Set<Bun.Subprocess>()
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interrupted ??= signal
    for (const child of running) child.kill(signal)
  })
}

const reports = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
tellSweep()
const filters = process.argv.slice(2)
const cases: Array<Case> = []
await pool([...unitJobs(filters), ...realJobs(filters)].sort((one, other) => rank(one) - rank(other)))
rmSync(reports, { recursive: true, force: true })
tellSweep()
if (interrupted !== undefined) process.exit(128 + constants.signals[interrupted])
process.exit(conclude(cases))

function rank({ name }: Job): number {
  const place = longest.indexOf(name)
  return place < 0 ? longest.length : place
}

/** Unit tests wait for nothing outside; their limit is for a test that hangs, on a machine that may be busy. */
function unitJobs(filters: ReadonlyArray<string>): ReadonlyArray<Job> {
  const unit = filters.filter((filter) => !isReal(filter))
  const ignored = realFolders.flatMap((folder) => ["--path-ignore-patterns", `${folder}/**`])
  return filters.length > 0 && unit.length === 0
    ? []
    : [{ name: "unit", filters: unit, parameters: [...ignored, "--timeout", "30000"] }]
}

function realJobs(filters: ReadonlyArray<string>): ReadonlyArray<Job> {
  const wanted = filters.filter(isReal)
  if (filters.length > 0 && wanted.length === 0) return []
  return realFolders
    .flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.test.ts`).scanSync({ cwd: project })])
    .filter((file) => wanted.length === 0 || wanted.some((filter) => file.includes(filter)))
    .sort()
    .map((file) => ({
      name: file,
      filters: [`./${file}`],
      // The pattern matches nothing: it replaces what bunfig.toml says about these folders.
      parameters: ["--path-ignore-patterns", "none", "--timeout", "60000"],
    }))
}

function isReal(filter: string): boolean {
  return realFolders.some((folder) => filter.includes(folder.split("/")[1]!))
}

/** Begins the jobs in order; the output of each comes in one piece when it is done, unless it is the only one. */
async function pool(jobs: ReadonlyArray<Job>): Promise<void> {
  const waiting = [...jobs]
  const output = jobs.length === 1 ? "inherit" : "pipe"
  const lane = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) cases.push(...(await run(job, output)))
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

async function run({ name, filters, parameters }: Job, output: "inherit" | "pipe"): Promise<ReadonlyArray<Case>> {
  if (interrupted !== undefined) return []
  const report = join(reports, `${name.replaceAll("/", "-")}.xml`)
  const child = Bun.spawn(
    [process.execPath, "test", ...parameters, "--reporter=junit", `--reporter-outfile=${report}`, ...filters],
    { cwd: project, stdio: ["ignore", output, output] },
  )
  running.add(child)
  const [stdout, stderr, code] = await Promise.all([textOf(child.stdout), textOf(child.stderr), child.exited])
  running.delete(child)
  if (output === "pipe") process.stdout.write(`\n${stdout}${stderr}`)
  const found = readReport(report)
  // A crash, a file that cannot be loaded, an error between two tests: no test case says so.
  if (code !== 0 && !found.some(({ outcome }) => outcome === "failed")) {
    return [...found, { name: `${name}: bun test ended with status ${code}`, outcome: "failed" }]
  }
  return found
}

async function textOf(stream: ReadableStream<Uint8Array> | number | undefined): Promise<string> {
  return stream instanceof ReadableStream ? await new Response(stream).text() : ""
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
