import { expect, test } from "bun:test"
import { framed, frames } from "../../../src/tunnel/dns/stream.ts"

test("messages come whole out of a stream, however it is cut", () => {
  const messages = [new Uint8Array([1]), new Uint8Array(300).fill(2), new Uint8Array([3, 3])]
  const stream = Buffer.concat(messages.map(framed))
  for (const size of [1, 2, 3, 100, 1000]) {
    const seen: Array<Uint8Array> = []
    const read = frames((message) => seen.push(message))
    for (let at = 0; at < stream.length; at += size) expect(read(stream.subarray(at, at + size))).toBe(true)
    expect(seen).toEqual(messages)
  }
})

test("an empty message ends it", () => {
  expect(frames(() => {})(new Uint8Array([0, 0]))).toBe(false)
})
