import { describe, expect, test } from "bun:test"
import { succeed } from "../support/child.ts"

describe("memory", () => {
  test("five million packets on their way through allocate nothing", async () => {
    const script = new URL("./steady.ts", import.meta.url).pathname
    const packets = 5_000_000
    const result = JSON.parse(await succeed([process.execPath, script, `${packets}`], { deadline: 180_000 }))
    expect(result.asItIs).toEqual({ growth: 0, collected: false })
    expect(result.withWaste.collected).toBe(true)
    expect(result.written).toBeGreaterThan(packets)
  }, 190_000)
})
