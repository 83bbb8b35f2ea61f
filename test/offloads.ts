/**
 * `npm run test:offloads [-- FILTER...]`: the tests against the real server, of the data plane and of hostile input, once for each
 * offload with that one switched off, and once with none. Status 0 when all of them passed each time.
 */
import { join } from "node:path"
import { offloadNames } from "../src/dataplane/offload.ts"

const filters = process.argv.length > 2 ? process.argv.slice(2) : ["interop", "dataplane", "fuzz"]
const outcomes: Array<{ readonly off: string; readonly status: number }> = []
let isInterrupted = false
for (const off of [offloadNames.join(","), ...offloadNames]) {
  if (isInterrupted) break
  console.log(`\nCULVERT_DISABLE_OFFLOADS=${off}`)
  const run = Bun.spawn([process.execPath, join(import.meta.dir, "run.ts"), ...filters], {
    env: { ...process.env, CULVERT_DISABLE_OFFLOADS: off },
    stdio: ["ignore", "inherit", "inherit"],
  })
  const passOn = (signal: NodeJS.Signals) => {
    isInterrupted = true
    run.kill(signal)
  }
  for (const signal of signals()) process.on(signal, passOn)
  outcomes.push({ off, status: await run.exited })
  for (const signal of signals()) process.off(signal, passOn)
}
console.log()
for (const { off, status } of outcomes) console.log(`${status === 0 ? "passed" : "failed"} without ${off}`)
process.exit(outcomes.every(({ status }) => status === 0) && !isInterrupted ? 0 : 1)

function signals() {
  return ["SIGINT", "SIGTERM", "SIGHUP"] as const
}
