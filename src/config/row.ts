/**
 * The shape of one row of the directive table, and the words in which rows are written. `directives.ts` holds the rows; the
 * reader, the printer, the push reader, the diagnostics and the reference page all go by them.
 */
import * as Result from "effect/Result"
import type { Grammar } from "./values.ts"

export interface Row<A extends ReadonlyArray<unknown> = ReadonlyArray<unknown>> {
  readonly takes: Parameters<A>
  readonly status: Status
  /** One sentence for the reference page. */
  readonly doc: string
  /** What holds when the directive is absent; such a row is a `DefaultedRow`. */
  readonly default?: A
  /** The same in words, where it depends on something else. */
  readonly otherwise?: string
  /** Every occurrence counts. Without it the last one wins. */
  readonly repeats?: true
  /** May stand in a `<connection>` block. */
  readonly connection?: true
  /** The first word names a file, whose content may stand in a `<name>` block instead. */
  readonly content?: { readonly maximumBytes: number; readonly optional?: true }
  /** May be given as a block `<name>` with one set of words on each line. */
  readonly block?: true
  /** May come from a server. `route-nopull` drops the classes "route" and "dns". */
  readonly push?: "route" | "dns" | "other"
  /** May be changed by `PUSH_UPDATE`. */
  readonly updatable?: true
  /** Its words may be secrets: they are not quoted in messages. */
  readonly secret?: true
  /** Must not stand in a file. */
  readonly pushOnly?: true
  /** Directives that cannot be true at the same time as this one. */
  readonly conflicts?: ReadonlyArray<string>
  /** The modern name of the same directive. */
  readonly aliasOf?: string
}

export type DefaultedRow<A extends ReadonlyArray<unknown>> = Row<A> & { readonly default: A }

/** What a directive comes to in a file. A server's push of a directive that is not honoured is skipped with a note. */
export type Status =
  | { readonly tag: "honoured" }
  /** Accepted and without effect here. `loud`: what is lost may matter to the author. */
  | { readonly tag: "ignored"; readonly because: string; readonly loud: boolean }
  | { readonly tag: "refused"; readonly because: string; readonly hint: string | undefined }

/** The words after the name (and after the file of a row with `content`). */
export interface Parameters<A extends ReadonlyArray<unknown>> {
  readonly required: ReadonlyArray<Grammar<unknown>>
  readonly optional: ReadonlyArray<Grammar<unknown>>
  /** Any number of further words of one kind. */
  readonly rest: Grammar<unknown> | undefined
  /** Never present: carries the type of the values. */
  readonly values?: A
}

type Value<G> = G extends Grammar<infer A> ? A : never
type Values<G extends ReadonlyArray<Grammar<unknown>>> = { -readonly [K in keyof G]: Value<G[K]> }

export const takes = <
  const R extends ReadonlyArray<Grammar<unknown>>,
  const O extends ReadonlyArray<Grammar<unknown>> = readonly [],
>(
  required: R,
  optional?: O,
): Parameters<[...Values<R>, ...Partial<Values<O>>]> => ({ required, optional: optional ?? [], rest: undefined })

export const takesMany = <const R extends ReadonlyArray<Grammar<unknown>>, G>(
  required: R,
  rest: Grammar<G>,
): Parameters<[...Values<R>, ...Array<G>]> => ({ required, optional: [], rest })

export const flag = takes([])

/** Words that nothing is done with, as a manual writes them: `name [value]`, `[word...]`. */
export const usage = (syntax: string): Parameters<ReadonlyArray<string>> => {
  const words = syntax.split(" ").map((text) => ({ ...word, syntax: text.replace(/[[\].]/g, ""), text }))
  return {
    required: words.filter(({ text }) => !text.startsWith("[")),
    optional: words.filter(({ text }) => text.startsWith("[") && !text.endsWith("...]")),
    rest: words.find(({ text }) => text.endsWith("...]")),
  }
}

type Spec<A extends ReadonlyArray<unknown>> = Omit<Row<A>, "status">

export function honoured<A extends ReadonlyArray<unknown>>(spec: Spec<A> & { readonly default: A }): DefaultedRow<A>
export function honoured<A extends ReadonlyArray<unknown>>(spec: Spec<A>): Row<A>
export function honoured<A extends ReadonlyArray<unknown>>(spec: Spec<A>): Row<A> {
  return { ...spec, status: { tag: "honoured" } }
}

/** What a row says besides its status and its sentence. */
export type Rest<A extends ReadonlyArray<unknown> = ReadonlyArray<string>> = Partial<Spec<A>>

/** Accepted without effect; said as an info. `because` completes "has no effect here: ...". */
export const ignored = <A extends ReadonlyArray<unknown> = ReadonlyArray<string>>(
  because: string,
  doc: string,
  rest: Rest<A> = {},
): Row<A> => ({
  takes: flag as Parameters<ReadonlyArray<unknown>> as Parameters<A>,
  ...rest,
  doc,
  status: { tag: "ignored", because, loud: false },
})

/** Accepted without effect; said as a warning, since the author may count on it. */
export const ignoredLoudly = <A extends ReadonlyArray<unknown> = ReadonlyArray<string>>(
  because: string,
  doc: string,
  rest: Rest<A> = {},
): Row<A> => ({ ...ignored(because, doc, rest), status: { tag: "ignored", because, loud: true } })

/** `because` completes "the directive is refused: ...". */
export const refused = <A extends ReadonlyArray<unknown> = ReadonlyArray<string>>(
  because: string,
  doc: string,
  hint?: string,
  rest: Rest<A> = {},
): Row<A> => ({ takes: anything as Parameters<A>, ...rest, doc, status: { tag: "refused", because, hint } })

/** `name word word`, as the reference page and the diagnostics show it. */
export const syntaxOf = (name: string, row: Row): string => {
  const words = [
    ...(row.content === undefined ? [] : [row.content.optional ? "[file]" : "file"]),
    ...row.takes.required.map((grammar) => grammar.syntax),
    ...row.takes.optional.map((grammar) => `[${grammar.syntax}]`),
    ...(row.takes.rest === undefined ? [] : [`[${row.takes.rest.syntax}]...`]),
  ]
  return [name, ...words].join(" ")
}

/** Any word, even an empty one. */
export const word: Grammar<string> = {
  syntax: "word",
  read: Result.succeed,
  write: (value) => value,
}

const anything: Parameters<ReadonlyArray<unknown>> = { required: [], optional: [], rest: word }
