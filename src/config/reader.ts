/**
 * Statements read with the directive table: names are known, words have their types, and what is unknown, misplaced or refused
 * has been reported. What the settings mean together is the business of `build.ts` and `push.ts`.
 */
import * as Result from "effect/Result"
import { type Diagnostics, quote } from "./diagnostic.ts"
import { type DirectiveName, isDirective, rowOf } from "./directives.ts"
import { type Block, type Lexed, lexLines, type Statement, splitWords, type Word } from "./lexer.ts"
import { type Parameters, type Row, syntaxOf } from "./row.ts"
import { type Setting, Settings, standsForBlock } from "./settings.ts"
import { asTheFileSays, Tolerance, unknownMessage } from "./unknown.ts"

/** Where statements come from: what may stand there, and how it is taken when it is not honoured, differs. */
export type Place = "file" | "connection" | "push"

/** Reads all statements of one place. Each that is at fault is reported and left out. */
export const readSettings = (statements: ReadonlyArray<Statement>, place: Place, report: Diagnostics): Settings => {
  const reader = new Reader(place, report)
  for (const statement of statements) reader.read(statement)
  return reader.end()
}

/** The same, statement by statement. */
export class Reader {
  readonly #place: Place
  readonly #report: Diagnostics
  readonly #settings = new Settings()
  readonly #tolerance: Tolerance

  /** `tolerance`: that of the file around a block. */
  constructor(place: Place, report: Diagnostics, tolerance = new Tolerance()) {
    this.#place = place
    this.#report = report
    this.#tolerance = tolerance
  }

  read(written: Statement): void {
    const report = this.#report
    if (report.isFull) {
      report.abandon(written.name)
      return
    }
    this.#tolerance.learn(written)
    const optional = this.#place !== "push" && isSetenvOpt(written)
    const statement = optional ? withoutSetenvOpt(written) : written
    const row = this.#lookUp(statement, optional)
    if (row === undefined) return
    const name = canonicalName(statement.name.text as DirectiveName, row)
    if (row.status.tag === "refused") {
      this.#settings.addFaulty(name)
      report.error(statement.name, `${quoteName(statement)} is refused: ${row.status.because}`, row.status.hint)
      return
    }
    if (statement.block === undefined) this.#take(name, statement, row, lineSetting(statement, name, row, report))
    else if (row.block)
      for (const setting of blockSettings(statement, name, row, report)) this.#take(name, statement, row, setting)
    else this.#take(name, statement, row, this.#contentSetting(statement.block, statement, name))
  }

  /** What the lexer could not read of the same lines. */
  unread({ errors, unread }: Lexed): void {
    for (const error of errors) this.#report.error(error, error.message, error.hint)
    for (const name of unread) if (isDirective(name)) this.#settings.addFaulty(name)
  }

  /** After the last statement. */
  end(): Settings {
    if (this.#place === "file") this.#tolerance.judge(this.#report)
    if (this.#place !== "push") reportRepetitions(this.#settings, this.#report)
    return this.#settings
  }

  /** Undefined: it is nothing to take from here, which has been or will be said. */
  #lookUp(statement: Statement, optional: boolean): Row | undefined {
    const { name } = statement
    const report = this.#report
    if (isDirective(name.text)) return rowAt(this.#place, statement, name.text, report)
    if (optional) report.info(name, `${unknownMessage(statement)}; ${asTheFileSays}`)
    else if (this.#place === "push") report.error(name, unknownMessage(statement))
    else this.#tolerance.unknown(statement, this.#settings)
    return undefined
  }

  /** Of a block whose lines are not for the table to read, or are the directives of a `<connection>`. */
  #contentSetting(block: Block, statement: Statement, name: DirectiveName): Setting {
    const { line, column } = statement.name
    if (name !== "connection")
      return {
        name,
        line,
        column: column - 1,
        values: [],
        content: { tag: "inline", block },
        inBlock: false,
        inner: undefined,
      }
    const report = this.#report
    const reader = new Reader("connection", report, this.#tolerance)
    reader.unread(lexLines(block.lines, block.firstLine, (statement) => reader.read(statement)))
    const inner = { settings: reader.end(), below: this.#settings.lastLine }
    return { name, line, column: column - 1, values: [], content: undefined, inBlock: false, inner }
  }

  /** Undefined: it is faulty, which has been said. */
  #take(name: DirectiveName, statement: Statement, { status }: Row, setting: Setting | undefined): void {
    const report = this.#report
    if (setting === undefined) this.#settings.addFaulty(name)
    else if (status.tag !== "ignored") this.#settings.add(setting)
    else if (status.loud) report.warning(statement.name, noEffect(statement, status.because))
    else if (report.takesNotes) report.info(statement.name, noEffect(statement, status.because))
  }
}

const noEffect = (statement: Statement, because: string): string =>
  `${quoteName(statement)} has no effect here: ${because}`

const isSetenvOpt = ({ name, words }: Statement): boolean =>
  name.text === "setenv" && words[0]?.text === "opt" && words.length > 1

const withoutSetenvOpt = (statement: Statement): Statement => {
  const [, name, ...words] = statement.words
  return { ...statement, name: name!, words }
}

/** The row of a directive that may stand here; anything else is reported. */
const rowAt = (
  place: Place,
  { name, block }: Statement,
  directive: DirectiveName,
  report: Diagnostics,
): Row | undefined => {
  const row = rowOf(directive)
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

/** Of a statement on one line. */
const lineSetting = (statement: Statement, name: DirectiveName, row: Row, report: Diagnostics): Setting | undefined => {
  const { words } = statement
  const { line, column } = statement.name
  const path = row.content === undefined ? undefined : words[0]
  if (row.content !== undefined && path === undefined && !row.content.optional) {
    report.error(statement.name, `${quoteName(statement)} needs a file name`, `or a block <${name}> with its content`)
    return undefined
  }
  const values = readWords(statement, row.content === undefined ? words : words.slice(1), row, report)
  if (values === undefined) return undefined
  const content = path === undefined ? undefined : ({ tag: "file", path } as const)
  return { name, line, column, inBlock: false, inner: undefined, values, content }
}

/** Of a block that has the words of the directive on each line. */
const blockSettings = (
  statement: Statement,
  name: DirectiveName,
  row: Row,
  report: Diagnostics,
): ReadonlyArray<Setting | undefined> => {
  const { lines, firstLine } = statement.block!
  const settings = lines.flatMap((text, index): ReadonlyArray<Setting | undefined> => {
    const line = firstLine + index
    const split = splitWords(text, line)
    if (Result.isFailure(split)) {
      report.error(split.failure, split.failure.message, split.failure.hint)
      return [undefined]
    }
    if (split.success.length === 0) return []
    const values = readWords(statement, split.success, row, report)
    if (values === undefined) return [undefined]
    return [{ name, line, column: 1, inBlock: true, inner: undefined, values, content: undefined }]
  })
  if (settings.length > 0) return settings
  const { line, column } = statement.name
  report.error({ line, column: column - 1 }, `the block <${name}> holds nothing`, usageOf(statement, row))
  return [undefined]
}

/** The typed values of words, or undefined after reporting what is wrong with them. */
const readWords = (
  statement: Statement,
  words: ReadonlyArray<Word>,
  row: Row,
  report: Diagnostics,
): ReadonlyArray<unknown> | undefined => {
  const { required, optional, rest }: Parameters<ReadonlyArray<unknown>> = row.takes
  if (words.length < required.length) {
    report.error(statement.name, `${quoteName(statement)} is incomplete`, usageOf(statement, row))
    return undefined
  }
  const values: Array<unknown> = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    const grammar = required[index] ?? optional[index - required.length] ?? rest
    if (grammar === undefined) {
      report.error(
        word,
        `unexpected ${quoteUnlessSecret(word, row)} after ${quoteName(statement)}`,
        hintForWord(words, index) ?? usageOf(statement, row),
      )
      return undefined
    }
    const value = grammar.read(word.text)
    if (Result.isFailure(value)) {
      const expected = `${statement.name.text}: expected ${value.failure}, not ${quoteUnlessSecret(word, row)}`
      report.error(word, expected, hintForWord(words, index) ?? (row.secret ? undefined : grammar.hint?.(word.text)))
      return undefined
    }
    values.push(value.success)
  }
  return values
}

const usageOf = ({ name }: Statement, row: Row): string => `usage: ${syntaxOf(name.text, row)}`

const reportRepetitions = (settings: Settings, report: Diagnostics): void => {
  // One alone neither repeats nor contradicts another.
  if (settings.size < 2) return
  for (const name of settings.names()) {
    const { repeats, conflicts } = rowOf(name)
    const found = settings.all(name)
    const last = found.at(-1)
    if (last === undefined) continue
    let previous: Setting | undefined
    for (const setting of repeats ? [] : found) {
      if (!report.takesNotes) break
      // `ca [inline]` and the block that it stands for are one.
      if (standsForBlock(setting)) continue
      const before = previous
      previous = setting
      if (before === undefined) continue
      const message = `"${name}" is given again and takes the place of line ${before.line}`
      if (isSame(before, setting)) report.info(setting, message)
      else report.warning(setting, message)
    }
    for (const conflict of conflicts ?? []) {
      const other = isDirective(conflict) ? settings.last(conflict) : undefined
      // A pair that names each other is reported once, at the later line.
      if (other === undefined || (other.line > last.line && rowOf(other.name).conflicts?.includes(name))) continue
      report.error(last, `"${name}" and "${conflict}" (line ${other.line}) cannot both be given`, "remove one of them")
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

const hintForWord = (words: ReadonlyArray<Word>, index: number): string | undefined => {
  const { text } = words[index]!
  if (/^[“”„‟‘’‚‛«»]|[“”„‟‘’‚‛«»]$/.test(text)) return "these are typographic quotation marks: use \" or '"
  if (/.[#;]/.test(text)) return "a comment begins with a blank before its sign"
  // A second directive on the same line is a lost line end.
  const after = words.slice(index).find((word) => word.text.length > 4 && isDirective(word.text))
  return after === undefined ? undefined : `"${after.text}" begins a line of its own`
}
