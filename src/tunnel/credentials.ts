/**
 * User name and password, read at the moment they are sent, so that a rotated Secret is seen at the next handshake and
 * nothing is kept longer than needed.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Context, Redacted, Result } from "effect"
import type { Profile } from "../config/index.ts"
import { Login, type UserCredentials } from "../protocol/index.ts"
import type { ProxyUser } from "./proxy.ts"

/** Where credentials come from when the file does not hold them. */
export interface CredentialPlaces {
  /** Two lines, as `auth-user-pass FILE` has them. */
  readonly file: string | undefined
  /** A mounted Secret with the keys `username` and `password`, `otp` for challenges, `key-passphrase` for an encrypted key. */
  readonly directory: string
}

/** Every file whose change means another login. Not the one-time code: it changes all the time, and is read when it is wanted. */
export const credentialFiles = (places: CredentialPlaces): ReadonlyArray<string> => [
  ...(places.file === undefined ? [] : [places.file]),
  ...["username", "password", "key-passphrase", "proxy-username", "proxy-password"].map((name) =>
    join(places.directory, name),
  ),
]

export class Credentials extends Context.Service<
  Credentials,
  {
    /** One for each profile: it outlives connections. */
    readonly login: (profile: Profile) => Login
    readonly keyPassphrase: () => Redacted.Redacted<string> | undefined
    /** For a proxy that wants a login which the file does not hold. A failure is a sentence that says what is missing where. */
    readonly proxyUser: () => Result.Result<ProxyUser, string>
  }
>()("culvert/tunnel/Credentials") {}

export const credentialsFrom = (places: CredentialPlaces) => {
  const logins = new WeakMap<Profile, Login>()
  return Credentials.of({
    login: (profile) => {
      const login = logins.get(profile) ?? loginOf(profile, places)
      logins.set(profile, login)
      return login
    },
    keyPassphrase: () => {
      const text = readText(join(places.directory, "key-passphrase"))
      return Result.isSuccess(text) ? Redacted.make(text.success) : undefined
    },
    proxyUser: () =>
      Result.mapBoth(
        Result.all([
          readText(join(places.directory, "proxy-username")),
          readText(join(places.directory, "proxy-password")),
        ]),
        {
          onSuccess: ([username, password]) => ({ username, password: Redacted.make(password) }),
          onFailure: () =>
            `it wants a user name and a password, and ${places.directory} has no proxy-username and proxy-password that can be read`,
        },
      ),
  })
}

const loginOf = (profile: Profile, places: CredentialPlaces): Login =>
  new Login({
    read: () => readCredentials(profile, places),
    staticChallenge: profile.mode === "tls" ? profile.credentials?.challenge?.form : undefined,
  })

/** Undefined: the profile wants none. A failure is a sentence that says what is missing where. */
const readCredentials = (
  profile: Profile,
  places: CredentialPlaces,
): Result.Result<UserCredentials | undefined, string> =>
  Result.map(readUserPassword(profile, places), (own) => {
    if (own === undefined) return undefined
    const code = readText(join(places.directory, "otp"))
    return { ...own, code: Result.isSuccess(code) ? Redacted.make(code.success) : undefined }
  })

type UserPassword = Omit<UserCredentials, "code">

const readUserPassword = (
  profile: Profile,
  places: CredentialPlaces,
): Result.Result<UserPassword | undefined, string> => {
  if (places.file !== undefined) return fromFile(places.file, places.directory)
  const credentials = profile.mode === "tls" ? profile.credentials : undefined
  switch (credentials?._tag) {
    case undefined:
      return Result.succeed(undefined)
    case "Given":
      return Result.succeed({ username: credentials.username, password: credentials.password })
    case "File":
      return fromFile(credentials.path, places.directory)
    case "Ask":
      return fromDirectory(places.directory, credentials.username)
  }
}

/** User name and password on two lines; the password may be in the directory instead. */
const fromFile = (file: string, directory: string): Result.Result<UserPassword, string> =>
  Result.flatMap(readText(file), (text) => {
    const [username = "", password = ""] = text.split(/\r?\n/)
    if (username === "") return Result.fail(`${file} must hold the user name in its first line`)
    return password === ""
      ? fromDirectory(directory, username)
      : Result.succeed({ username, password: Redacted.make(password) })
  })

const fromDirectory = (directory: string, known: string | undefined): Result.Result<UserPassword, string> =>
  Result.flatMap(known === undefined ? readText(join(directory, "username")) : Result.succeed(known), (username) =>
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
