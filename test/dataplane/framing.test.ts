/** The byte in front of a payload that tells about compression. */
import { describe, expect, test } from "bun:test"
import { Drop } from "../../src/dataplane/drop.ts"
import { Framing } from "../../src/dataplane/framing.ts"

const framing = (form: "lzo" | "stub" | "stub-v2") => new Framing({ form, decompress: false })
const hex = (text: string) => Uint8Array.fromHex(text)

const framed = (form: "lzo" | "stub" | "stub-v2", payload: string): string | number => {
  const bytes = new Uint8Array(64)
  bytes.set(hex(payload), 8)
  const framer = framing(form)
  const length = framer.frame(bytes, 8, payload.length / 2)
  return length < 0 ? length : bytes.slice(8 - framer.overhead, 8 - framer.overhead + length).toHex()
}

const unframed = (form: "lzo" | "stub" | "stub-v2", payload: string): string | number => {
  const bytes = new Uint8Array(64)
  bytes.set(hex(payload), 8)
  const framer = framing(form)
  const length = framer.unframe(bytes, 8, payload.length / 2)
  return length < 0 ? length : bytes.slice(framer.payloadAt, framer.payloadAt + length).toHex()
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
