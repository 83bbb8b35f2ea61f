/** The content of directives that name a file or carry a block: read, checked, and reported at the place it came from. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type Diagnostics, quote } from "./diagnostic.ts"
import { rowOf } from "./directives.ts"
import type { Position } from "./lexer.ts"
import { type Flaw, readCertificates, readPrivateKey } from "./pem.ts"
import { type Setting, type Settings, standsForBlock } from "./settings.ts"
import { readStaticKey } from "./static-key.ts"

/** A file that a configuration names. */
export interface FileNeed extends Position {
  /** As written, after the directory of `cd` when it is relative. Still relative to the configuration file otherwise. */
  readonly path: string
  readonly directive: string
  /** More than this is refused. */
  readonly maximumBytes: number
}

/** Gives the bytes of a file, or why it cannot be read ("no such file"). */
export type ReadFile = (need: FileNeed) => Result.Result<Uint8Array, string>

export class Contents {
  readonly #read: ReadFile
  readonly #directory: string | undefined
  readonly #report: Diagnostics
  /** Each content is read and checked once, however many servers share it. */
  readonly #found = new Map<Setting, unknown>()

  constructor(read: ReadFile, directory: string | undefined, report: Diagnostics) {
    this.#read = read
    this.#directory = directory
    this.#report = report
  }

  /** PEM certificates, as text; undefined after a complaint. */
  certificates(setting: Setting, settings: Settings): string | undefined {
    return this.#checked(setting, settings, readCertificates)
  }

  privateKey(setting: Setting, settings: Settings): { readonly pem: string; readonly encrypted: boolean } | undefined {
    return this.#checked(setting, settings, readPrivateKey)
  }

  staticKey(setting: Setting, settings: Settings): Redacted.Redacted<Uint8Array> | undefined {
    const key = this.#checked(setting, settings, readStaticKey)
    return key === undefined ? undefined : Redacted.make(key)
  }

  credentials(
    setting: Setting,
    settings: Settings,
  ): { readonly username: string; readonly password: string } | undefined {
    return this.#checked(setting, settings, readCredentials)
  }

  #checked<A>(
    named: Setting,
    settings: Settings,
    check: (lines: ReadonlyArray<string>) => Result.Result<A, Flaw>,
  ): A | undefined {
    const setting = standsForBlock(named)
      ? settings.all(named.name).findLast((other) => other.content?.tag === "inline")
      : named
    if (setting === undefined) {
      this.#report.error(named, `"${named.name} [inline]" has no block`, `add <${named.name}> ... </${named.name}>`)
      return undefined
    }
    // A directive has one kind of content, so what is remembered is an A.
    if (!this.#found.has(setting)) this.#found.set(setting, this.#find(setting, check))
    return this.#found.get(setting) as A | undefined
  }

  #find<A>(setting: Setting, check: (lines: ReadonlyArray<string>) => Result.Result<A, Flaw>): A | undefined {
    const lines = this.#fetch(setting)
    if (lines === undefined) return undefined
    const checked = check(lines)
    if (Result.isSuccess(checked)) return checked.success
    this.#reportFlaw(setting, checked.failure)
    return undefined
  }

  #fetch(setting: Setting): ReadonlyArray<string> | undefined {
    const { content, name } = setting
    if (content?.tag === "inline") return content.block.lines
    if (content === undefined) return undefined
    const at = content.path
    const maximumBytes = rowOf(name).content?.maximumBytes ?? 0
    const path = join(this.#directory, at.text)
    const bytes = this.#read({ path, directive: name, line: at.line, column: at.column, maximumBytes })
    const complaint = Result.isFailure(bytes)
      ? bytes.failure
      : bytes.success.length > maximumBytes
        ? `it has ${bytes.success.length} bytes, at most ${maximumBytes} are allowed`
        : undefined
    if (complaint !== undefined) this.#report.error(at, `${name}: cannot read ${quote(path)}: ${complaint}`)
    if (complaint !== undefined || Result.isFailure(bytes)) return undefined
    return new TextDecoder().decode(bytes.success).split(/\r?\n/)
  }

  #reportFlaw({ name, content, line, column }: Setting, flaw: Flaw): void {
    if (content?.tag === "file") {
      this.#report.error(
        content.path,
        `${name}: in ${quote(content.path.text)}, line ${flaw.line + 1}: ${flaw.message}`,
        flaw.hint,
      )
    } else if (content !== undefined && flaw.line < content.block.lines.length) {
      this.#report.error(
        { line: content.block.firstLine + flaw.line, column: 1 },
        `${name}: ${flaw.message}`,
        flaw.hint,
      )
    } else {
      this.#report.error({ line, column }, `${name}: ${flaw.message}`, flaw.hint)
    }
  }
}

/** The path that a directive of this name and word means. */
const join = (directory: string | undefined, path: string): string =>
  directory === undefined || path.startsWith("/") ? path : `${directory.replace(/\/$/, "")}/${path}`

/** The first line is the user name, the second the password; blanks inside and at their ends belong to them. */
const readCredentials = (
  lines: ReadonlyArray<string>,
): Result.Result<{ readonly username: string; readonly password: string }, Flaw> => {
  const [username = "", password = ""] = lines
  if (username === "")
    return Result.fail({ line: 0, message: "the user name is missing: it is expected on the first line" })
  if (password === "")
    return Result.fail({ line: 1, message: "the password is missing: it is expected on the second line" })
  for (const [line, word] of [username, password].entries()) {
    if (word.length > maximumCredentialLength)
      return Result.fail({ line, message: `the line is longer than ${maximumCredentialLength} characters` })
    if (/[\0-\x1f\x7f\ufffd]/.test(word)) return Result.fail({ line, message: "the line is not printable UTF-8 text" })
  }
  return Result.succeed({ username, password })
}

/** OpenVPN's USER_PASS_LEN. */
const maximumCredentialLength = 4096
