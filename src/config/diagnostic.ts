/**
 * What a person is told about a configuration file. Never holds a secret: the content of key blocks and of credentials is not
 * quoted, and everything that is quoted has passed `quote`.
 */
import * as Result from "effect/Result"
import { type Position, splitWords } from "./lexer.ts"
import { columnsOf } from "./width.ts"

export interface Diagnostic extends Position {
  readonly file: string
  /** `error`: the file cannot be used. `warning`: it can, but not as its author may think. `info`: worth knowing. */
  readonly severity: "error" | "warning" | "info"
  /** Lower case, without full stop. */
  readonly message: string
  /** What would mend it, when that is known. */
  readonly hint: string | undefined
  /** The line as it stands in the file; undefined when it may hold a secret. */
  readonly source: string | undefined
}

/** What is spoken about: a position, or the word of that number after the name that stands there, if there is such a word. */
export interface Place extends Position {
  readonly word?: number
}

/** The word of that number after the name of a directive, which is number 0. */
export const wordOf = ({ line, column }: Position, word: number): Place => ({ line, column, word })

/** A line of the file, and whether it may be shown. */
export interface SourceLine {
  readonly text: string
  readonly isOpen: boolean
}

/** `file:line:column: error: message (hint)`, on one line. */
export const formatDiagnostic = (diagnostic: Diagnostic): string => {
  const { file, line, column, severity, message, hint } = diagnostic
  return `${printable(file)}:${line}:${column}: ${severity}: ${message}${hint === undefined ? "" : ` (${hint})`}`
}

/** The same for a terminal, on several lines: the line of the file with a caret where it may be shown, and the hint. */
export const explainDiagnostic = (
  diagnostic: Diagnostic,
  { colours = false }: { readonly colours?: boolean } = {},
): string => {
  const { file, line, column, severity, message, hint, source } = diagnostic
  const paint = (style: string, text: string) => (colours ? `\u001b[${style}m${text}\u001b[0m` : text)
  const colour = severityColours[severity]
  const place = paint(bold, `${printable(file)}:${line}:${column}:`)
  const lines = [`${place} ${paint(colour, `${severity}:`)} ${message}`]
  if (source !== undefined) {
    lines.push(`${String(line).padStart(5)} | ${printable(source)}`)
    const { before, marks } = markedBelow(source, column)
    lines.push(`${" ".repeat(5)} | ${before}${paint(colour, marks)}`)
  }
  if (hint !== undefined) lines.push(`      ${paint(bold, "hint:")} ${printable(hint)}`)
  return lines.join("\n")
}

/** Below the word that begins at the column, or below the place where one is missing. */
const markedBelow = (source: string, column: number): { readonly before: string; readonly marks: string } => {
  const front = printable(source.slice(0, column - 1))
  const blank = [...front].map((character) => (character === "\t" ? "\t" : " ".repeat(columnsOf(character))))
  const beyond = Math.max(0, column - 1 - source.length)
  const word = /^("(\\.|[^"\\])*"|'[^']*'|[^\s#;]*)/.exec(source.slice(column - 1))![0]
  const width = [...printable(word)].reduce((sum, character) => sum + columnsOf(character), 0)
  return { before: blank.join("") + " ".repeat(beyond), marks: "^".padEnd(width, "~") }
}

const bold = "1"
const severityColours = { error: "1;31", warning: "1;33", info: "1;36" } as const

/** Gathers the diagnostics of one file. The same one twice is kept once. */
export class Diagnostics {
  /** Where something is said to be missing: the beginning, without showing what stands there. */
  static readonly wholeFile: Place = { line: 1, column: 1 }

  readonly #file: string
  readonly #seen = new Map<string, Omit<Diagnostic, "source"> & { readonly at: Place }>()
  #errorCount = 0
  #noteCount = 0
  #abandoned = false

  constructor(file: string) {
    this.#file = file
  }

  error(at: Place, message: string, hint?: string): void {
    if (this.isFull) this.abandon(at)
    else this.#add("error", at, message, hint)
  }

  warning(at: Place, message: string, hint?: string): void {
    this.#add("warning", at, message, hint)
  }

  info(at: Place, message: string, hint?: string): void {
    this.#add("info", at, message, hint)
  }

  get hasErrors(): boolean {
    return this.#errorCount > 0
  }

  /** More errors would help nobody, and looking for the nearest name of each costs time. */
  get isFull(): boolean {
    return this.#errorCount >= maximumErrors
  }

  /** What is wrong from here on is left out; said once. */
  abandon(at: Place): void {
    if (this.#abandoned) return
    this.#abandoned = true
    this.#add("error", at, "too many errors: the others are left out", "is this a configuration file?")
  }

  get takesNotes(): boolean {
    return this.#noteCount < maximumNotes
  }

  /** In the order of the file. `sourcesOf` gives those of the lines that stand outside of blocks of text. */
  sorted(sourcesOf?: (lines: ReadonlySet<number>) => ReadonlyMap<number, SourceLine>): ReadonlyArray<Diagnostic> {
    if (this.#seen.size === 0) return []
    const lines = new Set([...this.#seen.values()].map(({ line }) => line))
    const sources = sourcesOf?.(lines) ?? new Map<number, SourceLine>()
    return [...this.#seen.values()]
      .map(({ at, ...diagnostic }) => {
        const source = at === Diagnostics.wholeFile ? undefined : sources.get(at.line)
        return { ...diagnostic, column: columnOf(at, source), source: source?.isOpen ? source.text : undefined }
      })
      .sort((a, b) => a.line - b.line || a.column - b.column)
  }

  #add(severity: Diagnostic["severity"], at: Place, message: string, hint: string | undefined): void {
    if (severity !== "error" && ++this.#noteCount > maximumNotes) return
    const { line, column } = at
    // Names of files, subjects of certificates and what a port says come from outside as well.
    message = printable(message)
    const key = `${line}:${column}:${severity}:${message}`
    if (this.#seen.has(key)) return
    if (severity === "error") this.#errorCount++
    else if (this.#noteCount === maximumNotes)
      message = "there are more notes than would help anybody: the others are left out"
    this.#seen.set(key, { file: this.#file, line, column, severity, message, hint, at })
  }
}

/** Text from outside inside a message: in double quotes, shortened, and without characters that a terminal would act on. */
export const quote = (text: string): string => `"${printable(text.length > 60 ? `${text.slice(0, 60)}...` : text)}"`

const columnOf = ({ line, column, word }: Place, source: SourceLine | undefined): number => {
  if (word === undefined || source === undefined) return column
  const words = Result.getOrElse(splitWords(source.text, line), () => [])
  // A name may have dashes before it.
  const name = words.findLastIndex((other) => other.column <= column)
  return words[name + word]?.column ?? column
}

const printable = (text: string): string => text.replace(/[^\P{C}\t]/gu, "\ufffd")

const maximumErrors = 200
const maximumNotes = 1000
