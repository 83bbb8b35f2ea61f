/** Text of a configuration file to a `Profile`, or to all that is wrong with it. Reads no file itself: the caller does. */
import * as Result from "effect/Result"
import { buildProfile } from "./build.ts"
import type { FileNeed, ReadFile } from "./content.ts"
import { type Diagnostic, Diagnostics, type SourceLine } from "./diagnostic.ts"
import { isDirective, rowOf } from "./directives.ts"
import type { Inspection } from "./inspection.ts"
import { lex, type Position } from "./lexer.ts"
import type { Profile } from "./profile.ts"
import { Reader } from "./reader.ts"
import { isMisspelling } from "./unknown.ts"

export interface Parsed {
  readonly profile: Profile
  /** Warnings and infos, in the order of the file. */
  readonly notes: ReadonlyArray<Diagnostic>
}

export interface ParseOptions {
  /** The name that diagnostics carry. */
  readonly file: string
  /** Called for each file that the configuration names, in the order in which they are needed. */
  readonly read: ReadFile
  /** With it certificates and keys are decoded, matched and compared with the clock; without it only their form is checked. */
  readonly inspection?: Inspection
}

/** A failure holds every diagnostic of the file (warnings and infos too), at least one of them an error. */
export const parse = (text: string, options: ParseOptions): Result.Result<Parsed, ReadonlyArray<Diagnostic>> => {
  const report = new Diagnostics(options.file)
  const unreadable = whyUnreadable(text)
  if (unreadable !== undefined) {
    const [at, message, hint] = unreadable
    report.error(at, message, hint)
    return Result.fail(report.sorted())
  }
  const reader = new Reader("file", report)
  const lexed = lex(text, (statement) => reader.read(statement))
  reader.unread(lexed)
  const settings = reader.end()
  const complete = !lexed.incomplete && !report.isFull
  const profile = buildProfile(settings, options, complete, report)
  const diagnostics = report.sorted((lines) => sourcesOf(text, lines))
  return profile === undefined || report.hasErrors
    ? Result.fail(diagnostics)
    : Result.succeed({ profile, notes: diagnostics })
}

/** The files that `parse` would ask for, for callers that read them beforehand. */
export const needs = (text: string, file: string): ReadonlyArray<FileNeed> => {
  const found: Array<FileNeed> = []
  const read: ReadFile = (need) => {
    found.push(need)
    return Result.fail("not read")
  }
  parse(text, { file, read })
  return found
}

/** A file of which nothing more can be said. */
const whyUnreadable = (text: string): readonly [at: Position, message: string, hint: string] | undefined => {
  const binary = text.indexOf("\0")
  // As Windows' editors write it: each other byte of plain text is 0.
  if (binary >= 0 && /^\ufffd*([^\0]\0|\0[^\0]){4}/.test(text))
    return [Diagnostics.wholeFile, "the file is UTF-16", "save it as UTF-8"]
  if (binary >= 0)
    return [positionOf(text, binary), "a NUL character: this is not a text file", "is this a configuration file?"]
  return /\S/.test(text)
    ? undefined
    : [Diagnostics.wholeFile, "the file is empty", "put a client's configuration into it"]
}

const positionOf = (text: string, index: number): Position => {
  const before = text.slice(0, index)
  return { line: before.split("\n").length, column: index - before.lastIndexOf("\n") }
}

/** `lines` but for those in blocks. Those may be shown that begin with a directive whose words are no secrets, or nearly. */
const sourcesOf = (text: string, lines: ReadonlySet<number>): ReadonlyMap<number, SourceLine> => {
  const sources = new Map<number, SourceLine>()
  let closing: string | undefined
  const last = Math.max(...lines)
  for (const [index, line] of text.split("\n", last).entries()) {
    if (closing === undefined && !lines.has(index + 1) && !line.includes("<")) continue
    const source = line.replace(/^\ufeff/, "").replace(/\r$/, "")
    const shown = source.trim()
    if (closing !== undefined) {
      if (shown.startsWith(closing)) closing = undefined
      continue
    }
    const tag = /^<([a-z0-9-]+)>/.exec(shown)?.[1]
    if (tag !== undefined && tag !== "connection") closing = `</${tag}>`
    if (!lines.has(index + 1)) continue
    const name = shown.split(/\s/, 1)[0]!.replace(/^--/, "")
    const isOpen = tag !== undefined || (isDirective(name) ? !rowOf(name).secret : isMisspelling(name))
    sources.set(index + 1, { text: source.slice(0, 255), isOpen })
  }
  return sources
}
