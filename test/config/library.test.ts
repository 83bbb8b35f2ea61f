/** `culvert/config` as somebody else uses it: the package that `npm pack` makes, and the example of its README as it stands there. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ca, staticKey } from "./fixtures.ts"

const project = join(import.meta.dir, "../..")
const directory = mkdtempSync(join(tmpdir(), "culvert-library-"))
const readme = readFileSync(join(project, "src/config/README.md"), "utf8")
const example = /```ts\n([\s\S]*?)```/.exec(readme)![1]!

const run = (...command: ReadonlyArray<string>) => {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...command], { cwd: directory, stdin: "ignore" })
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() }
}

beforeAll(() => {
  const packed = run("npm", "pack", "--silent", project)
  if (packed.code !== 0) throw new Error(packed.err)
  mkdirSync(join(directory, "node_modules/culvert"), { recursive: true })
  const unpack = ["--strip-components", "1", "--directory", "node_modules/culvert"]
  run("tar", "--extract", "--file", packed.out.trim().split("\n").at(-1)!, ...unpack)
  symlinkSync(join(project, "node_modules/effect"), join(directory, "node_modules/effect"))
  writeFileSync(join(directory, "package.json"), `{ "type": "module" }`)
  writeFileSync(join(directory, "example.ts"), example)
  writeFileSync(join(directory, "example.js"), new Bun.Transpiler({ loader: "ts" }).transformSync(example))
  writeFileSync(join(directory, "ta.key"), staticKey)
  const remotes = "remote a.example 443 tcp\nremote fd00::1\n"
  writeFileSync(
    join(directory, "good.ovpn"),
    `client\nauth-user-pass\nremote-cert-tls server\n${remotes}tls-crypt ta.key\n${ca}`,
  )
  writeFileSync(join(directory, "bad.ovpn"), `client\nauth-user-pass\nremote a 0\ntls-crypt none\n${ca}`)
}, 60_000)
afterAll(() => rmSync(directory, { recursive: true }))

test.each([
  ["Bun", process.execPath, "example.ts"],
  ["Node", "node", "example.js"],
] as const)("%s lists the remotes of a file, or says what is wrong with it", (_runtime, program, script) => {
  expect(run(program, script, "good.ovpn")).toEqual({ code: 0, out: "tcp a.example:443\nudp fd00::1:1194\n", err: "" })
  const { out, err } = run(program, script, "bad.ovpn")
  expect(out).toBe("")
  expect(err).toContain('bad.ovpn:3:10: error: remote: expected a whole number from 1 to 65535, not "0"')
  expect(err).toContain('bad.ovpn:4:11: error: tls-crypt: cannot read "none"')
})

test("a TypeScript program sees its types", () => {
  const types = ["--types", "node", "--typeRoots", join(project, "node_modules/@types")]
  const strict = ["--strict", "--noEmit", "--module", "nodenext", "--target", "esnext", "--ignoreConfig", ...types]
  const tsc = join(project, "node_modules/.bin/tsc")
  // Without types the line would be right.
  writeFileSync(join(directory, "typed.ts"), `${example}// @ts-expect-error\nparse(1, 2)\n`)
  expect(run(tsc, ...strict, "typed.ts")).toEqual({ code: 0, out: "", err: "" })
}, 60_000)

test("the example has no more than ten lines", () => {
  expect(
    example
      .trim()
      .split("\n")
      .filter((line) => line !== "").length,
  ).toBeLessThanOrEqual(10)
})

test("the library itself needs no module of a runtime", async () => {
  const built = await Bun.build({ entrypoints: [join(project, "src/config/index.ts")], target: "browser" })
  const text = await built.outputs[0]!.text()
  expect(text).not.toMatch(/from ["'](node|bun):/)
  expect(text).not.toMatch(/require\(["'](node|bun):/)
})
