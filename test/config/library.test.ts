/** `culvert/config` as somebody else uses it: the example of its README, as it stands there, in Bun and in Node. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ca, staticKey } from "./fixtures.ts"

const project = join(import.meta.dir, "../..")
const directory = mkdtempSync(join(tmpdir(), "culvert-library-"))
const readme = readFileSync(join(project, "src/config/README.md"), "utf8")
const example = /```ts\n([\s\S]*?)```/.exec(readme)![1]!

beforeAll(async () => {
  mkdirSync(join(directory, "node_modules"))
  symlinkSync(project, join(directory, "node_modules/culvert"))
  symlinkSync(join(project, "node_modules/effect"), join(directory, "node_modules/effect"))
  writeFileSync(join(directory, "example.ts"), example)
  writeFileSync(join(directory, "ta.key"), staticKey)
  const remotes = "remote a.example 443 tcp\nremote fd00::1\n"
  writeFileSync(
    join(directory, "good.ovpn"),
    `client\nauth-user-pass\nremote-cert-tls server\n${remotes}tls-crypt ta.key\n${ca}`,
  )
  writeFileSync(join(directory, "bad.ovpn"), `client\nauth-user-pass\nremote a 0\ntls-crypt none\n${ca}`)
  const built = await Bun.build({
    entrypoints: [join(directory, "example.ts")],
    target: "node",
    outdir: directory,
    naming: "example.mjs",
  })
  if (!built.success) throw new Error(built.logs.join("\n"))
})
afterAll(() => rmSync(directory, { recursive: true }))

const run = (program: ReadonlyArray<string>, file: string) => {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...program, file], { cwd: directory, stdin: "ignore" })
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() }
}

const runtimes = [
  ["Bun", [process.execPath, "example.ts"]],
  ["Node", ["node", "example.mjs"]],
] as const

for (const [runtime, program] of runtimes) {
  test(`${runtime} lists the remotes of a file, or says what is wrong with it`, () => {
    expect(run(program, "good.ovpn")).toEqual({ code: 0, out: "tcp a.example:443\nudp fd00::1:1194\n", err: "" })
    const { out, err } = run(program, "bad.ovpn")
    expect(out).toBe("")
    expect(err).toContain('bad.ovpn:3:10: error: remote: expected a whole number from 1 to 65535, not "0"')
    expect(err).toContain('bad.ovpn:4:11: error: tls-crypt: cannot read "none"')
  })
}

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
