import { expect, test } from "bun:test"
import { axes as matrix, matrixCells } from "./matrix.ts"
import { everyCell, pairwise } from "./pairwise.ts"

const axes = { a: [1, 2, 3], b: ["x", "y", "z", "w"], c: [true, false], d: [0, 1, 2] } as const

/** Pairs of values that are in no cell. */
const missing = (
  axes: Readonly<Record<string, ReadonlyArray<unknown>>>,
  cells: ReadonlyArray<Readonly<Record<string, unknown>>>,
): ReadonlyArray<string> => {
  const names = Object.keys(axes)
  return names.flatMap((one) =>
    names
      .filter((other) => other > one)
      .flatMap((other) =>
        axes[one]!.flatMap((value) =>
          axes[other]!.filter((beside) => !cells.some((cell) => cell[one] === value && cell[other] === beside)).map(
            (beside) => `${one} ${value} with ${other} ${beside}`,
          ),
        ),
      ),
  )
}

test("every pair of values is in some cell, in far fewer cells than the product has", () => {
  const cells = pairwise(axes)
  expect(cells.length).toBeLessThan(20)
  expect(everyCell(axes)).toHaveLength(72)
  expect(missing(axes, cells)).toEqual([])
  expect(missing(axes, cells.slice(1))).not.toEqual([])
})

test("the interop matrix has every pair of what changes the bytes on the wire", () => {
  const cells = matrixCells(undefined)
  expect(missing(matrix, cells)).toEqual([])
  expect(matrixCells("full")).toHaveLength(2 * 7 * 7 * 4 * 2 * 2 * 3)
  expect(cells.length).toBeLessThan(60)
})

test("a drawn part of it is the same for the same seed, and has no cell twice", () => {
  const cells = matrixCells("100", 7)
  expect(cells).toEqual(matrixCells("100", 7))
  expect(new Set(cells).size).toBe(100)
})

test("what is not allowed is in none", () => {
  const cells = pairwise(axes, ({ a, b }) => !(a === 1 && b === "x"))
  expect(cells.some(({ a, b }) => a === 1 && b === "x")).toBe(false)
  expect(cells.some(({ a, b }) => a === 1 && b === "y")).toBe(true)
})
