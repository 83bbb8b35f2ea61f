/** When packets that were put together are written. */
import { expect, test } from "bun:test"
import { checksums } from "../../src/dataplane/checksum.ts"
import { Coalescer } from "../../src/dataplane/coalesce.ts"
import { Counters, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { Segmenter } from "../../src/dataplane/segment.ts"
import { TunPort } from "../../src/dataplane/tunport.ts"
import { Arena } from "../../src/linux/index.ts"
import { packet } from "./traffic.ts"

/** A coalescer, and what it wrote so far: `flow: packets`. */
const coalescing = () => {
  const arena = new Arena(4 * 1024 * 1024)
  const sums = checksums(arena)
  const counters = new Counters(createCounterMemory())
  const tun = new TunPort(counters, new Offloads([], () => {}), () => {})
  tun.hasHeader = true
  tun.tso = true
  const written: Array<string> = []
  const record = (bytes: Uint8Array, at: number, packets: number) => {
    written.push(`${bytes[at + 20]! * 256 + bytes[at + 21]!}: ${packets}`)
    return 0
  }
  tun.put = (memory, at, _length, packets) => record(memory.bytes, at + 10, packets)
  tun.write = (memory, at) => record(memory.bytes, at, 1)
  const coalescer = new Coalescer(arena, sums, new Segmenter(arena, sums), tun, counters)
  const sequences = new Map<number, number>()
  return {
    written,
    flush: () => coalescer.flush(),
    give: (port: number, size: number, count = 1) => {
      for (let i = 0; i < count; i++) {
        const number = sequences.get(port) ?? 0
        sequences.set(port, number + 1)
        const payload = new Uint8Array(size)
        const bytes = packet({
          version: 4,
          protocol: 6,
          port,
          payload,
          sequence: number * 1000,
          identification: number,
        })
        const region = arena.allocate(10 + bytes.length)
        region.bytes.set(bytes, 10)
        expect(coalescer.add(region, 10, bytes.length)).toBe(0)
      }
    },
  }
}

test("what is complete waits for the end of the batch, and leaves in the order in which it came", () => {
  const { give, written, flush } = coalescing()
  give(1, 1000, 150)
  expect(written).toEqual([])
  flush()
  expect(written).toEqual(["1: 65", "1: 65", "1: 20"])
  flush()
  expect(written).toHaveLength(3)
})

test("where there is no room the first complete one leaves; without one, that which was begun first", () => {
  const { give, written, flush } = coalescing()
  give(1, 1000, 2)
  // A short packet is the last one of its piece.
  give(2, 1000, 2)
  give(2, 500)
  for (let port = 3; port <= 8; port++) give(port, 1000, 2)
  give(9, 1000, 2)
  expect(written).toEqual(["2: 3"])
  give(10, 1000, 2)
  expect(written).toEqual(["2: 3", "1: 2"])
  give(3, 1000)
  flush()
  expect(written.slice(2)).toEqual(["3: 3", ...[4, 5, 6, 7, 8, 9, 10].map((port) => `${port}: 2`)])
})

test("what cannot be put together leaves after all that waits", () => {
  const { give, written, flush } = coalescing()
  give(1, 1000, 70)
  give(1, 0)
  expect(written).toEqual(["1: 65", "1: 5", "1: 1"])
  flush()
  expect(written).toHaveLength(3)
})
