import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { lex, quoteWord, type Statement, splitWords } from "../../src/config/lexer.ts"

const lexed = (text: string) => {
  const statements: Array<Statement> = []
  return { ...lex(text, (statement) => statements.push(statement)), statements }
}

const words = (line: string) => {
  const split = splitWords(line, 1)
  return Result.isSuccess(split) ? split.success.map((word) => word.text) : split.failure.message
}
const statements = (text: string) =>
  lexed(text).statements.map(({ name, words }) => [name.text, ...words.map((word) => word.text)].join(" "))

describe("words of a line", () => {
  test("blanks and tabs separate, also around the words", () => {
    expect(words(" \tremote  a.example\t1194 \r")).toEqual(["remote", "a.example", "1194"])
  })

  test("double quotes hold blanks and comment signs; a backslash escapes a quote and a backslash", () => {
    expect(words(String.raw`a "b c" "# ;" "say \"x\" \\ y" ""`)).toEqual(["a", "b c", "# ;", 'say "x" \\ y', ""])
  })

  test("single quotes take everything literally", () => {
    expect(words(String.raw`a 'b "c" \d'`)).toEqual(["a", String.raw`b "c" \d`])
  })

  test("outside of quotes a backslash escapes a blank", () => {
    expect(words(String.raw`a b\ c \\`)).toEqual(["a", "b c", "\\"])
  })

  test("a comment begins only where a word would", () => {
    expect(words("key server.key # note")).toEqual(["key", "server.key"])
    expect(words("key a#b;c ;note")).toEqual(["key", "a#b;c"])
    expect(words('a"b c')).toEqual(['a"b', "c"])
  })

  test("an unfinished quotation and a stray backslash are errors with their column", () => {
    expect(Result.flip(splitWords('verify-x509-name "a b', 7))).toMatchObject({ success: { line: 7, column: 18 } })
    expect(Result.flip(splitWords(String.raw`ca C:\keys`, 7))).toMatchObject({ success: { line: 7, column: 6 } })
    expect(words("a 'b")).toBe("the quotation is not closed")
    expect(words("a b\\")).toStartWith("a backslash may only stand before")
  })

  test("16 words are allowed, 17 are not", () => {
    const line = (count: number) => new Array(count).fill("w").join(" ")
    expect(words(line(16))).toHaveLength(16)
    expect(words(line(17))).toBe("more than 16 words on one line")
  })

  test("whatever a word holds, it can be quoted so that it is read back", () => {
    for (const word of ["plain", "", "a b", "#x", ";x", '"', "'", "\\", `a"b'c\\d e`, "tab\there", "ü €"]) {
      expect(words(`name ${quoteWord(word)} end`)).toEqual(["name", word, "end"])
    }
  })
})

describe("statements", () => {
  test("positions count lines and columns from 1", () => {
    const [first, second] = lexed("dev tun\n  remote  host 1194\n").statements
    expect(first!.name).toEqual({ text: "dev", line: 1, column: 1 })
    expect(second!.name).toEqual({ text: "remote", line: 2, column: 3 })
    expect(second!.words).toEqual([
      { text: "host", line: 2, column: 11 },
      { text: "1194", line: 2, column: 16 },
    ])
  })

  test("byte-order mark, CRLF, blank lines, comments, leading dashes and a missing final newline", () => {
    expect(statements("\ufeffclient\r\n\r\n# x\r\n;y\r\n--dev tun # z\r\nverb 3")).toEqual([
      "client",
      "dev tun",
      "verb 3",
    ])
  })

  test("a block keeps its lines as they are, and knows their numbers", () => {
    const { statements, errors } = lexed("client\n<ca>\r\n # kept\r\n\r\ntext\r\n  </ca>\r\nverb 3")
    expect(errors).toEqual([])
    expect(statements[1]).toMatchObject({
      name: { text: "ca", line: 2 },
      block: { lines: [" # kept", "", "text"], firstLine: 3 },
    })
    expect(statements[2]!.name).toEqual({ text: "verb", line: 7, column: 1 })
  })

  test("a block that is not closed is reported where it opens", () => {
    const { errors, incomplete } = lexed("client\n  <ca>\nx\nverb 3\n")
    expect(errors).toMatchObject([{ line: 2, column: 3, message: "the block <ca> is not closed" }])
    expect(incomplete).toBe(true)
  })

  test("what follows a block that is not closed is read where its content seems to end", () => {
    const unclosed = (content: string, after: string) => {
      const { errors, statements } = lexed(`<ca>\n${content}${after}\n<cert>\nx\n</cert>\n`)
      return [errors.map(({ line, hint }) => [line, hint]), statements.map(({ name }) => name.text)]
    }
    const pem = "-----BEGIN X-----\nAAAA\n-----END X-----\n"
    expect(unclosed(pem + pem, "verb 3")).toEqual([[[1, "add a line </ca> after line 7"]], ["verb", "cert"]])
    expect(unclosed("AAAA\n", "verb 3")).toEqual([[[1, "add a line </ca> after line 3"]], ["cert"]])
    expect(unclosed(pem, "</CA>\nverb 3")).toEqual([[[1, "line 5 says </CA>"]], ["verb", "cert"]])
    expect(unclosed(pem, "</ ca >\nverb 3")).toEqual([[[1, "line 5 says </ ca >"]], ["verb", "cert"]])
    expect(unclosed(pem, "<key>\nverb 3")).toEqual([
      [
        [1, "add a line </ca> after line 4"],
        [5, "add a line </key> after line 6"],
      ],
      ["cert"],
    ])
  })

  test("a closing tag without its opening one, and text after a closing tag", () => {
    expect(lexed("</ca>\n").errors).toMatchObject([{ line: 1, message: "</ca> closes a block that was not opened" }])
    const hints = (text: string) => lexed(text).errors.map(({ hint }) => hint)
    expect(hints("</ca>\n")).toEqual(["the line <ca> is missing above"])
    expect(hints("<ca>\nx\n</ca>\n</ca>\n")).toEqual(["line 3 closes it already"])
    expect(lexed("<ca>\nx\n</ca>client\n").errors).toMatchObject([
      { line: 3, column: 6, message: "unexpected text after </ca>" },
    ])
  })

  test("a line may have 255 characters, not 256; a comment any number", () => {
    expect(lexed(`setenv UV_X ${"x".repeat(243)}`).errors).toEqual([])
    expect(lexed(`setenv UV_X ${"x".repeat(244)}`).errors).toMatchObject([{ line: 1, column: 256 }])
    expect(lexed(`# ${"x".repeat(1000)}`).errors).toEqual([])
  })
})
