/** Configurations that providers publish; they are not part of the project, so a fresh clone has none. */
import { expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import * as Result from "effect/Result"
import { formatDiagnostic, parse, print, type ReadFile } from "../../src/config/index.ts"
import { certificate, expectSameProfile, privateKey, staticKey } from "./fixtures.ts"

const corpus = join(import.meta.dir, "../../../shared/corpus")
const profiles = existsSync(corpus)
  ? readdirSync(corpus, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ovpn"))
      .sort()
  : []

/** Side files that are not published, such as credentials. */
const standIns: Record<string, string> = {
  "auth-user-pass": "user\npassword\n",
  ca: certificate,
  cert: certificate,
  key: privateKey,
  "tls-auth": staticKey,
}

const readBeside =
  (file: string): ReadFile =>
  (need) => {
    const beside = join(dirname(file), basename(need.path))
    if (existsSync(beside)) return Result.succeed(readFileSync(beside))
    const standIn = standIns[need.directive]
    return standIn === undefined ? Result.fail("no such file") : Result.succeed(new TextEncoder().encode(standIn))
  }

if (profiles.length === 0) test.skip("the corpus is not here", () => {})

for (const path of profiles) {
  test(`corpus: ${path}`, () => {
    const file = join(corpus, path)
    const text = readFileSync(file, "utf8")
    const lines = text.split("\n")
    const result = parse(text, { file: path, read: readBeside(file) })
    const diagnostics = Result.isSuccess(result) ? result.success.notes : result.failure
    for (const { line, column } of diagnostics) expect(column).toBeWithin(1, (lines[line - 1]?.length ?? -1) + 2)
    if (Result.isFailure(result)) {
      const errors = result.failure.filter(({ severity }) => severity === "error").map(formatDiagnostic)
      const unexpected = errors.filter((error) => !expectedErrors.some((expected) => error.includes(expected)))
      if (!broken.includes(path)) expect(unexpected).toEqual([])
      expect(errors.length).toBeGreaterThan(0)
      return
    }
    expect(broken).not.toContain(path)
    const again = parse(print(result.success.profile, { secrets: true }), {
      file: "canonical",
      read: () => Result.fail("inlined"),
    })
    if (Result.isFailure(again)) throw new Error(again.failure.map(formatDiagnostic).join("\n"))
    expectSameProfile(again.success.profile, result.success.profile)
  })
}

/** What this version refuses although the file is sound. */
const expectedErrors = [
  '"comp-lzo" is refused: not supported yet',
  '"compress" is refused: not supported yet',
  '"ns-cert-type" is refused: not supported yet',
  "data-ciphers: no cipher is left to offer",
]

/** Files that OpenVPN refuses as well. */
const broken = ["ironsocket/default.ovpn", "privatevpn/JP_Tokyo.ovpn", "torguard/USA-MIAMI.ovpn"]
