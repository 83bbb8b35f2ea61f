/** The patches as they go over the wire. `CULVERT_GOLDEN=write` writes them anew; the difference is for a reviewer. */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ask, patchOf } from "./cluster.ts"

const directory = join(import.meta.dir, "golden")

for (const file of readdirSync(directory).filter((name) => name.endsWith(".yaml"))) {
  test(`${file} is patched as before`, () => {
    const patch = patchOf(ask(Bun.YAML.parse(readFileSync(join(directory, file), "utf8"))))
    const golden = join(directory, file.replace(".yaml", ".patch.json"))
    if (process.env.CULVERT_GOLDEN === "write") writeFileSync(golden, `${JSON.stringify(patch, undefined, 2)}\n`)
    expect(patch as unknown).toEqual(JSON.parse(readFileSync(golden, "utf8")))
  })
}
