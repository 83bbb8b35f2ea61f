/** A lock file from a registry that lacks some platforms' packages is refused by `npm ci` everywhere. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
}

test("package-lock.json has an entry for every dependency that it names, also of other platforms", () => {
  const lock = JSON.parse(readFileSync(join(import.meta.dir, "..", "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, Locked>>
  }
  const named = Object.values(lock.packages).flatMap(({ dependencies, optionalDependencies }) => [
    ...Object.keys(dependencies ?? {}),
    ...Object.keys(optionalDependencies ?? {}),
  ])
  expect(named.length).toBeGreaterThan(20)
  expect(named.filter((name) => lock.packages[`node_modules/${name}`] === undefined)).toEqual([])
})
