/** Configurations that providers publish; they are not part of the project, so a fresh clone has none. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import * as Result from "effect/Result"
import type { ReadFile } from "../../src/config/index.ts"
import { certificate, privateKey, staticKey } from "./fixtures.ts"

export const corpus = join(import.meta.dir, "../../../shared/corpus")

/** Paths below `corpus`. */
export const profiles = existsSync(corpus)
  ? readdirSync(corpus, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ovpn"))
      .sort()
  : []

/** Side files that are not published, such as credentials. */
export const standIns: Readonly<Record<string, string>> = {
  "auth-user-pass": "user\npassword\n",
  ca: certificate,
  cert: certificate,
  key: privateKey,
  "tls-auth": staticKey,
}

/** Reads what lies beside a configuration, else a stand-in. */
export const readBeside =
  (file: string): ReadFile =>
  (need) => {
    const beside = join(dirname(file), basename(need.path))
    if (existsSync(beside)) return Result.succeed(readFileSync(beside))
    const standIn = standIns[need.directive]
    return standIn === undefined ? Result.fail("no such file") : Result.succeed(new TextEncoder().encode(standIn))
  }
