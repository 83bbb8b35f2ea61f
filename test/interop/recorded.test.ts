/** Recorded and generated traffic, and the kernel of this machine: it makes of what we put together the packets that arrived, and cuts as we do. */
import { expect } from "bun:test"
import { join } from "node:path"
import { bun, project } from "../support/culvert.ts"
import { longForm } from "../support/network.ts"
import type { Recut } from "../support/recording/recut.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

testCulvert(
  "Linux and Culvert cut alike, and what Culvert puts together Linux cuts into what there was",
  async () => {
    const file = process.env.RECORDING ?? join(project, "test/dataplane/recorded.zst")
    const script = join(project, "test/support/recording/recut.ts")
    const output = await bench.lab.client.succeed([bun, script, file, String(longForm(100, 1 / 100))], {
      deadline: 120_000,
    })
    const { reads, packets, writes, ...rest } = JSON.parse(output) as Recut
    expect(rest).toEqual({ off: [], drops: {}, differences: [] })
    expect(reads).toBeGreaterThan(2000)
    expect(writes).toBeLessThan(packets * 0.8)
  },
  150_000,
)
