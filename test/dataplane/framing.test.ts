/** The byte in front of a payload that tells about compression. */
import { describe, expect, test } from "bun:test"
import { Drop } from "../../src/dataplane/drop.ts"
import { Framing, LARGEST_PLAIN } from "../../src/dataplane/framing.ts"
import { decompressLz4 } from "../../src/dataplane/lz4.ts"
import { decompressLzo } from "../../src/dataplane/lzo.ts"
import { Arena } from "../../src/linux/index.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"

const arena = new Arena(256 * 1024)
const memory = arena.allocate(4096)
const plain = arena.allocate(LARGEST_PLAIN)
const framing = (form: "lzo" | "stub" | "stub-v2", decompress = false) => new Framing({ form, decompress }, plain)
const hex = (text: string) => Uint8Array.fromHex(text)

const framed = (form: "lzo" | "stub" | "stub-v2", payload: string): string | number => {
  const bytes = new Uint8Array(64)
  bytes.set(hex(payload), 8)
  const framer = framing(form)
  const length = framer.frame(bytes, 8, payload.length / 2)
  return length < 0 ? length : bytes.slice(8 - framer.overhead, 8 - framer.overhead + length).toHex()
}

const unframed = (form: "lzo" | "stub" | "stub-v2", payload: string, decompress = false): string | number => {
  memory.bytes.set(hex(payload), 8)
  const framer = framing(form, decompress)
  const length = framer.unframe(memory, 8, payload.length / 2)
  return length < 0 ? length : framer.memory.bytes.slice(framer.payloadAt, framer.payloadAt + length).toHex()
}

describe.each([
  ["lzo", "fa45000102"],
  ["stub", "fb00010245"],
  ["stub-v2", "45000102"],
] as const)("%s", (form, onWire) => {
  test("frames, and gives back", () => {
    expect(framed(form, "45000102")).toBe(onWire)
    expect(unframed(form, onWire)).toBe("45000102")
  })

  test("of one byte, and of nothing", () => {
    expect(unframed(form, framed(form, "45") as string)).toBe("45")
    expect(unframed(form, "")).toBe(Drop.malformed)
  })
})

test("stub-v2 escapes what looks like its own mark, as an Ethernet address may", () => {
  expect(framed("stub-v2", "50a1b2c3")).toBe("500050a1b2c3")
  expect(unframed("stub-v2", "500050a1b2c3")).toBe("50a1b2c3")
})

test.each([
  ["lzo", "6645000102"],
  ["lzo", "4500"],
  ["stub", "6900010245"],
  ["stub", "fa000102"],
  ["stub-v2", "500145000102"],
] as const)("%s drops %s as compressed", (form, payload) => expect(unframed(form, payload)).toBe(Drop.compressed))

test.each([
  ["lzo", "fa"],
  ["stub", "fb"],
  ["stub-v2", "50"],
  ["stub-v2", "5000"],
] as const)("%s takes %s for nothing", (form, payload) => expect(unframed(form, payload)).toBe(Drop.malformed))

test("stub-v2 takes either escape of a payload that begins like one", () => {
  expect(unframed("stub-v2", "50005000")).toBe("5000")
  expect(unframed("stub-v2", "500a5000")).toBe("5000")
})

/** Of "0123456789" ten times and of its beginning, as the lz4 and lzop programs compress it (block alone). */
const text = "0123456789".repeat(10)

describe("decompression", () => {
  test("of LZ4: literals, a match that overlaps itself, literals", () => {
    // ten literals, a match of 85 at 10, five literals
    expect(unframed("stub-v2", "5001af303132333435363738390a00425035363738392a", true)).toBe(Drop.malformed)
    const block = `af303132333435363738390a00425035363738${"39"}`
    expect(unframed("stub-v2", `5001${block}`, true)).toBe(Buffer.from(text).toHex())
    expect(unframed("stub", `69${block.slice(2)}${block.slice(0, 2)}`, true)).toBe(Buffer.from(text).toHex())
  })

  test("of LZO: a run of literals, a match that overlaps itself, literals, the end", () => {
    // 17 + 10 literals, then 20 with its length in a further byte (2 + 31 + 57 = 90) at distance 10, and the end
    const block = "1b3031323334353637383920392400110000"
    expect(unframed("lzo", `66${block}`, true)).toBe(Buffer.from(text).toHex())
  })

  test("is not done unless allowed", () => {
    expect(unframed("lzo", "661b3031323334353637383920392400110000")).toBe(Drop.compressed)
  })

  for (const [name, method, block] of [
    ["LZ4", decompressLz4, "af303132333435363738390a0042503536373839"],
    ["LZO", decompressLzo, "1b3031323334353637383920392400110000"],
  ] as const) {
    test(`of every truncated ${name} block fails, and of any bytes ends within the output`, () => {
      const bytes = hex(block)
      const output = new Uint8Array(100)
      expect(method(bytes, 0, bytes.length, output)).toBe(100)
      for (let length = 0; length < bytes.length; length++)
        expect(method(bytes, 0, length, output)).toBeLessThan(name === "LZ4" ? 100 : 0)
      expect(method(bytes, 0, bytes.length, new Uint8Array(99))).toBe(-1)
      forEachSeed(5000, (seed) => {
        const random = new SeededRandom(seed)
        const altered = bytes.slice()
        for (let count = 0; count <= seed % 4; count++) altered[random.below(altered.length)] = random.below(256)
        const length = method(altered, 0, altered.length, output)
        expect(length >= -1 && length <= output.length).toBe(true)
      })
    })
  }
})
