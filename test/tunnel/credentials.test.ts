/** Where user name and password come from, and that they are read when they are wanted. */
import { afterAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Redacted, Result } from "effect"
import { loadProfile } from "../../src/cli/profile.ts"
import type { Profile } from "../../src/config/index.ts"
import { credentialFiles, credentialsFrom } from "../../src/tunnel/credentials.ts"

const directory = mkdtempSync(join(tmpdir(), "culvert-credentials-"))
afterAll(() => rmSync(directory, { recursive: true }))
const write = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text)
  return join(directory, name)
}

const places = { file: undefined, directory }
const loaded = (...lines: ReadonlyArray<string>): Profile => {
  const file = write(
    "client.ovpn",
    ["client", "remote vpn.example", `peer-fingerprint ${"00:".repeat(31)}00`, ...lines, ""].join("\n"),
  )
  return Effect.runSync(loadProfile(file)).profile
}
const sent = (profile: Profile): ReadonlyArray<string> | string => {
  const next = credentialsFrom(places).login(profile).next()
  if (Result.isFailure(next)) return next.failure
  return next.success === undefined ? [] : [next.success.username, Redacted.value(next.success.password)]
}

describe("auth-nocache", () => {
  test("reads the file of auth-user-pass at each login, and the profile holds nothing of it", () => {
    write("login", "anna\nfirst\n")
    const profile = loaded("auth-user-pass login", "auth-nocache")
    const { login } = credentialsFrom(places)
    const password = () => Redacted.value(Result.getOrThrow(login(profile).next())!.password)
    expect(password()).toBe("first")
    write("login", "anna\nsecond\n")
    expect(password()).toBe("second")
    expect(profile.mode === "tls" && profile.credentials).toEqual({
      _tag: "File",
      path: join(directory, "login"),
      challenge: undefined,
    })
  })

  test("without it the file is read once, with the configuration", () => {
    write("login", "anna\nfirst\n")
    const profile = loaded("auth-user-pass login")
    rmSync(join(directory, "login"))
    expect(sent(profile)).toEqual(["anna", "first"])
  })

  test("a file that has gone since says what is missing", () => {
    write("login", "anna\nfirst\n")
    const profile = loaded("auth-user-pass login", "auth-nocache")
    rmSync(join(directory, "login"))
    expect(sent(profile)).toBe(
      `the server wants a user name and a password, but reading ${directory}/login failed: ENOENT`,
    )
  })

  test("takes the password from the directory where the file has none", () => {
    write("login", "anna\n")
    write("password", "from the Secret\n")
    expect(sent(loaded("auth-user-pass login", "auth-nocache"))).toEqual(["anna", "from the Secret"])
  })

  test("leaves a block in the file, which holds the password anyway", () => {
    expect(sent(loaded("<auth-user-pass>", "anna", "inline", "</auth-user-pass>", "auth-nocache"))).toEqual([
      "anna",
      "inline",
    ])
  })
})

test("a change of the one-time code is no reason to connect anew", () => {
  expect(credentialFiles(places).map((file) => file.slice(directory.length + 1))).toEqual([
    "username",
    "password",
    "key-passphrase",
    "proxy-username",
    "proxy-password",
  ])
})

test("static-challenge with concat sends the code behind the password", () => {
  write("username", "anna")
  write("password", "s3cret")
  write("otp", "123456\n")
  expect(sent(loaded("auth-user-pass", 'static-challenge "Code" 0 concat'))).toEqual(["anna", "s3cret123456"])
})

test("crl-verify DIRECTORY is found from wherever the program runs", () => {
  mkdirSync(join(directory, "revoked"))
  const { trust } = loaded("auth-user-pass", "crl-verify revoked dir") as Extract<Profile, { mode: "tls" }>
  expect(trust.revoked).toEqual({ _tag: "Directory", path: join(directory, "revoked") })
})
