/** The token of whoever may ask for a change: where it is, and what is in it. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Data, Redacted, Result, Runtime } from "effect"
import type { Settings } from "./settings.ts"

export class ControlTokenError extends Data.TaggedError("ControlTokenError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 64
}

/** What the settings name, or the credentials' own `control-token`; undefined: there is no control. */
export const tokenFileOf = (settings: Pick<Settings, "controlTokenFile" | "credentials">): string | undefined => {
  const beside = join(settings.credentials, "control-token")
  return settings.controlTokenFile ?? (existsSync(beside) ? beside : undefined)
}

/** The file is a secret like others: what is in it is in no message. */
export const readToken = (file: string): Result.Result<Redacted.Redacted<string>, ControlTokenError> => {
  const refuse = (why: string) => Result.fail(new ControlTokenError({ message: `control token file ${file}: ${why}` }))
  try {
    const token = readFileSync(file, "utf8").trim()
    return token.length < shortest
      ? refuse(`the token has less than ${shortest} characters; make one with: openssl rand -hex 32`)
      : Result.succeed(Redacted.make(token))
  } catch (error) {
    return refuse(`cannot be read: ${(error as NodeJS.ErrnoException).code ?? "unknown error"}`)
  }
}

const shortest = 16
