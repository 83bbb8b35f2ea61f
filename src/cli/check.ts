/** `culvert check FILE...`: what a configuration means, or what is wrong with it. */
import { Console, Data, Effect, Result, Runtime } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { formatDiagnostic, print } from "../config/index.ts"
import { loadProfile } from "./profile.ts"

/** Some file is invalid; the diagnostics were printed. */
export class CheckFailed extends Data.TaggedError("CheckFailed")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

export const check = Command.make(
  "check",
  {
    files: Argument.String("FILE").pipe(Argument.withDescription("OpenVPN configuration file"), Argument.atLeast(1)),
    quiet: Flag.Boolean("quiet").pipe(Flag.withDescription("Print diagnostics only"), Flag.withDefault(false)),
    showSecrets: Flag.Boolean("show-secrets").pipe(
      Flag.withDescription("Print keys and passwords too, so that the output is a usable configuration"),
      Flag.withDefault(false),
    ),
  },
  Effect.fnUntraced(function* ({ files, quiet, showSecrets }) {
    let invalid = 0
    for (const file of files) {
      const loaded = yield* Effect.result(loadProfile(file))
      if (Result.isFailure(loaded)) {
        invalid++
        for (const diagnostic of loaded.failure.diagnostics) yield* Console.error(diagnostic)
        continue
      }
      for (const note of loaded.success.notes) yield* Console.error(formatDiagnostic(note))
      if (!quiet) yield* Console.log(print(loaded.success.profile, { secrets: showSecrets }))
    }
    if (invalid > 0) return yield* new CheckFailed({ message: `${invalid} of ${files.length} files are not valid` })
  }),
).pipe(Command.withDescription("Check configuration files and print what they mean"))
