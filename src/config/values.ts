/**
 * The grammars of single words: how a value is written in a file, read and written back. `read` fails with a description of what
 * it expects; the caller adds what it found and where.
 */
import * as Result from "effect/Result"
import { canonicalIpv6, isIpv4, isIpv6, netmaskOfPrefix, prefixOfNetmask } from "./address.ts"

export interface Grammar<A> {
  /** As the reference page shows the word: `host`, `seconds`, `udp|tcp`. */
  readonly syntax: string
  readonly read: (text: string) => Result.Result<A, string>
  write(value: A): string
  /** What would mend a text that `read` fails for, when that is known. */
  readonly hint?: (text: string) => string | undefined
}

/** A whole number in decimal, both ends included. */
export const integer = (syntax: string, minimum: number, maximum: number): Grammar<number> => ({
  syntax,
  read: (text) => {
    const value = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
    return value >= minimum && value <= maximum
      ? Result.succeed(value === 0 ? 0 : value)
      : Result.fail(`a whole number from ${minimum} to ${maximum}`)
  },
  write: String,
})

export const seconds = integer("seconds", 0, 2147483647)
export const port = integer("port", 1, 65535)

/** One of the words given, as written. */
export const oneOf = <const A extends string>(...words: ReadonlyArray<A>): Grammar<A> => ({
  syntax: words.join("|"),
  read: (text) => {
    const found = words.find((word) => word === text)
    return found === undefined
      ? Result.fail(words.length === 1 ? `"${words[0]}"` : `one of ${words.join(", ")}`)
      : Result.succeed(found)
  },
  write: (value) => value,
})

/** Either a word that stands for "none given" or the grammar's own value. */
export const wordOr = <A>(word: string, grammar: Grammar<A>): Grammar<A | undefined> => ({
  syntax: `${grammar.syntax}|${word}`,
  read: (text) => {
    if (text === word) return Result.succeed(undefined)
    return Result.mapError(grammar.read(text), (expected) => `${expected} or "${word}"`)
  },
  write: (value) => (value === undefined ? word : grammar.write(value)),
})

/** Any text but the empty one. */
export const text = (syntax: string): Grammar<string> =>
  matching(syntax, "a word that is not empty", (value) => value !== "")

export const path = text("file")

/** As the kernel takes it (`dev_valid_name`). */
export const deviceName: Grammar<string> = matching(
  "device",
  "a device name of at most 15 bytes",
  (name) =>
    /^[^\s/:]{1,15}$/.test(name) && new TextEncoder().encode(name).length <= 15 && name !== "." && name !== "..",
)

/** A host name or an address. Not resolved here; only what can never be one is refused. */
export const host: Grammar<string> = {
  ...matching(
    "host",
    "a host name or an IP address",
    (value) => value.length <= 255 && (/^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(value) || isIpv6(value)),
  ),
  hint: (text) => {
    const [, scheme, bracketed, name = bracketed, port, path] =
      /^([a-z]+:\/\/)?(?:\[([0-9A-Fa-f:.]+)\]|([^:/[\]]+))(?::([0-9]{1,5}))?(\/.*)?$/.exec(text) ?? []
    if (name === undefined || (scheme ?? bracketed ?? port ?? path) === undefined) return undefined
    return `write ${name}${port === undefined ? "" : ` ${port}`}`
  },
}

export const ipv4: Grammar<string> = matching("ipv4", "an IPv4 address", isIpv4)

export const ipv6: Grammar<string> = {
  syntax: "ipv6",
  read: (text) => {
    const address = canonicalIpv6(text)
    return address === undefined ? Result.fail("an IPv6 address") : Result.succeed(address)
  },
  write: (value) => value,
}

/** A netmask, read as its prefix length. */
export const netmask: Grammar<number> = {
  syntax: "netmask",
  read: (text) => {
    const prefix = prefixOfNetmask(text)
    return prefix === undefined ? Result.fail("a netmask such as 255.255.255.0") : Result.succeed(prefix)
  },
  write: netmaskOfPrefix,
}

export interface Prefixed {
  readonly address: string
  readonly prefix: number
}

/** `address/bits`; without bits 64, as in OpenVPN. */
export const ipv6Prefix: Grammar<Prefixed> = {
  syntax: "ipv6/bits",
  read: (text) => {
    const slash = text.indexOf("/")
    const address = canonicalIpv6(slash < 0 ? text : text.slice(0, slash))
    const bits = slash < 0 ? "64" : text.slice(slash + 1)
    const valid = address !== undefined && /^[0-9]{1,3}$/.test(bits) && Number(bits) <= 128
    return valid
      ? Result.succeed({ address, prefix: Number(bits) })
      : Result.fail("an IPv6 address with a prefix length of 0 to 128")
  },
  write: ({ address, prefix }) => `${address}/${prefix}`,
}

/** A colon-separated list of TLS names; OpenSSL judges the names. */
export const nameList: Grammar<string> = matching("list", "names separated by colons", (value) =>
  /^[A-Za-z0-9_+!@=.:?-]+$/.test(value),
)

/** Key usage bits in hex, as `remote-cert-ku` takes them; 0x prefix allowed. */
export const hexBits: Grammar<number> = {
  syntax: "hex",
  read: (text) =>
    /^(0[xX])?[0-9A-Fa-f]{1,4}$/.test(text) ? Result.succeed(Number.parseInt(text, 16)) : Result.fail("hex digits"),
  write: (value) => value.toString(16).padStart(2, "0"),
}

/** A fingerprint by SHA-1 or SHA-256, in the form of `sha256Fingerprint`. */
export const fingerprint: Grammar<string> = {
  syntax: "fingerprint",
  read: (text) =>
    /^([0-9A-Fa-f]{2}:){19}([0-9A-Fa-f]{2}:){0,12}[0-9A-Fa-f]{2}$/.test(text) && [59, 95].includes(text.length)
      ? Result.succeed(text.replaceAll(":", "").toLowerCase())
      : Result.fail("a fingerprint: 20 bytes (SHA-1) or 32 (SHA-256) in hex, separated by colons"),
  write: withColons,
}

/** As `x509-username-field` takes it: names in small letters are read in capitals, as OpenVPN reads them. */
export const certificateField: Grammar<string> = {
  syntax: "field",
  read: (text) => {
    if (text === "" || (text.startsWith("ext:") && !/^ext:(subject|issuer)AltName$/.test(text)))
      return Result.fail("a field of the subject, ext:subjectAltName or ext:issuerAltName")
    return Result.succeed(/^[a-z]+$/.test(text) ? text.toUpperCase() : text)
  },
  write: (value) => value,
}

/** 32 bytes as colon-separated hex; read as lower-case hex without colons. */
export const sha256Fingerprint: Grammar<string> = {
  syntax: "fingerprint",
  read: (text) =>
    /^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$/.test(text)
      ? Result.succeed(text.replaceAll(":", "").toLowerCase())
      : Result.fail("a SHA-256 fingerprint: 32 bytes in hex, separated by colons"),
  write: withColons,
}

export function withColons(hex: string): string {
  return (hex.toUpperCase().match(/../g) ?? []).join(":")
}

export function matching(syntax: string, expected: string, valid: (text: string) => boolean): Grammar<string> {
  return {
    syntax,
    read: (text) => (valid(text) ? Result.succeed(text) : Result.fail(expected)),
    write: (value) => value,
  }
}
