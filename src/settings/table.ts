/**
 * Settings of a program: one table makes the flags, the environment variables, the validation and the reference page. A flag
 * wins over `CULVERT_X`, that over `CULVERT_X_FILE`, that over the default.
 */
import { readFileSync } from "node:fs"
import { Data, Result, Runtime } from "effect"

export class SettingsError extends Data.TaggedError("SettingsError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 64
}

export interface Row<A, D extends string | undefined = string | undefined> {
  readonly flag: string
  readonly variable: string
  readonly default: D
  readonly documentation: string
  readonly parse: (text: string) => Result.Result<A, string>
}

export type Table = Readonly<Record<string, Row<unknown>>>

type Parsed<R> = R extends Row<infer A, string | undefined> ? A : never

/** What a table's settings are once read; a row without a default may be undefined. */
export type SettingsOf<T extends Table> = {
  readonly [K in keyof T]: T[K]["default"] extends string ? Parsed<T[K]> : Parsed<T[K]> | undefined
}

export const row = <A, D extends string | undefined>(
  flag: string,
  fallback: D,
  documentation: string,
  parse: (text: string) => Result.Result<A, string>,
): Row<A, D> => ({
  flag,
  variable: `CULVERT_${flag.toUpperCase().replaceAll("-", "_")}`,
  default: fallback,
  documentation,
  parse,
})

/** All settings, or one error that names every wrong one. */
export const readTable = <T extends Table>(
  table: T,
  flags: { readonly [K in keyof T]?: string | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): Result.Result<SettingsOf<T>, SettingsError> => {
  const problems: Array<string> = []
  const values: Record<string, unknown> = {}
  for (const [name, row] of Object.entries(table)) {
    const given = source(row, flags[name], environment)
    if (given === undefined) continue
    const parsed = Result.flatMap(given.value, row.parse)
    if (Result.isSuccess(parsed)) values[name] = parsed.success
    else problems.push(`${given.from}: ${parsed.failure}`)
  }
  return problems.length > 0
    ? Result.fail(new SettingsError({ message: problems.join("; ") }))
    : Result.succeed(values as unknown as SettingsOf<T>)
}

const source = (
  row: Row<unknown>,
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
) => {
  if (flag !== undefined) return { from: `--${row.flag}`, value: Result.succeed(flag) }
  const variable = environment[row.variable]
  if (variable !== undefined && variable !== "") return { from: row.variable, value: Result.succeed(variable) }
  const file = environment[`${row.variable}_FILE`]
  if (file !== undefined && file !== "") return { from: `${row.variable}_FILE=${file}`, value: readFirst(file) }
  return row.default === undefined ? undefined : { from: "default", value: Result.succeed(row.default) }
}

const readFirst = (file: string): Result.Result<string, string> => {
  try {
    return Result.succeed(readFileSync(file, "utf8").trim())
  } catch (error) {
    return Result.fail(`cannot be read: ${(error as { readonly code?: string }).code ?? "unknown error"}`)
  }
}
