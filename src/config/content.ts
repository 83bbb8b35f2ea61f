/** The content of directives that name a file or carry a block: read, checked, and reported at the place it came from. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { decodeBase64 } from "./base64.ts"
import { type Diagnostics, quote } from "./diagnostic.ts"
import { rowOf } from "./directives.ts"
import type { Position, Word } from "./lexer.ts"
import { type Flaw, isOneSequence, readCertificates, readPrivateKey, readRevocations } from "./pem.ts"
import { type Setting, type Settings, standsForBlock } from "./settings.ts"
import { type ClientKey, readClientKey, readStaticKey } from "./static-key.ts"

/** A file that a configuration names. */
export interface FileNeed extends Position {
  /** As written, after the directory of `cd` when it is relative. Still relative to the configuration file otherwise. */
  readonly path: string
  readonly directive: string
  /** Of a directory only that it can be read is asked: its bytes are nobody's business. */
  readonly kind: "file" | "directory"
  /** More than this is refused. */
  readonly maximumBytes: number
}

/** Gives the bytes of a file (none of a directory), or why it cannot be read ("no such file"). */
export type ReadFile = (need: FileNeed) => Result.Result<Uint8Array, string>

export interface GivenLogin {
  readonly username: string
  readonly password: Redacted.Redacted<string> | undefined
}

/** A file as text and as bytes, or the lines of a block. */
interface Found {
  readonly lines: ReadonlyArray<string>
  readonly bytes: Uint8Array | undefined
}

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
    return this.#checked(setting, settings, ({ lines }) => readCertificates(lines))
  }

  privateKey(setting: Setting, settings: Settings): { readonly pem: string; readonly encrypted: boolean } | undefined {
    return this.#checked(setting, settings, ({ lines }) => readPrivateKey(lines))
  }

  staticKey(setting: Setting, settings: Settings): Redacted.Redacted<Uint8Array> | undefined {
    const key = this.#checked(setting, settings, ({ lines }) => readStaticKey(lines))
    return key === undefined ? undefined : Redacted.make(key)
  }

  /** The key of `tls-crypt-v2`, and the same as only the server can read it. */
  clientKey(setting: Setting, settings: Settings): ClientKey | undefined {
    return this.#checked(setting, settings, ({ lines }) => readClientKey(lines))
  }

  /** A revocation list or several, as PEM. */
  revocations(setting: Setting, settings: Settings): string | undefined {
    return this.#checked(setting, settings, ({ lines }) => readRevocations(lines))
  }

  /** DER. */
  pkcs12(setting: Setting, settings: Settings): Redacted.Redacted<Uint8Array> | undefined {
    return this.#checked(setting, settings, readPkcs12)
  }

  passphrase(setting: Setting, settings: Settings): Redacted.Redacted<string> | undefined {
    return this.#checked(setting, settings, ({ lines: [first = ""] }) =>
      first === ""
        ? Result.fail({ line: 0, message: "the passphrase is missing" })
        : Result.succeed(Redacted.make(first)),
    )
  }

  /** User name and, unless it is left to be asked for, password. */
  login(setting: Setting, settings: Settings): GivenLogin | undefined {
    return this.#checked(setting, settings, readLogin)
  }

  /** The path that a word of the file means; still relative to the configuration file when it is relative. */
  pathOf(path: string): string {
    return join(this.#directory, path)
  }

  /** The path of a directory; undefined after a complaint. */
  directory(name: string, at: Word): string | undefined {
    const path = this.pathOf(at.text)
    return this.#ask(at, { path, directive: name, kind: "directory", maximumBytes: 0 }) && path
  }

  #checked<A>(named: Setting, settings: Settings, check: (found: Found) => Result.Result<A, Flaw>): A | undefined {
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

  #find<A>(setting: Setting, check: (found: Found) => Result.Result<A, Flaw>): A | undefined {
    const found = this.#fetch(setting)
    if (found === undefined) return undefined
    const checked = check(found)
    if (Result.isSuccess(checked)) return checked.success
    this.#reportFlaw(setting, checked.failure)
    return undefined
  }

  #fetch(setting: Setting): Found | undefined {
    const { content, name } = setting
    if (content?.tag === "inline") return { lines: content.block.lines, bytes: undefined }
    if (content === undefined) return undefined
    const at = content.path
    const maximumBytes = rowOf(name).content?.maximumBytes ?? maximumLogin
    const bytes = this.#ask(at, { path: this.pathOf(at.text), directive: name, kind: "file", maximumBytes })
    return bytes && { lines: new TextDecoder().decode(bytes).split(/\r?\n/), bytes }
  }

  #ask({ line, column }: Word, wanted: Omit<FileNeed, keyof Position>): Uint8Array | undefined {
    const { directive, path, maximumBytes } = wanted
    const bytes = this.#read({ ...wanted, line, column })
    const length = Result.isSuccess(bytes) ? bytes.success.length : 0
    const isEmpty = wanted.kind === "file" && length === 0
    if (Result.isSuccess(bytes) && !isEmpty && length <= maximumBytes) return bytes.success
    const complaint = Result.isFailure(bytes)
      ? bytes.failure
      : isEmpty
        ? "it is empty"
        : `it has ${length} bytes, at most ${maximumBytes} are allowed`
    this.#report.error({ line, column }, `${directive}: cannot read ${quote(path)}: ${complaint}`)
    return undefined
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

const join = (directory: string | undefined, path: string): string =>
  directory === undefined || path.startsWith("/") ? path : `${directory.replace(/\/$/, "")}/${path}`

/** The first line is the user name, the second the password; blanks inside and at their ends belong to them. */
const readLogin = ({ lines: [username = "", password = ""] }: Found): Result.Result<GivenLogin, Flaw> => {
  if (username === "")
    return Result.fail({ line: 0, message: "the user name is missing: it is expected on the first line" })
  for (const [line, word] of [username, password].entries()) {
    if (word.length > maximumCredentialLength)
      return Result.fail({ line, message: `the line is longer than ${maximumCredentialLength} characters` })
    if (/[\0-\x1f\x7f\ufffd]/.test(word)) return Result.fail({ line, message: "the line is not printable UTF-8 text" })
  }
  return Result.succeed({ username, password: password === "" ? undefined : Redacted.make(password) })
}

/** In a block it is base64; in a file DER as a rule, and base64 when it is text. */
const readPkcs12 = ({ lines, bytes }: Found): Result.Result<Redacted.Redacted<Uint8Array>, Flaw> => {
  const isText = bytes === undefined || bytes[0] !== 0x30 || !isOneSequence(bytes)
  const der = isText ? decodeBase64(lines.map((line) => line.trim()).join("")) : bytes
  if (der !== undefined && isOneSequence(der)) return Result.succeed(Redacted.make(der))
  return Result.fail({ line: 0, message: der === undefined ? "it is not base64" : "it is not a PKCS#12 file" })
}

/** Of a file that a proxy's line names. */
const maximumLogin = 16384
/** OpenVPN's USER_PASS_LEN. */
const maximumCredentialLength = 4096
