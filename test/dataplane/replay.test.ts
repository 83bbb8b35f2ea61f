import { describe, expect, test } from "bun:test"
import { ReplayWindow } from "../../src/dataplane/replay.ts"

/** Ids in the order of their arrival, each with the verdict; "@N" sets the clock to N seconds. */
const scenarios: ReadonlyArray<{ name: string; packets: number; seconds: number; steps: string }> = [
  { name: "in order", packets: 64, seconds: 15, steps: "1+ 2+ 3+ 4+" },
  { name: "id 0 never", packets: 64, seconds: 15, steps: "0- 1+ 0-" },
  { name: "each once", packets: 64, seconds: 15, steps: "1+ 1- 2+ 1- 2-" },
  { name: "reordered inside the window", packets: 64, seconds: 15, steps: "5+ 3+ 1+ 4+ 2+ 3- 5-" },
  { name: "the window's edge", packets: 64, seconds: 15, steps: "100+ 37+ 36- 37- 101+ 37- 38+" },
  { name: "a window that is no power of two", packets: 100, seconds: 15, steps: "200+ 101+ 100- 201+ 102+ 101-" },
  { name: "a window of one", packets: 1, seconds: 15, steps: "1+ 1- 3+ 2- 4+" },
  { name: "a jump clears the window", packets: 64, seconds: 15, steps: "1+ 2+ 1000+ 2- 937+ 999+ 1000- 936-" },
  {
    name: "ids that share a flag with skipped ones",
    packets: 64,
    seconds: 15,
    steps: "1+ 2+ 66+ 65+ 3+ 2- 130+ 67+ 66-",
  },
  { name: "ids beyond 31 bits", packets: 64, seconds: 15, steps: "4294967290+ 4294967295+ 4294967290- 4294967291+" },
  { name: "the first id may be any", packets: 64, seconds: 15, steps: "5000+ 4999+" },
  { name: "strictly in order", packets: 0, seconds: 15, steps: "1+ 2+ 2- 4- 3+ 1- 0-" },
  { name: "late, but not too late", packets: 64, seconds: 15, steps: "@0 1+ 3+ @14 2+" },
  { name: "older than the time limit", packets: 64, seconds: 15, steps: "@0 1+ 3+ @15 2-" },
  {
    name: "the time of the packet after it counts, while newer ones keep coming",
    packets: 64,
    seconds: 12,
    steps: "@0 1+ 3+ @3 5+ @6 7+ @9 9+ @12 11+ 2- 4+ @15 12+ 6+ @16 13+ 8+",
  },
  {
    name: "many packets between two marks",
    packets: 64,
    seconds: 12,
    steps: "@0 1+ 2+ 3+ 5+ @1 6+ 8+ @2 10+ @16 20+ 4- 7- 9- 19+",
  },
  { name: "no time limit", packets: 64, seconds: 0, steps: "@0 1+ 3+ @100000 2+ 2-" },
]

test.each([...scenarios])("$name", ({ packets, seconds, steps }) => {
  const window = new ReplayWindow({ packets, seconds })
  let now = 1_000_000
  const verdicts = steps.split(" ").map((step) => {
    if (step.startsWith("@")) {
      now = 1_000_000 + Number(step.slice(1)) * 1000
      return step
    }
    const id = step.slice(0, -1)
    return `${id}${window.accept(now, Number(id)) ? "+" : "-"}`
  })
  expect(verdicts.join(" ")).toBe(steps)
})

describe("against a set of everything seen", () => {
  test.each([1, 5, 64, 100, 1024])("a window of %d accepts each id once and only inside the window", (packets) => {
    const window = new ReplayWindow({ packets, seconds: 0 })
    const seen = new Set<number>()
    let highest = 0
    let state = 12345
    const random = (below: number) => {
      state = (state * 1103515245 + 12345) % 2147483648
      return Math.floor((state / 2147483648) * below)
    }
    for (let i = 0; i < 20_000; i++) {
      const jump = random(50) === 0 ? random(packets * 3) : 3
      const id = Math.max(1, highest + jump - random(packets + 10))
      const expected = id > highest || (highest - id < packets && !seen.has(id))
      expect(window.accept(1, id)).toBe(expected)
      seen.add(id)
      highest = Math.max(highest, id)
    }
  })
})
