/** Loads a configuration file with the files it names. The parser is pure; this is where files are read. */
import { readdirSync, readFileSync, readSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { Data, Effect, Result, Runtime } from "effect"
import {
  type Diagnostic,
  type FileNeed,
  formatDiagnostic,
  type KeyMaterial,
  type Profile,
  parse,
} from "../config/index.ts"
import { checkKeyPair, describeCertificates, describeRevocations, OpenSslError, readPkcs12 } from "../openssl/index.ts"

/** The file is not a valid client configuration. `diagnostics` has every problem of it. */
export class InvalidConfiguration extends Data.TaggedError("InvalidConfiguration")<{
  readonly file: string
  readonly diagnostics: ReadonlyArray<Diagnostic>
}> {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    return `${this.file} is not a valid configuration:\n${this.diagnostics.map(formatDiagnostic).join("\n")}`
  }
}

export interface Loaded {
  readonly profile: Profile
  readonly notes: ReadonlyArray<Diagnostic>
  /** All that was read for it. */
  readonly files: ReadonlyArray<string>
}

/** `hint`: what to do when there is no such file. */
export const loadProfile = (file: string, hint?: string): Effect.Effect<Loaded, InvalidConfiguration> =>
  Effect.suspend(() => understand(file, readRegular(file, maximumConfiguration), hint))

/** The configuration on standard input; the files that it names start from the current directory. */
export const loadStandardInput: Effect.Effect<Loaded, InvalidConfiguration> = Effect.suspend(() =>
  understand("<stdin>", readStandardInput(maximumConfiguration), undefined),
)

const understand = (
  file: string,
  text: Result.Result<Uint8Array, string>,
  hint: string | undefined,
): Effect.Effect<Loaded, InvalidConfiguration> => {
  if (Result.isFailure(text)) {
    const place = { file, line: 1, column: 1, severity: "error", source: undefined } as const
    const diagnostics = [{ ...place, message: `cannot be read: ${text.failure}`, hint }]
    return Effect.fail(new InvalidConfiguration({ file, diagnostics }))
  }
  const files = [file]
  const read = (need: FileNeed) => {
    const path = resolve(dirname(file), need.path)
    if (need.kind === "file") files.push(path)
    const content = need.kind === "file" ? readRegular(path, need.maximumBytes) : readDirectory(path)
    return path === need.path ? content : Result.mapError(content, (reason) => `${path}: ${reason}`)
  }
  const inspection = { material, now: Date.now() / 1000 }
  return Effect.fromResult(
    Result.mapBoth(parse(utf8.decode(text.success), { file, read, inspection }), {
      onSuccess: (parsed) => ({ ...parsed, profile: located(parsed.profile, dirname(file)), files }),
      onFailure: (diagnostics) => new InvalidConfiguration({ file, diagnostics }),
    }),
  )
}

/** What is read later has to be found from wherever the program runs. */
const located = (profile: Profile, directory: string): Profile => {
  if (profile.mode !== "tls") return profile
  const { trust, credentials } = profile
  const revoked = trust.revoked?._tag === "Directory" ? at(trust.revoked, directory) : trust.revoked
  const located = { ...profile, trust: { ...trust, revoked } }
  return located.pull && credentials?._tag === "File"
    ? { ...located, credentials: at(credentials, directory) }
    : located
}

const at = <A extends { readonly path: string }>(place: A, directory: string): A => ({
  ...place,
  path: resolve(directory, place.path),
})

const material: KeyMaterial = {
  certificates: (pem) => orSaid(() => describeCertificates(pem)),
  revocations: (pem) => orSaid(() => describeRevocations(pem)),
  checkPair: checkKeyPair,
  pkcs12: (bytes, passphrase) => orSaid(() => readPkcs12(bytes, passphrase)),
}

/** OpenSSL's refusals hold no key material. */
const orSaid = <A>(decode: () => A): Result.Result<A, string> =>
  Result.try({ try: decode, catch: (error) => (error instanceof OpenSslError ? error.message : String(error)) })

const readRegular = (path: string, maximum: number): Result.Result<Uint8Array, string> =>
  orReason(() => {
    const facts = statSync(path)
    if (facts.isDirectory()) return Result.fail("it is a directory")
    if (!facts.isFile()) return Result.fail("it is not a regular file")
    if (facts.size > maximum) return Result.fail(`it has ${facts.size} bytes, at most ${maximum} are allowed`)
    return Result.succeed(readFileSync(path))
  })

const readDirectory = (path: string): Result.Result<Uint8Array, string> =>
  orReason(() => {
    readdirSync(path)
    return Result.succeed(new Uint8Array())
  })

const readStandardInput = (maximum: number): Result.Result<Uint8Array, string> =>
  orReason(() => {
    const chunks: Array<Uint8Array> = []
    for (let size = 0; size <= maximum; ) {
      const chunk = new Uint8Array(65_536)
      const length = readSync(0, chunk)
      if (length === 0) return Result.succeed(Buffer.concat(chunks))
      chunks.push(chunk.subarray(0, length))
      size += length
    }
    return Result.fail(`it has more than ${maximum} bytes`)
  })

const orReason = (read: () => Result.Result<Uint8Array, string>): Result.Result<Uint8Array, string> => {
  try {
    return read()
  } catch (error) {
    const code = (error as { readonly code?: string }).code
    return Result.fail(reasons[code ?? ""] ?? code ?? String(error))
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  ENOTDIR: "it, or a part of its path, is no directory",
}

/** A byte-order mark is the parser's to judge. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Generous for a file with several inlined certificates. */
const maximumConfiguration = 10 * 1024 * 1024
