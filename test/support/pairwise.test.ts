import { expect, test } from "bun:test"
import { everyCell, pairwise } from "./pairwise.ts"

const axes = { a: [1, 2, 3], b: ["x", "y", "z", "w"], c: [true, false], d: [0, 1, 2] } as const

test("every pair of values is in some cell, in far fewer cells than the product has", () => {
  const cells = pairwise(axes)
  expect(cells.length).toBeLessThan(20)
  expect(everyCell(axes)).toHaveLength(72)
  const names = ["a", "b", "c", "d"] as const
  for (const one of names)
    for (const other of names.filter((name) => name > one))
      for (const value of axes[one])
        for (const beside of axes[other])
          expect(cells.some((cell) => cell[one] === value && cell[other] === beside)).toBe(true)
})

test("what is not allowed is in none", () => {
  const cells = pairwise(axes, ({ a, b }) => !(a === 1 && b === "x"))
  expect(cells.some(({ a, b }) => a === 1 && b === "x")).toBe(false)
  expect(cells.some(({ a, b }) => a === 1 && b === "y")).toBe(true)
})
