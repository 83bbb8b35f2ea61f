import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { unmapProgramPages } from "../../src/linux/index.ts"
import { programMappings } from "../../src/linux/pages.ts"

interface Shown {
  readonly access?: string
  readonly inode?: number
  readonly file?: string
  readonly facts?: Readonly<Record<string, number>>
}

/** A mapping as the kernel shows it, of a program's code unless said. */
const shown = ({ access = "r-xp", inode = 1835, file = "/usr/bin/culvert", facts = {} }: Shown) => {
  const known = { Size: 64, Rss: 48, Pss: 48, Private_Dirty: 0, Shared_Dirty: 0, Anonymous: 0, Swap: 0, ...facts }
  const lines = Object.entries(known).map(([name, value]) => `${`${name}:`.padEnd(16)} ${String(value).padStart(8)} kB`)
  const head = `7f0000010000-7f0000020000 ${access} 00002000 fd:01 ${inode}${" ".repeat(20)}${file}`
  return `${[head, ...lines, "THPeligible:           0", "VmFlags: rd ex mr mw me sd "].join("\n")}\n`
}

test("code and constants of a program file are what is given back", () => {
  const mapping = { address: 0x7f0000010000, length: 0x10000, resident: 48 * 1024 }
  expect(programMappings(shown({}))).toEqual([mapping])
  expect(programMappings(shown({ access: "r--p", file: "/opt/a program/x.so" }))).toEqual([mapping])
  expect(programMappings(shown({ facts: { Private_Dirty: 48 } }))).toEqual([mapping])
  expect(programMappings(shown({ access: "rw-p" }) + shown({}) + shown({ inode: 0, file: "" }))).toEqual([mapping])
})

test.each<[string, Shown]>([
  ["relocated data", { access: "r--p", facts: { Private_Dirty: 4, Anonymous: 4 } }],
  ["relocated data that is in the swap", { access: "r--p", facts: { Swap: 4 } }],
  ["data that was read from the swap and not written since", { access: "r--p", facts: { Anonymous: 4 } }],
  ["a page with a breakpoint in it", { facts: { Private_Dirty: 4, Anonymous: 4 } }],
  ["what may be written to", { access: "rw-p" }],
  ["what nobody may read", { access: "---p" }],
  ["memory that is shared with others", { access: "r--s" }],
  ["memory without a file", { inode: 0, file: "" }],
  ["the kernel's own code", { inode: 0, file: "[vdso]" }],
  ["a file that was replaced", { file: "/usr/bin/culvert (deleted)" }],
  ["what is not in memory", { facts: { Rss: 0 } }],
])("%s stays", (_, mapping) => {
  expect(programMappings(shown(mapping))).toEqual([])
})

test("a kernel that does not tell all of that leaves everything in place", () => {
  expect(programMappings("")).toEqual([])
  expect(programMappings(shown({}).replace(/^Swap:.*\n/m, ""))).toEqual([])
})

test("the process is smaller afterwards, and runs on", () => {
  const smaps = () => readFileSync("/proc/self/smaps", "latin1")
  const resident = () => programMappings(smaps()).reduce((sum, mapping) => sum + mapping.resident, 0)
  const before = resident()
  expect(unmapProgramPages(smaps())).toBeGreaterThan(before / 2)
  expect(resident()).toBeLessThan(before / 2)
  expect(JSON.parse('{"still":"here"}')).toEqual({ still: "here" })
})
