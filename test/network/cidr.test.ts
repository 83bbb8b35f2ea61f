import { expect, test } from "bun:test"
import { covers, formatCidr, halves, overlaps, parseCidr } from "../../src/network/cidr.ts"

const cidr = (text: string) => parseCidr(text)!

test("text to numbers and back, with host bits cleared", () => {
  expect(formatCidr(cidr("10.1.2.3/8"))).toBe("10.0.0.0/8")
  expect(formatCidr(cidr("192.0.2.1"))).toBe("192.0.2.1/32")
  expect(formatCidr(cidr("FD00:0::1/16"))).toBe("fd00::/16")
  expect(formatCidr(cidr("::/0"))).toBe("::/0")
})

test("what is no network is undefined", () => {
  for (const text of ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "host", "10.0.0.0/x", "10.0.0.0/-1", "1::2::3"])
    expect(parseCidr(text)).toBeUndefined()
})

test("covering and overlapping, in one family only", () => {
  expect(covers("10.0.0.0/8", "10.244.0.0/16")).toBe(true)
  expect(covers("10.244.0.0/16", "10.0.0.0/8")).toBe(false)
  expect(covers("0.0.0.0/0", "fd00::1")).toBe(false)
  expect(covers("::/0", "fd00::1")).toBe(true)
  expect(covers("nonsense", "10.0.0.1")).toBe(false)
  expect(overlaps(cidr("10.244.0.0/16"), cidr("10.0.0.0/8"))).toBe(true)
  expect(overlaps(cidr("10.244.0.0/16"), cidr("10.245.0.0/16"))).toBe(false)
})

test("halves", () => {
  expect(halves("0.0.0.0/0")).toEqual(["0.0.0.0/1", "128.0.0.0/1"])
  expect(halves("fd24::/64")).toEqual(["fd24::/65", "fd24::8000:0:0:0/65"])
  expect(halves("192.0.2.1/32")).toEqual([])
})
