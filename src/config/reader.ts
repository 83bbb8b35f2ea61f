/**
 * Statements read with the directive table: names are known, words have their types, and what is unknown, misplaced or refused
 * has been reported. What the settings mean together is the business of `build.ts` and `push.ts`.
 */
import * as Result from "effect/Result"
import { type Diagnostics, quote } from "./diagnostic.ts"
import { type DirectiveName, directives, isDirective, rowOf } from "./directives.ts"
import { lexLines, type Statement, splitWords, type Word } from "./lexer.ts"
import { type Parameters, type Pending, type Row, syntaxOf } from "./row.ts"
import { type Setting, Settings, standsForBlock } from "./settings.ts"
import { nearest } from "./spelling.ts"

/** Where statements come from: what may stand there, and how it is taken when it is not honoured, differs. */
export type Place = "file" | "connection" | "push"

/** Reads all statements of one place. Each that is at fault is reported and left out. */
export const readSettings = (
  statements: ReadonlyArray<Statement>,
  place: Place,
  report: Diagnostics,
  tolerance: Tolerance = toleranceOf(statements),
): Settings => {
  const settings = new Settings()
  for (const written of statements) {
    if (report.isFull) {
      report.error(written.name, "too many errors: the rest is not read", "is this a configuration file?")
      break
    }
    const optional = place !== "push" && isSetenvOpt(written)
    const statement = optional ? withoutSetenvOpt(written) : written
    const row = lookUp(statement, place, report, tolerance, optional)
    if (row === undefined) continue
    const name = canonicalName(statement.name.text as DirectiveName, row)
    settings.mention(name)
    if (row.status.tag === "refused") {
      report.error(statement.name, `${quoteName(statement)} is refused: ${row.status.because}`, row.status.hint)
      continue
    }
    if (row.pending !== undefined && !reportPending(statement, row, row.pending, place, report)) continue
    for (const setting of readStatement(statement, name, row, report, tolerance)) {
      if (row.status.tag === "ignored") {
        const message = `${quoteName(statement)} has no effect here: ${row.status.because}`
        if (row.status.loud) report.warning(statement.name, message)
        else report.info(statement.name, message)
        continue
      }
      settings.add(setting)
    }
  }
  if (place !== "push") reportRepetitions(settings, report)
  return settings
}

/** Whether the statement is to be read. */
const reportPending = (
  statement: Statement,
  row: Row,
  { outcome, because, hint, loud }: Pending,
  place: Place,
  report: Diagnostics,
): boolean => {
  if (place === "push") {
    if (outcome === "ignored" || row.readWhenPushed || report.acceptsPending) return true
    report.error(statement.name, `${quoteName(statement)} is skipped: ${because}`)
    return false
  }
  if (outcome === "refused") report.pending(statement.name, `${quoteName(statement)} is refused: ${because}`, hint)
  else if (!report.acceptsPending) {
    const message = `${quoteName(statement)} has no effect here: ${because}`
    if (loud) report.warning(statement.name, message)
    else report.info(statement.name, message)
  }
  return true
}

/** What a file says about directives that it expects to be unknown. */
interface Tolerance {
  readonly everything: boolean
  readonly names: ReadonlySet<string>
}

const toleranceOf = (statements: ReadonlyArray<Statement>): Tolerance => {
  const lines = statements
    .filter(({ name }) => name.text === "setenv" || name.text === "ignore-unknown-option")
    .map(({ name, words }) => [name.text, ...words.map((word) => word.text)])
  return {
    everything: lines.some(([name, ...words]) => name === "setenv" && words.join(" ") === "FORWARD_COMPATIBLE 1"),
    names: new Set(lines.filter(([name]) => name === "ignore-unknown-option").flatMap(([, ...words]) => words)),
  }
}

const isSetenvOpt = ({ name, words }: Statement): boolean =>
  name.text === "setenv" && words[0]?.text === "opt" && words.length > 1

const withoutSetenvOpt = (statement: Statement): Statement => {
  const [, name, ...words] = statement.words
  return { ...statement, name: name!, words }
}

/** The row of a statement that may stand here; anything else is reported. */
const lookUp = (
  { name, block, words }: Statement,
  place: Place,
  report: Diagnostics,
  tolerance: Tolerance,
  optional: boolean,
): Row | undefined => {
  if (!isDirective(name.text)) {
    const message = unknownMessage(name.text, words.length, block !== undefined)
    if (optional || tolerance.everything || tolerance.names.has(name.text))
      report.info(name, `${message}; skipped as the file says`)
    else report.error(name, message, hintForUnknown(name.text))
    return undefined
  }
  const row = rowOf(name.text)
  if (place === "push") {
    if (row.push !== undefined) return row
    report.error(name, `${quote(name.text)} is not taken from a server`)
    return undefined
  }
  if (row.pushOnly) report.error(name, `${quote(name.text)} is only for a server to push`)
  else if (place === "connection" && !row.connection)
    report.error(name, `${quote(name.text)} cannot stand in a <connection> block`)
  else if (block !== undefined && row.content === undefined && !row.block && name.text !== "connection")
    report.error(
      name,
      `${quote(name.text)} cannot be given as a block`,
      `write it on one line: ${syntaxOf(name.text, row)}`,
    )
  else if (block === undefined && name.text === "connection")
    report.error(name, `"connection" is a block: <connection>`)
  else return row
  return undefined
}

const canonicalName = (name: DirectiveName, row: Row): DirectiveName =>
  row.aliasOf !== undefined && isDirective(row.aliasOf) ? row.aliasOf : name

const readStatement = (
  statement: Statement,
  name: DirectiveName,
  row: Row,
  report: Diagnostics,
  tolerance: Tolerance,
): ReadonlyArray<Setting> => {
  const { block, words } = statement
  const { line, column } = statement.name
  if (block === undefined) {
    const first = row.content === undefined ? undefined : words[0]
    if (row.content !== undefined && first === undefined && !row.content.optional) {
      report.error(statement.name, `${quoteName(statement)} needs a file name`, `or a block <${name}> with its content`)
      return []
    }
    const values = readWords(statement, row.content === undefined ? words : words.slice(1), row, report)
    if (values === undefined) return []
    const content = first === undefined ? undefined : ({ tag: "file", path: first } as const)
    return [{ name, line, column, inBlock: false, inner: undefined, values, content }]
  }
  const base = { name, line, column: column - 1, inBlock: false, inner: undefined }
  if (name === "connection") {
    const lexed = lexLines(block.lines, block.firstLine)
    for (const error of lexed.errors) report.error(error, error.message, error.hint)
    return [
      {
        ...base,
        values: [],
        content: undefined,
        inner: readSettings(lexed.statements, "connection", report, tolerance),
      },
    ]
  }
  if (row.content !== undefined) return [{ ...base, values: [], content: { tag: "inline", block } }]
  return block.lines.flatMap((text, index) => {
    const at = block.firstLine + index
    const split = splitWords(text, at)
    if (Result.isFailure(split)) {
      report.error(split.failure, split.failure.message, split.failure.hint)
      return []
    }
    if (split.success.length === 0) return []
    const values = readWords(statement, split.success, row, report)
    return values === undefined ? [] : [{ ...base, line: at, column: 1, inBlock: true, values, content: undefined }]
  })
}

/** The typed values of words, or undefined after reporting what is wrong with them. */
const readWords = (
  statement: Statement,
  words: ReadonlyArray<Word>,
  row: Row,
  report: Diagnostics,
): ReadonlyArray<unknown> | undefined => {
  const { required, optional, rest }: Parameters<ReadonlyArray<unknown>> = row.takes
  const usage = () => `usage: ${syntaxOf(statement.name.text, row)}`
  if (words.length < required.length) {
    report.error(statement.name, `${quoteName(statement)} is incomplete`, usage())
    return undefined
  }
  const values: Array<unknown> = []
  for (const [index, word] of words.entries()) {
    const grammar = required[index] ?? optional[index - required.length] ?? rest
    if (grammar === undefined) {
      report.error(
        word,
        `unexpected ${quoteUnlessSecret(word, row)} after ${quoteName(statement)}`,
        hintForWord(words, index) ?? usage(),
      )
      return undefined
    }
    const value = grammar.read(word.text)
    if (Result.isFailure(value)) {
      const expected = `${statement.name.text}: expected ${value.failure}, not ${quoteUnlessSecret(word, row)}`
      report.error(word, expected, hintForWord(words, index))
      return undefined
    }
    values.push(value.success)
  }
  return values
}

const reportRepetitions = (settings: Settings, report: Diagnostics): void => {
  for (const name of settings.names()) {
    const { repeats, conflicts } = rowOf(name)
    const found = settings.all(name)
    const [first] = found
    if (first === undefined) continue
    // `ca [inline]` and the block that it stands for are one.
    const given = found.filter((setting) => !standsForBlock(setting))
    for (const [index, setting] of repeats ? [] : given.entries()) {
      const previous = given[index - 1]
      if (previous === undefined) continue
      if (!report.takesNotes) break
      const message = `"${name}" is given again and takes the place of line ${previous.line}`
      if (isSame(previous, setting)) report.info(setting, message)
      else report.warning(setting, message)
    }
    for (const conflict of conflicts ?? []) {
      const other = isDirective(conflict) ? settings.last(conflict) : undefined
      // A pair that names each other is reported once, at the later line.
      if (other === undefined || (other.line > first.line && rowOf(other.name).conflicts?.includes(name))) continue
      report.error(
        found.at(-1)!,
        `"${name}" and "${conflict}" (line ${other.line}) cannot both be given`,
        "remove one of them",
      )
    }
  }
}

const isSame = (a: Setting, b: Setting): boolean =>
  a.content?.tag !== "inline" &&
  b.content?.tag !== "inline" &&
  a.content?.path.text === b.content?.path.text &&
  JSON.stringify(a.values) === JSON.stringify(b.values)

const quoteUnlessSecret = (word: Word, row: Row): string => (row.secret ? "this word" : quote(word.text))

const quoteName = ({ name }: Statement): string => quote(name.text)

const unknownMessage = (name: string, words: number, isBlock: boolean): string => {
  if (!isBlock && words === 0 && looksLikeKeyMaterial(name)) return "a line of a key or certificate outside of a block"
  return isBlock ? `unknown block <${name}>` : `unknown directive ${quote(name)}`
}

/** Long runs of hex or base64 must not appear in a message. */
const looksLikeKeyMaterial = (text: string): boolean => text.length >= 24 && /^[A-Za-z0-9+/=]+$/.test(text)

const hintForUnknown = (name: string): string | undefined => {
  if (/^(<{7}|={7}|>{7}|\|{7})/.test(name)) return "this is a merge conflict marker: resolve the conflict"
  if (/^-----/.test(name)) return "keys and certificates belong into a block such as <ca>"
  if (/[^\x20-\x7e]/.test(name)) return "it has characters that no directive has: was it copied from formatted text?"
  if (isDirective(name.toLowerCase())) return `names are written in lower case: "${name.toLowerCase()}"`
  const near = nearest(name, Object.keys(directives))
  return near === undefined ? undefined : `did you mean "${near}"?`
}

/** A second directive on the same line is a lost line end. */
const hintForWord = (words: ReadonlyArray<Word>, index: number): string | undefined => {
  const after = words.slice(index).find((word) => word.text.length > 4 && isDirective(word.text))
  return after === undefined ? undefined : `"${after.text}" begins a line of its own`
}
