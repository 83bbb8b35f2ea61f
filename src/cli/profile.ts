/** Loads a configuration file with the files it names. The parser is pure; this is where files are read. */
import { readFileSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { Data, Effect, Result, Runtime } from "effect"
import { type Diagnostic, type FileNeed, formatDiagnostic, type Profile, parse } from "../config/index.ts"

/** The file is not a valid client configuration. `diagnostics` has every problem of it, formatted. */
export class InvalidConfiguration extends Data.TaggedError("InvalidConfiguration")<{
  readonly file: string
  readonly diagnostics: ReadonlyArray<string>
}> {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    return `${this.file} is not a valid configuration:\n${this.diagnostics.join("\n")}`
  }
}

export interface Loaded {
  readonly profile: Profile
  readonly notes: ReadonlyArray<Diagnostic>
}

export const loadProfile = (file: string): Effect.Effect<Loaded, InvalidConfiguration> =>
  Effect.suspend(() => {
    const text = readRegular(file, maximumConfiguration)
    if (Result.isFailure(text)) {
      return Effect.fail(
        new InvalidConfiguration({
          file,
          diagnostics: [`${file}:1:1: error: ${text.failure}; name the file with --config or CULVERT_CONFIG`],
        }),
      )
    }
    const read = (need: FileNeed) => readRegular(resolve(dirname(file), need.path), need.maximumBytes)
    return Effect.fromResult(
      Result.mapError(
        parse(new TextDecoder().decode(text.success), { file, read }),
        (diagnostics) => new InvalidConfiguration({ file, diagnostics: diagnostics.map(formatDiagnostic) }),
      ),
    )
  })

const readRegular = (path: string, maximum: number): Result.Result<Uint8Array, string> => {
  try {
    const facts = statSync(path)
    if (!facts.isFile()) return Result.fail(`${path} is not a regular file`)
    if (facts.size > maximum) return Result.fail(`${path} has ${facts.size} bytes, more than ${maximum}`)
    return Result.succeed(readFileSync(path))
  } catch (error) {
    const code = (error as { readonly code?: string }).code
    return Result.fail(`${path} cannot be read: ${reasons[code ?? ""] ?? code ?? String(error)}`)
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  ENOTDIR: "a part of the path is no directory",
}

/** Generous for a file with several inlined certificates. */
const maximumConfiguration = 10 * 1024 * 1024
