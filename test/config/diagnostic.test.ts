import { describe, expect, test } from "bun:test"
import { explainDiagnostic } from "../../src/config/index.ts"
import { diagnosticsOf, minimal } from "./fixtures.ts"

/** What a terminal shows of the first error that a line causes, below its message. */
const shown = (line: string): ReadonlyArray<string> =>
  explainDiagnostic(diagnosticsOf(minimal(line)).find(({ severity }) => severity === "error")!).split("\n")

describe("on a terminal the caret stands below the word that is at fault", () => {
  test("and its tail is as long as the word", () => {
    expect(shown("remote a.example 70000 udp # x").slice(1)).toEqual([
      "    5 | remote a.example 70000 udp # x",
      "      |                  ^~~~~",
    ])
  })

  test("behind tabs", () => {
    expect(shown("\tverb\tloud").slice(1, 3)).toEqual(["    5 | \tverb\tloud", "      | \t    \t^~~~"])
  })

  test("behind characters of two columns, of none, and outside of the first plane", () => {
    expect(shown('pull-filter ignore "日本" extra')[2]).toBe(`      | ${" ".repeat(26)}^~~~~`)
    expect(shown('pull-filter ignore "e\u0301" extra')[2]).toBe(`      | ${" ".repeat(23)}^~~~~`)
    expect(shown('pull-filter ignore "😀" extra')[2]).toBe(`      | ${" ".repeat(24)}^~~~~`)
  })

  test("below the whole of a quotation", () => {
    expect(shown("verb 'not a number'")[2]).toBe("      |      ^~~~~~~~~~~~~~")
    expect(shown('verb "a \\" b" ; x')[2]).toBe("      |      ^~~~~~~~")
  })

  test("and behind the end of the line where something is missing", () => {
    expect(shown("verb 3\\")[2]).toBe("      |       ^")
  })

  test("in colours only when they are asked for", () => {
    const [error] = diagnosticsOf(minimal("verb x"))
    expect(explainDiagnostic(error!)).not.toContain("\u001b")
    expect(explainDiagnostic(error!, { colours: true }).split("\n")).toEqual([
      '\u001b[1mclient.ovpn:5:6:\u001b[0m \u001b[1;31merror:\u001b[0m verb: expected a whole number from 0 to 15, not "x"',
      "    5 | verb x",
      "      |      \u001b[1;31m^\u001b[0m",
    ])
  })
})
