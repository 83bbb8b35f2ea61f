/** `culvert check FILE...`: what a configuration means, or what is wrong with it. */
import { Console, Data, Effect, Result, Runtime } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import {
  type Diagnostic,
  explainDiagnostic,
  formatDiagnostic,
  type Profile,
  print,
  profileJson,
  readsBack,
} from "../config/index.ts"
import { loadProfile, loadStandardInput } from "./profile.ts"

/** Some file is invalid; the diagnostics were printed. */
export class CheckFailed extends Data.TaggedError("CheckFailed")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

export const check = Command.make(
  "check",
  {
    files: Argument.String("FILE").pipe(
      Argument.withDescription("OpenVPN configuration file, or - for standard input"),
      Argument.atLeast(1),
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print one JSON document: for each file its profile and its diagnostics"),
      Flag.withDefault(false),
    ),
    quiet: Flag.Boolean("quiet").pipe(Flag.withDescription("Print diagnostics only"), Flag.withDefault(false)),
    showSecrets: Flag.Boolean("show-secrets").pipe(
      Flag.withDescription("Print keys and passwords too, so that the output is a usable configuration"),
      Flag.withDefault(false),
    ),
  },
  Effect.fnUntraced(function* ({ files, json, quiet, showSecrets }) {
    const checked: ReadonlyArray<Checked> = yield* Effect.forEach(files, checkFile)
    if (json) yield* Console.log(JSON.stringify(checked.map(asJson({ quiet, showSecrets })), null, 2))
    else {
      for (const { file, diagnostics, profile } of checked) {
        for (const diagnostic of diagnostics) process.stderr.write(`${written(diagnostic)}\n`)
        if (profile === undefined || quiet) continue
        const title = files.length === 1 ? "" : `# ${file.replace(/\p{C}/gu, "\ufffd")}\n`
        yield* Console.log(title + print(profile, { secrets: showSecrets }))
      }
    }
    const invalid = checked.filter(({ profile }) => profile === undefined).length
    if (invalid > 0)
      return yield* new CheckFailed({
        message: files.length === 1 ? "the file is not valid" : `${invalid} of ${files.length} files are not valid`,
      })
  }),
).pipe(Command.withDescription("Check configuration files and print what they mean"))

interface Checked {
  readonly file: string
  readonly diagnostics: ReadonlyArray<Diagnostic>
  /** Undefined when the file is not valid. */
  readonly profile: Profile | undefined
}

const checkFile = Effect.fnUntraced(function* (file: string) {
  const loaded = yield* Effect.result(file === "-" ? loadStandardInput : loadProfile(file))
  if (Result.isFailure(loaded)) return { file, diagnostics: loaded.failure.diagnostics, profile: undefined }
  const { profile, notes } = loaded.success
  if (!readsBack(profile))
    return yield* Effect.die(new Error(`${file}: the canonical form does not read back the same`))
  return { file, diagnostics: notes, profile }
})

/** `quiet` leaves the profile out. */
const asJson =
  ({ quiet, showSecrets }: { readonly quiet: boolean; readonly showSecrets: boolean }) =>
  ({ file, diagnostics, profile }: Checked) => ({
    file,
    valid: profile !== undefined,
    diagnostics: diagnostics.map(({ file: _, ...diagnostic }) => diagnostic),
    ...(profile === undefined || quiet ? {} : { profile: profileJson(profile, { secrets: showSecrets }) }),
  })

const written = (diagnostic: Diagnostic): string =>
  process.stderr.isTTY
    ? explainDiagnostic(diagnostic, { colours: !process.env.NO_COLOR })
    : formatDiagnostic(diagnostic)
