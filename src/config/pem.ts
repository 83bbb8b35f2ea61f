/**
 * PEM text (RFC 7468): finds the sections, checks that each is complete, that its base64 decodes and that the bytes are one whole
 * ASN.1 sequence. Whether they make a certificate is for OpenSSL to say.
 */
import * as Result from "effect/Result"
import { decodeBase64, encodeBase64 } from "./base64.ts"

/** What is wrong with the content of a file or block. Never quotes it. */
export interface Flaw {
  /** Index of the line it is about; 0 when it is about the whole. */
  readonly line: number
  readonly message: string
  readonly hint?: string
}

/** All certificates in the text, as PEM without anything between them. At least one. */
export const readCertificates = (lines: ReadonlyArray<string>): Result.Result<string, Flaw> =>
  Result.flatMap(readSections(lines), (sections) => {
    const certificates = sections.filter((section) => certificateLabels.includes(section.label))
    if (certificates.length > 0) return Result.succeed(textOf(certificates))
    return Result.fail(nothingFound("certificate", sections))
  })

/** All revocation lists in the text, in the same way. */
export const readRevocations = (lines: ReadonlyArray<string>): Result.Result<string, Flaw> =>
  Result.flatMap(readSections(lines), (sections) => {
    const lists = sections.filter((section) => section.label === "X509 CRL")
    return lists.length > 0 ? Result.succeed(textOf(lists)) : Result.fail(nothingFound("revocation list", sections))
  })

/** The one private key in the text, as PEM. */
export const readPrivateKey = (
  lines: ReadonlyArray<string>,
): Result.Result<{ readonly pem: string; readonly encrypted: boolean }, Flaw> =>
  Result.flatMap(readSections(lines), (sections) => {
    const keys = sections.filter((section) => section.label.endsWith("PRIVATE KEY"))
    const [key, second] = keys
    if (key === undefined) return Result.fail(nothingFound("private key", sections))
    if (second !== undefined) return Result.fail({ line: second.line, message: "there is more than one private key" })
    return Result.succeed({
      pem: textOf([key]),
      encrypted: key.label === "ENCRYPTED PRIVATE KEY" || key.headers.length > 0,
    })
  })

interface Section {
  readonly label: string
  /** Of its BEGIN line. */
  readonly line: number
  /** RFC 1421 headers, which only the old form of encrypted keys has. */
  readonly headers: ReadonlyArray<string>
  readonly body: ReadonlyArray<string>
}

/** The bytes of the one section with this label. */
export const readSection = (
  lines: ReadonlyArray<string>,
  label: string,
): Result.Result<{ readonly line: number; readonly bytes: Uint8Array }, Flaw> =>
  Result.flatMap(readSections(lines), (sections) => {
    const found = sections.find((section) => section.label === label)
    if (found === undefined) return Result.fail(nothingFound(label, sections))
    return Result.succeed({ line: found.line, bytes: decodeBase64(found.body.join("")) ?? new Uint8Array() })
  })

export const writeSection = (label: string, bytes: Uint8Array): ReadonlyArray<string> => [
  `-----BEGIN ${label}-----`,
  ...(encodeBase64(bytes).match(/.{1,64}/g) ?? []),
  `-----END ${label}-----`,
]

const readSections = (lines: ReadonlyArray<string>): Result.Result<ReadonlyArray<Section>, Flaw> => {
  const sections: Array<Section> = []
  let index = 0
  while (index < lines.length) {
    const label = /^-----BEGIN ([A-Za-z0-9 -]{1,64})-----$/.exec(lines[index]!.trim())?.[1]
    const line = index++
    if (label === undefined) continue
    const end = `-----END ${label}-----`
    const inside: Array<string> = []
    while (index < lines.length && !lines[index]!.trim().startsWith("-----")) inside.push(lines[index++]!.trim())
    if (lines[index]?.trim() !== end) return Result.fail({ line, message: `the section ${label} has no line "${end}"` })
    index++
    const headers = inside.filter(isHeader)
    const body = inside.filter((text) => text !== "" && !isHeader(text))
    const bad = inside.findIndex((text) => !isHeader(text) && !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    if (bad >= 0) return Result.fail({ line: line + 1 + bad, message: `the section ${label} is not base64 here` })
    const bytes = decodeBase64(body.join(""))
    if (bytes === undefined)
      return Result.fail({ line, message: `the section ${label} is not base64: characters are missing` })
    if (headers.length === 0 && asn1Labels.some((known) => label.endsWith(known)) && !isOneSequence(bytes))
      return Result.fail({
        line,
        message: `the section ${label} is not complete: its length does not match its content`,
      })
    sections.push({ label, line, headers, body })
  }
  return Result.succeed(sections)
}

const textOf = (sections: ReadonlyArray<Section>): string =>
  sections
    .map(({ label, headers, body }) =>
      [
        `-----BEGIN ${label}-----`,
        ...(headers.length === 0 ? [] : [...headers, ""]),
        ...body,
        `-----END ${label}-----`,
        "",
      ].join("\n"),
    )
    .join("")

const nothingFound = (wanted: string, sections: ReadonlyArray<Section>): Flaw => {
  const found = [...new Set(sections.map((section) => section.label))]
  const instead = found.length === 0 ? "no PEM section at all" : `only ${found.join(", ")}`
  return { line: 0, message: `there is no ${wanted} in it: ${instead}` }
}

/** `Proc-Type: 4,ENCRYPTED`; a continued one ends in a comma. */
const isHeader = (line: string): boolean => line.includes(":") || line.endsWith(",")

/** DER: the tag SEQUENCE and a length that ends where the bytes end. */
export const isOneSequence = (bytes: Uint8Array): boolean => {
  const [tag, first] = bytes
  if (tag !== 0x30 || first === undefined) return false
  if (first < 0x80) return bytes.length === 2 + first
  const octets = first & 0x7f
  if (octets === 0 || octets > 4) return false
  const length = bytes.subarray(2, 2 + octets).reduce((sum, byte) => sum * 256 + byte, 0)
  return bytes.length === 2 + octets + length
}

const certificateLabels = ["CERTIFICATE", "X509 CERTIFICATE"]
/** Ends of the labels whose content is one ASN.1 sequence. */
const asn1Labels = ["CERTIFICATE", "PRIVATE KEY", "X509 CRL"]
