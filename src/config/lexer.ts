/**
 * OpenVPN's lexical rules: text to statements, each with the line and column of every word.
 *
 * A statement is one line: a directive and its words, or a `<tag>` line with everything up to `</tag>`. The rules are those of
 * OpenVPN 2.6 (`parse_line`): double quotes with backslash escapes, single quotes taken literally, `#` and `;` as a comment
 * only where a word would begin, a byte-order mark and CRLF line ends tolerated, `--` allowed before a name.
 * Nothing here knows what a directive means. Time is linear in the length of the text.
 */
import * as Result from "effect/Result"

/** Lines and columns count from 1; a column counts UTF-16 code units. */
export interface Position {
  readonly line: number
  readonly column: number
}

export interface Word extends Position {
  readonly text: string
}

/** What stands between `<tag>` and `</tag>`, without line ends. */
export interface Block {
  readonly lines: ReadonlyArray<string>
  /** Of the first line inside. */
  readonly firstLine: number
}

export interface Statement {
  /** Without a leading `--`, or the tag of the block. */
  readonly name: Word
  readonly words: ReadonlyArray<Word>
  readonly block: Block | undefined
  readonly source: string
}

export interface LexicalError extends Position {
  readonly message: string
  readonly hint: string | undefined
}

export interface Lexed {
  readonly statements: ReadonlyArray<Statement>
  readonly errors: ReadonlyArray<LexicalError>
  /** Whether the end was not reached: a block was still open there, or there were too many errors before. */
  readonly incomplete: boolean
}

export const lex = (text: string): Lexed => lexLines((text.startsWith("\ufeff") ? text.slice(1) : text).split("\n"), 1)

/** The same for the lines of a block, whose first line has the number `firstLine` in its file. */
export const lexLines = (lines: ReadonlyArray<string>, firstLine: number): Lexed => {
  const statements: Array<Statement> = []
  const errors: Array<LexicalError> = []
  let incomplete = false
  for (let index = 0; index < lines.length; index++) {
    if (errors.length >= maximumErrors) {
      incomplete = true
      break
    }
    const source = withoutLineEnd(lines[index]!)
    const line = firstLine + index
    if (isBlankOrComment(source)) continue
    if (source.length > maximumLineLength) {
      const message = `the line has ${source.length} characters, at most ${maximumLineLength} are allowed`
      errors.push({ line, column: maximumLineLength + 1, message, hint: undefined })
      continue
    }
    const words = splitWords(source, line)
    if (Result.isFailure(words)) {
      errors.push(words.failure)
      continue
    }
    const [name, ...rest] = words.success
    if (name === undefined) continue
    const tag = rest.length === 0 ? tagOf(name.text) : undefined
    if (tag === undefined) {
      statements.push({ name: withoutDashes(name), words: rest, block: undefined, source })
    } else if (tag.startsWith("/")) {
      const message = `${name.text} closes a block that was not opened`
      errors.push({ line, column: name.column, message, hint: `the line <${tag.slice(1)}> is missing above` })
    } else {
      const end = findLine(lines, index + 1, `</${tag}>`)
      if (end === undefined) {
        const message = `the block <${tag}> is not closed`
        errors.push({ line, column: name.column, message, hint: `add a line </${tag}> after its content` })
        incomplete = true
        break
      }
      const after = withoutLineEnd(lines[end]!)
        .trim()
        .slice(tag.length + 3)
      if (!isBlankOrComment(after)) {
        const column = lines[end]!.indexOf(">") + 2
        const message = `unexpected text after </${tag}>`
        errors.push({ line: firstLine + end, column, message, hint: "a directive begins on its own line" })
      }
      const block = { lines: lines.slice(index + 1, end).map(withoutLineEnd), firstLine: line + 1 }
      statements.push({ name: { ...name, text: tag, column: name.column + 1 }, words: [], block, source })
      index = end
    }
  }
  return { statements, errors, incomplete }
}

/** The words of one line. A comment ends it; an unfinished quotation or a backslash before anything but `\`, `"` and space is an error. */
export const splitWords = (source: string, line: number): Result.Result<ReadonlyArray<Word>, LexicalError> => {
  if (!/["'\\#;]/.test(source)) return splitPlain(source, line)
  const words: Array<Word> = []
  let state: "between" | "bare" | "double" | "single" = "between"
  let text = ""
  let column = 0
  const fail = (at: number, message: string, hint?: string) => Result.fail({ line, column: at, message, hint })
  for (let index = 0; index <= source.length; index++) {
    // Past the last character counts as a space, which ends a bare word.
    let character = index < source.length ? source[index]! : " "
    let escaped = false
    if (character === "\\" && state !== "single" && index < source.length) {
      index++
      character = source[index] ?? ""
      escaped = true
      if (character !== "\\" && character !== '"' && !isSpace(character)) {
        return fail(index, "a backslash may only stand before a backslash, a double quote or a space", backslashHint)
      }
    }
    if (state === "between") {
      if (isSpace(character) && !escaped) continue
      if ((character === "#" || character === ";") && !escaped) break
      column = escaped ? index : index + 1
      text = ""
      if (character === '"' && !escaped) state = "double"
      else if (character === "'" && !escaped) state = "single"
      else {
        state = "bare"
        text = character
      }
      continue
    }
    if (index >= source.length && state !== "bare") return fail(column, `the quotation is not closed`)
    const ends: boolean = !escaped && (state === "bare" ? isSpace(character) : character === quoteOf[state])
    if (!ends) {
      text += character
      continue
    }
    words.push({ text, line, column })
    state = "between"
    if (words.length > maximumWords) return fail(column, tooManyWords)
  }
  return Result.succeed(words)
}

/** A line without quotation, escape or comment: by far the most lines. */
const splitPlain = (source: string, line: number): Result.Result<ReadonlyArray<Word>, LexicalError> => {
  const words: Array<Word> = []
  for (let index = 0; index < source.length; index++) {
    if (isSpace(source[index]!)) continue
    const start = index
    while (index < source.length && !isSpace(source[index]!)) index++
    words.push({ text: source.slice(start, index), line, column: start + 1 })
  }
  if (words.length <= maximumWords) return Result.succeed(words)
  return Result.fail({ line, column: words[maximumWords]!.column, message: tooManyWords, hint: undefined })
}

/** `text` as one word that `splitWords` reads back. The text holds no line end. */
export const quoteWord = (text: string): string => {
  const plain = text !== "" && !/[\s"'\\]/.test(text) && !/^[#;]/.test(text)
  if (plain) return text
  if (/["\\]/.test(text) && !text.includes("'")) return `'${text}'`
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`
}

const findLine = (lines: ReadonlyArray<string>, from: number, prefix: string): number | undefined => {
  for (let index = from; index < lines.length; index++) if (lines[index]!.trimStart().startsWith(prefix)) return index
  return undefined
}

const tagOf = (word: string): string | undefined => /^<(\/?[a-z0-9-]{1,64})>$/.exec(word)?.[1]

const withoutDashes = (name: Word): Word =>
  name.text.length > 2 && name.text.startsWith("--")
    ? { ...name, text: name.text.slice(2), column: name.column + 2 }
    : name

const withoutLineEnd = (line: string): string => (line.endsWith("\r") ? line.slice(0, -1) : line)

const isBlankOrComment = (text: string): boolean => {
  const first = text.trimStart()[0]
  return first === undefined || first === "#" || first === ";"
}

/** C's `isspace`. */
const isSpace = (character: string): boolean =>
  character === " " || (character >= "\t" && character <= "\r" && character.length === 1)

const quoteOf = { double: '"', single: "'" } as const

const backslashHint = 'double it: "C:\\\\keys\\\\static.key"'

/** OpenVPN's OPTION_LINE_SIZE with its line end, and MAX_PARMS with the name. */
const maximumLineLength = 255
const maximumWords = 16
const tooManyWords = `more than ${maximumWords} words on one line`
const maximumErrors = 200
