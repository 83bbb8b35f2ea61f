/** Combinations of settings such that every pair of values of two settings is in one of them. */

type Axes = Readonly<Record<string, ReadonlyArray<unknown>>>
export type Cell<A extends Axes> = { readonly [K in keyof A]: A[K][number] }

/**
 * Greedy and deterministic: each further cell is the one of the full product that has the most pairs not seen yet. `allowed`
 * leaves out combinations that cannot be; pairs that exist only in those are not asked for.
 */
export const pairwise = <const A extends Axes>(
  axes: A,
  allowed: (cell: Cell<A>) => boolean = () => true,
): ReadonlyArray<Cell<A>> => {
  const product = everyCell(axes).filter(allowed)
  const missing = new Set(product.flatMap(pairsOf))
  const cells: Array<Cell<A>> = []
  while (missing.size > 0) {
    let best = product[0]!
    let most = -1
    for (const cell of product) {
      const gain = pairsOf(cell).filter((pair) => missing.has(pair)).length
      if (gain > most) [best, most] = [cell, gain]
    }
    for (const pair of pairsOf(best)) missing.delete(pair)
    cells.push(best)
  }
  return cells
}

export const everyCell = <const A extends Axes>(axes: A): ReadonlyArray<Cell<A>> =>
  Object.entries(axes).reduce<ReadonlyArray<Record<string, unknown>>>(
    (cells, [name, values]) => cells.flatMap((cell) => values.map((value) => ({ ...cell, [name]: value }))),
    [{}],
  ) as ReadonlyArray<Cell<A>>

const pairsOf = (cell: object): ReadonlyArray<string> => {
  const settings = Object.entries(cell).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return settings.flatMap((one, index) => settings.slice(index + 1).map((other) => `${one}&${other}`))
}
