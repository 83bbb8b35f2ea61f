/** Against the kernel's own packet filter, in a namespace. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

const namespace = `cv${process.pid}-nft`
const directory = mkdtempSync(join(tmpdir(), "cv-nft-"))
beforeAll(async () => void (await succeed(["ip", "netns", "add", namespace])))
afterAll(async () => {
  rmSync(directory, { recursive: true })
  await succeed(["ip", "netns", "del", namespace])
})

/** What is the same as before makes no generation: a rule more is always a change. */
const rule = (table: string) =>
  `add table inet ${table}; add chain inet ${table} every; add rule inet ${table} every accept`

/** What three changes give, as differences from the generation that was there before. `others`: of an `nft` that does more than is asked. */
const generations = async (others: string) => {
  writeFileSync(
    join(directory, "nft"),
    `#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\necho >> ${directory}/runs\nnft "$@" || exit\n${others}\n`,
    { mode: 0o755 },
  )
  writeFileSync(join(directory, "runs"), "")
  const script = `
    import { Effect } from "effect"
    import { filterGeneration } from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { Nft } from "${join(import.meta.dir, "../../src/network/nft.ts")}"
    import { readFileSync } from "node:fs"
    const first = filterGeneration()
    const change = Effect.gen(function* () {
      const nft = yield* Nft
      return yield* nft.apply("${rule("culvert")}\\n")
    })
    const made = []
    for (let count = 0; count < 3; count++) {
      const generation = await Effect.runPromise(change.pipe(Effect.provide(Nft.layer)))
      made.push(generation === undefined ? null : generation - first)
    }
    console.log(JSON.stringify({ made, runs: readFileSync("${directory}/runs", "utf8").length }))`
  const environment = { PATH: `${directory}:${process.env.PATH}` }
  const said = await succeed(["ip", "netns", "exec", namespace, process.execPath, "-e", script], { environment })
  return JSON.parse(said)
}

test("a change tells which generation it made", async () => {
  expect(await generations("")).toEqual({ made: [1, 2, 3], runs: 3 })
})

test("it is made again when somebody else changed something meanwhile", async () => {
  const once = `test -e ${directory}/done || { touch ${directory}/done; nft "${rule("others")}"; }`
  expect(await generations(once)).toEqual({ made: [3, 4, 5], runs: 4 })
})

test("what cannot be told is not", async () => {
  expect(await generations(`nft "${rule("others")}"`)).toEqual({ made: [null, null, null], runs: 9 })
})
