/**
 * OpenVPN's lexical rules: text to statements, each with the line and column of every word.
 *
 * A statement is one line: a directive and its words, or a `<tag>` line with everything up to `</tag>`. The rules are those of
 * OpenVPN 2.6 (`parse_line`): double quotes with backslash escapes, single quotes taken literally, `#` and `;` as a comment
 * only where a word would begin, a byte-order mark and CRLF line ends tolerated, `--` allowed before a name.
 * Nothing here knows what a directive means. Time is linear in the length of the text.
 */
import * as Result from "effect/Result"
import { afterUnclosed, closingLines } from "./unclosed.ts"

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
}

export interface LexicalError extends Position {
  readonly message: string
  readonly hint: string | undefined
}

export interface Lexed {
  readonly errors: ReadonlyArray<LexicalError>
  /** The names of those lines and blocks that stand there and could not be read. */
  readonly unread: ReadonlyArray<string>
  /** Whether there are lines of which nothing is known: a block is not closed, or there were too many errors before. */
  readonly incomplete: boolean
}

/** Statements go to `take` one by one, so that a large file need not be there in pieces as well. */
export const lex = (text: string, take: (statement: Statement) => void): Lexed => {
  const lines = (text.startsWith("\ufeff") ? text.slice(1) : text).split("\n")
  return lexLines(text.includes("\r") ? lines.map(withoutLineEnd) : lines, 1, take)
}

/** The same for the lines of a block, whose first line has the number `firstLine` in its file. Lines have no line ends. */
export const lexLines = (
  lines: ReadonlyArray<string>,
  firstLine: number,
  take: (statement: Statement) => void,
): Lexed => {
  const errors: Array<LexicalError> = []
  const unread: Array<string> = []
  let incomplete = false
  /** Known from the first block on that is not closed, so that of many such blocks not each one is sought to the end. */
  let closing: ReadonlyMap<string, number> | undefined
  let lastBlock: { readonly tag: string; readonly end: number } | undefined
  for (let index = 0; index < lines.length; index++) {
    if (errors.length >= maximumErrors) {
      incomplete = true
      break
    }
    const source = lines[index]!
    const line = firstLine + index
    if (isBlankOrComment(source)) continue
    if (source.length > maximumLineLength) {
      const message = `the line has ${source.length} characters, at most ${maximumLineLength} are allowed`
      const lineEnds = source.includes("\r")
      const hint = lineEnds ? "its lines end in carriage returns: save it with line feeds" : undefined
      errors.push({ line, column: maximumLineLength + 1, message, hint })
      incomplete ||= lineEnds
      unread.push(nameOn(source))
      continue
    }
    const words = wordsOf(source, line, errors)
    const name = words?.[0]
    if (words === undefined) unread.push(nameOn(source))
    if (words === undefined || name === undefined) continue
    const rest = words.slice(1)
    const tag = rest.length === 0 ? tagOf(name.text) : undefined
    if (tag === undefined) {
      take({ name: withoutDashes(name), words: rest, block: undefined })
    } else if (tag.startsWith("/")) {
      const opened = tag.slice(1)
      const hint =
        lastBlock?.tag === opened ? `line ${lastBlock.end} closes it already` : `the line <${opened}> is missing above`
      errors.push({ line, column: name.column, message: `${name.text} closes a block that was not opened`, hint })
      unread.push(opened)
    } else {
      const closer = `</${tag}>`
      const isOpen = closing !== undefined && (closing.get(tag) ?? 0) <= index
      const end = isOpen ? undefined : findLine(lines, index + 1, closer)
      if (end === undefined) {
        closing ??= closingLines(lines)
        const { hint, next } = afterUnclosed(lines, index + 1, tag, firstLine)
        errors.push({ line, column: name.column, message: `the block <${tag}> is not closed`, hint })
        unread.push(tag)
        incomplete = true
        index = next - 1
        continue
      }
      if (lines[end] !== closer && !isBlankOrComment(lines[end]!.trim().slice(closer.length))) {
        const column = lines[end]!.indexOf(">") + 2
        const message = `unexpected text after </${tag}>`
        errors.push({ line: firstLine + end, column, message, hint: "a directive begins on its own line" })
      }
      const block = { lines: lines.slice(index + 1, end), firstLine: line + 1 }
      take({ name: { text: tag, line, column: name.column + 1 }, words: none, block })
      lastBlock = { tag, end: firstLine + end }
      index = end
    }
  }
  return { errors, unread, incomplete }
}

/** The words of one line. A comment ends it; an unfinished quotation or a backslash before anything but `\`, `"` and space is an error. */
export const splitWords = (source: string, line: number): Result.Result<ReadonlyArray<Word>, LexicalError> => {
  const errors: Array<LexicalError> = []
  const words = wordsOf(source, line, errors)
  return words === undefined ? Result.fail(errors[0]!) : Result.succeed(words)
}

/** Undefined: it is among the errors why. */
const wordsOf = (source: string, line: number, errors: Array<LexicalError>): ReadonlyArray<Word> | undefined => {
  const words = plainWords(source, line) ?? quotedWords(source, line, errors)
  if (words === undefined || words.length <= maximumWords) return words
  errors.push({ line, column: words[maximumWords]!.column, message: tooManyWords, hint: undefined })
  return undefined
}

/** Of a line without quotation, escape or comment, which most lines are; undefined for others. */
const plainWords = (source: string, line: number): ReadonlyArray<Word> | undefined => {
  const words: Array<Word> = []
  let start = -1
  for (let index = 0; index < source.length; index++) {
    const code = source.charCodeAt(index)
    if (isSpace(code)) {
      if (start >= 0) words.push({ text: source.slice(start, index), line, column: start + 1 })
      start = -1
    } else if (code === doubleQuote || code === singleQuote || code === backslash || isCommentSign(code)) {
      return undefined
    } else if (start < 0) start = index
  }
  if (start >= 0) words.push({ text: source.slice(start), line, column: start + 1 })
  return words
}

const quotedWords = (source: string, line: number, errors: Array<LexicalError>): ReadonlyArray<Word> | undefined => {
  const words: Array<Word> = []
  let index = 0
  for (;;) {
    while (isSpace(source.charCodeAt(index))) index++
    const first = source.charCodeAt(index)
    if (index >= source.length || isCommentSign(first)) return words
    const column = index + 1
    const quote = first === doubleQuote || first === singleQuote ? first : undefined
    if (quote !== undefined) index++
    let text = ""
    // Where the characters begin that are not in `text` yet.
    let from = index
    for (; ; index++) {
      const code = source.charCodeAt(index)
      if (index >= source.length) {
        if (quote === undefined) break
        errors.push({ line, column, message: "the quotation is not closed", hint: undefined })
        return undefined
      }
      if (code === backslash && quote !== singleQuote) {
        const next = source.charCodeAt(index + 1)
        if (next !== backslash && next !== doubleQuote && !isSpace(next)) {
          const message = "a backslash may only stand before a backslash, a double quote or a space"
          errors.push({ line, column: index + 1, message, hint: backslashHint })
          return undefined
        }
        text += source.slice(from, index)
        from = ++index
      } else if (quote === undefined ? isSpace(code) : code === quote) break
    }
    words.push({ text: text + source.slice(from, index), line, column })
    if (quote !== undefined) index++
  }
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

const tagOf = (word: string): string | undefined =>
  word.startsWith("<") ? /^<(\/?[a-z0-9-]{1,64})>$/.exec(word)?.[1] : undefined

const nameOn = (source: string): string => /^\s*(?:--)?([a-z0-9-]{1,64})/.exec(source)?.[1] ?? ""

const withoutDashes = (name: Word): Word =>
  name.text.length > 2 && name.text.startsWith("--") && name.text[2] !== "-"
    ? { text: name.text.slice(2), line: name.line, column: name.column + 2 }
    : name

const withoutLineEnd = (line: string): string =>
  line.charCodeAt(line.length - 1) === carriageReturn ? line.slice(0, -1) : line

const isBlankOrComment = (text: string): boolean => {
  let index = 0
  while (isSpace(text.charCodeAt(index))) index++
  return index === text.length || isCommentSign(text.charCodeAt(index))
}

const isCommentSign = (code: number): boolean => code === 0x23 || code === 0x3b

/** C's `isspace`. */
const isSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= carriageReturn)

const carriageReturn = 0x0d
const doubleQuote = 0x22
const singleQuote = 0x27
const backslash = 0x5c

const backslashHint = 'double it: "C:\\\\keys\\\\static.key"'

/** OpenVPN's OPTION_LINE_SIZE with its line end, and MAX_PARMS with the name. */
const maximumLineLength = 255
const maximumWords = 16
const tooManyWords = `more than ${maximumWords} words on one line`
const maximumErrors = 200
const none: ReadonlyArray<Word> = []
