import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

test("the worker is found in a compiled program as well", async () => {
  const directory = mkdtempSync(join(tmpdir(), "culvert-bundle-"))
  try {
    const source = new URL("../../src/dataplane/", import.meta.url).pathname
    const main = join(directory, "main.ts")
    const worker = join(directory, "dataplane/worker.ts")
    const program = join(directory, "program")
    await Bun.write(worker, `import "${source}worker.ts"`)
    await Bun.write(
      main,
      `import { startDataPlane } from "${source}index.ts"
       const plane = startDataPlane({
         onEvent: (event) => { console.log(event.type); if (event.type === "ready") plane.stop() },
         onCrash: (message) => console.log(message),
       })`,
    )
    await succeed([process.execPath, "build", main, worker, "--compile", "--root", directory, "--outfile", program])
    expect((await succeed([program])).trim().split("\n")).toEqual(["ready", "stopped"])
  } finally {
    rmSync(directory, { recursive: true })
  }
})
