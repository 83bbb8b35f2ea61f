import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

test("the worker is found in a bundle as well", async () => {
  const directory = mkdtempSync(join(tmpdir(), "culvert-bundle-"))
  try {
    const source = new URL("../../src/dataplane/", import.meta.url).pathname
    const entry = join(directory, "entry.ts")
    await Bun.write(
      entry,
      `import { startDataPlane } from "${source}index.ts"
       const plane = startDataPlane({
         onEvent: (event) => { console.log(event.type); if (event.type === "ready") plane.stop() },
         onCrash: (message) => console.log(message),
       })`,
    )
    const out = join(directory, "out")
    const build = ["build", entry, `${source}worker.ts`, "--target=bun", "--outdir", out, "--entry-naming", "[name].js"]
    await succeed([process.execPath, ...build])
    expect((await succeed([process.execPath, join(out, "entry.js")])).trim().split("\n")).toEqual(["ready", "stopped"])
  } finally {
    rmSync(directory, { recursive: true })
  }
})
