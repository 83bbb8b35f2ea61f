import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Result from "effect/Result"
import { formatDiagnostic, parse, print } from "../../src/config/index.ts"
import { corpus, profiles, readBeside } from "./corpus.ts"
import { expectSameProfile } from "./fixtures.ts"

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
      if (!broken.includes(path)) expect(errors).toEqual([])
      expect(errors.length).toBeGreaterThan(0)
      return
    }
    expect(broken).not.toContain(path)
    const again = parse(print(result.success.profile, { secrets: true }), {
      file: "canonical",
      // Everything is inlined but the login of a file with auth-nocache.
      read: (need) => (need.directive === "auth-user-pass" ? readBeside(file)(need) : Result.fail("inlined")),
    })
    if (Result.isFailure(again)) throw new Error(again.failure.map(formatDiagnostic).join("\n"))
    expectSameProfile(again.success.profile, result.success.profile)
  })
}

/** Files that OpenVPN refuses as well. */
const broken = ["ironsocket/default.ovpn", "privatevpn/JP_Tokyo.ovpn", "torguard/USA-MIAMI.ovpn"]
