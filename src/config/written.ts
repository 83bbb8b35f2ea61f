/** Directives as text: the words of a line by the grammars of its row, what holds anyway left out, secrets on request. */
import { type DirectiveName, directives, rowOf, type ValuesOf } from "./directives.ts"
import { quoteWord } from "./lexer.ts"

/** One line, its words written by their grammars. */
export const line = <N extends DirectiveName>(name: N, ...values: ValuesOf<N>): ReadonlyArray<string> => [
  [name, ...wordsOf(name, values)].join(" "),
]

/** A line of a directive that names a file. */
export const fileLine = <N extends DirectiveName>(
  name: N,
  path: string,
  ...values: ValuesOf<N>
): ReadonlyArray<string> => [[name, quoteWord(path), ...wordsOf(name, values)].join(" ")]

/** The same, unless it says what holds anyway. */
export const setting = <N extends DirectiveName>(name: N, ...values: ValuesOf<N>): ReadonlyArray<string> => {
  const row = directives[name]
  return "default" in row && JSON.stringify(row.default) === JSON.stringify(values) ? [] : line(name, ...values)
}

export const flag = (name: DirectiveName, on: boolean): ReadonlyArray<string> => (on ? [name] : [])

export const block = (name: DirectiveName, content: ReadonlyArray<string>): ReadonlyArray<string> => [
  `<${name}>`,
  ...content,
  `</${name}>`,
]

export const secretBlock = (
  name: DirectiveName,
  content: ReadonlyArray<string>,
  shown: boolean,
): ReadonlyArray<string> => (shown ? block(name, content) : [`# <${name}> is not shown`])

const wordsOf = (name: DirectiveName, values: ReadonlyArray<unknown>): ReadonlyArray<string> => {
  const { required, optional, rest } = rowOf(name).takes
  const grammars = [...required, ...optional]
  return values.map((value, index) => quoteWord((grammars[index] ?? rest!).write(value)))
}
