/** Configurations small enough to read, with key material of the right form and no meaning. */
import { expect } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import {
  type Diagnostic,
  formatDiagnostic,
  type Parsed,
  type Profile,
  parse,
  type ReadFile,
  type TlsProfile,
} from "../../src/config/index.ts"

const body = (length: number) => {
  const bytes = Uint8Array.from({ length }, (_, index) => (index * 37) % 256)
  bytes.set([0x30, 0x82, (length - 4) >> 8, (length - 4) & 0xff])
  return Buffer.from(bytes)
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n")
}

export const certificate = `-----BEGIN CERTIFICATE-----\n${body(300)}\n-----END CERTIFICATE-----\n`
export const otherCertificate = `-----BEGIN CERTIFICATE-----\n${body(333)}\n-----END CERTIFICATE-----\n`
export const privateKey = `-----BEGIN PRIVATE KEY-----\n${body(280)}\n-----END PRIVATE KEY-----\n`
export const staticKeyBytes = Uint8Array.from({ length: 256 }, (_, index) => index)
export const staticKey = [
  "#",
  "# 2048 bit OpenVPN static key",
  "-----BEGIN OpenVPN Static key V1-----",
  ...Buffer.from(staticKeyBytes).toString("hex").match(/.{32}/g)!,
  "-----END OpenVPN Static key V1-----",
  "",
].join("\n")

export const ca = `<ca>\n${certificate}</ca>\n`
/** The least that is complete. What a test adds stands after line 4. */
export const minimal = (lines = "") =>
  `client\nremote vpn.example.com\nremote-cert-tls server\nauth-user-pass\n${lines}\n${ca}`

export const noFiles: ReadFile = () => Result.fail("no such file")

/** Serves files from a record, by the path that was asked for; every directory is there. */
export const files =
  (contents: Record<string, string>): ReadFile =>
  ({ path, kind }) => {
    const content = kind === "directory" ? "" : contents[path]
    return content === undefined ? Result.fail("no such file") : Result.succeed(new TextEncoder().encode(content))
  }

export const parsed = (text: string, read: ReadFile = noFiles): Parsed => {
  const result = parse(text, { file: "client.ovpn", read })
  if (Result.isFailure(result))
    throw new Error(`unexpected errors:\n${result.failure.map(formatDiagnostic).join("\n")}`)
  return result.success
}

export const profileOf = (text: string, read: ReadFile = noFiles): TlsProfile => {
  const { profile } = parsed(text, read)
  if (profile.mode !== "tls") throw new Error("it is a profile with a static key")
  return profile
}

export const diagnosticsOf = (text: string, read: ReadFile = noFiles): ReadonlyArray<Diagnostic> => {
  const result = parse(text, { file: "client.ovpn", read })
  return Result.isFailure(result) ? result.failure : result.success.notes
}

/** The errors as they are shown, without the file's name: `5:1: error: ...`. */
export const errorsOf = (text: string, read: ReadFile = noFiles): ReadonlyArray<string> =>
  shown(diagnosticsOf(text, read).filter((diagnostic) => diagnostic.severity === "error"))

export const notesOf = (text: string, read: ReadFile = noFiles): ReadonlyArray<string> =>
  shown(parsed(text, read).notes)

const shown = (diagnostics: ReadonlyArray<Diagnostic>) =>
  diagnostics.map((diagnostic) => formatDiagnostic(diagnostic).replace(/^client\.ovpn:/, ""))

/** The same value with every secret laid open, for comparison. */
export const revealed = (value: unknown): unknown => {
  if (Redacted.isRedacted(value)) return { secret: revealed(Redacted.value(value)) }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex")
  if (Array.isArray(value)) return value.map(revealed)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revealed(inner)]))
}

export const expectSameProfile = (actual: Profile, expected: Profile): void =>
  expect(revealed(actual)).toStrictEqual(revealed(expected))
