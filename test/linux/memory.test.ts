import { toArrayBuffer } from "bun:ffi"
import { describe, expect, test } from "bun:test"
import { Arena, cString, PlainArena } from "../../src/linux/arena.ts"

describe.each([Arena, PlainArena])("%p", (Arena) => {
  test("a region's bytes, view and address are the same memory", () => {
    const region = new Arena(256).allocate(16)
    region.bytes[3] = 0xab
    expect(region.view.getUint8(3)).toBe(0xab)
    const seen = new Uint8Array(toArrayBuffer(region.address as never, 0, 16))
    expect(seen[3]).toBe(0xab)
  })

  test("regions are aligned and do not overlap", () => {
    const arena = new Arena(1024)
    const regions = [arena.allocate(3), arena.allocate(5, 64), arena.allocate(1), arena.allocate(100, 32)]
    expect(regions.map((region) => region.address % 16)).toEqual([0, 0, 0, 0])
    expect(regions[1]!.address % 64).toBe(0)
    expect(regions[3]!.address % 32).toBe(0)
    for (let i = 1; i < regions.length; i++)
      expect(regions[i]!.offset).toBeGreaterThanOrEqual(regions[i - 1]!.offset + regions[i - 1]!.length)
  })

  test("a full arena refuses, and is full only then", () => {
    const arena = new Arena(128)
    expect(arena.allocate(112, 1).length).toBe(112)
    expect(() => arena.allocate(32)).toThrow(RangeError)
    expect(arena.allocate(16, 1).length).toBe(16)
    expect(() => arena.allocate(1, 1)).toThrow(RangeError)
  })

  test.each([
    [-1, 1],
    [0, 17],
    [16, 1],
    [0, -1],
    [Number.NaN, 1],
  ])("the address of %d and %d bytes is outside of a region of 16", (offset, length) => {
    const region = new Arena(64).allocate(16)
    expect(() => region.at(offset, length)).toThrow(RangeError)
  })

  test("addresses up to the last byte are inside", () => {
    const region = new Arena(64).allocate(16)
    expect(region.at(0, 16)).toBe(region.address)
    expect(region.at(15, 1)).toBe(region.address + 15)
  })

  test("a C string that does not fit or holds a NUL has no address", () => {
    const region = new Arena(64).allocate(4)
    expect(cString(region, "abc")).toBe(region.address)
    expect(region.bytes[3]).toBe(0)
    expect(cString(region, "abcd")).toBeUndefined()
    expect(cString(region, "a\0")).toBeUndefined()
  })
})
