/**
 * User name and password, read at the moment they are sent, so that a rotated Secret is seen at the next handshake and
 * nothing is kept longer than needed.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Context, Redacted, Result } from "effect"
import type { Profile } from "../config/index.ts"

export interface UserPassword {
  readonly username: string
  readonly password: Redacted.Redacted<string>
}

/** Where credentials come from when the file does not hold them. */
export interface CredentialPlaces {
  /** Two lines, as `auth-user-pass FILE` has them. */
  readonly file: string | undefined
  /** A mounted Secret with the keys `username` and `password`, and `key-passphrase` for an encrypted key. */
  readonly directory: string
}

export class Credentials extends Context.Service<
  Credentials,
  {
    /** Undefined: the profile wants none. A failure is a sentence that says what is missing where. */
    readonly read: (profile: Profile) => Result.Result<UserPassword | undefined, string>
    readonly keyPassphrase: () => Redacted.Redacted<string> | undefined
  }
>()("culvert/tunnel/Credentials") {}

export const credentialsFrom = (places: CredentialPlaces) =>
  Credentials.of({
    read: (profile) => {
      if (places.file !== undefined) return fromTwoLines(places.file)
      switch (profile.credentials?._tag) {
        case undefined:
          return Result.succeed(undefined)
        case "Given":
          return Result.succeed({ username: profile.credentials.username, password: profile.credentials.password })
        case "Ask":
          return fromDirectory(places.directory)
      }
    },
    keyPassphrase: () => {
      const text = readText(join(places.directory, "key-passphrase"))
      return Result.isSuccess(text) ? Redacted.make(text.success) : undefined
    },
  })

const fromTwoLines = (file: string): Result.Result<UserPassword, string> =>
  Result.flatMap(readText(file), (text) => {
    const [username, password] = text.split(/\r?\n/)
    return username === undefined || username === "" || password === undefined
      ? Result.fail(`${file} must hold the user name in its first line and the password in its second`)
      : Result.succeed({ username, password: Redacted.make(password) })
  })

const fromDirectory = (directory: string): Result.Result<UserPassword, string> =>
  Result.flatMap(readText(join(directory, "username")), (username) =>
    Result.map(readText(join(directory, "password")), (password) => ({ username, password: Redacted.make(password) })),
  )

/** A mounted Secret often ends in a newline that is not part of it. */
const readText = (path: string): Result.Result<string, string> => {
  try {
    return Result.succeed(readFileSync(path, "utf8").replace(/\r?\n$/, ""))
  } catch (error) {
    const code = (error as { readonly code?: string }).code ?? "unreadable"
    return Result.fail(`the server wants a user name and a password, but reading ${path} failed: ${code}`)
  }
}
