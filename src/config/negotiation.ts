/** What may be negotiated: TLS versions and ciphers, the ciphers of the data channel, its digest and its framing. */
import { cbcCipher, cipherEntries, dataCipher, dataCiphers, defaultDataCiphers, digest } from "./ciphers.ts"
import { type Diagnostics, quote, wordOf } from "./diagnostic.ts"
import type { CbcCipher, Compression, DataCipher, DigestName, TlsProfile, TlsVersion } from "./profile.ts"
import type { Settings } from "./settings.ts"
import { nearest } from "./spelling.ts"

export const tlsOf = (settings: Settings, report: Diagnostics): TlsProfile["tls"] => {
  const lowest = settings.last("tls-version-min")
  const highest = settings.last("tls-version-max")
  const maximum = highest?.values[0]
  // A maximum below the default minimum takes that away.
  const minimum = lowest?.values[0] ?? (Number(maximum) < 1.2 ? "1.0" : settings.values("tls-version-min")[0])
  if (lowest !== undefined && highest !== undefined && Number(maximum) < Number(minimum))
    report.error(highest, `tls-version-max ${maximum} is below tls-version-min ${minimum} (line ${lowest.line})`)
  return {
    minimum: minimum satisfies TlsVersion,
    maximum,
    ciphers: settings.last("tls-cipher")?.values[0],
    ciphersuites: settings.last("tls-ciphersuites")?.values[0],
    groups: settings.last("tls-groups")?.values[0],
    certProfile: settings.values("tls-cert-profile")[0],
  }
}

export const authOf = (settings: Settings, report: Diagnostics): DigestName => {
  const setting = settings.last("auth")
  const [name] = settings.values("auth")
  if (setting !== undefined && name.toLowerCase() === "none") {
    const wrapped =
      settings.has("tls-auth") || settings.all("connection").some(({ inner }) => inner?.settings.has("tls-auth"))
    if (settings.has("secret"))
      report.error(setting, `"auth none" leaves the packets of "secret" without authentication`)
    else if (wrapped) report.error(setting, `"auth none" leaves "tls-auth" without a digest`)
    else report.info(setting, `"auth none" has no effect here: data packets are authenticated by their cipher`)
    return "SHA1"
  }
  const known = digest(name)
  if (setting !== undefined && known === undefined) {
    report.error(
      wordOf(setting, 1),
      `auth: the digest ${quote(name)} is not supported`,
      "MD5, SHA1, SHA224, SHA256, SHA384 and SHA512 are",
    )
  }
  return known ?? "SHA1"
}

export const dataCiphersOf = (settings: Settings, report: Diagnostics): ReadonlyArray<DataCipher> => {
  const setting = settings.last("data-ciphers")
  const ciphers = new Set<DataCipher>()
  let isFaulty = false
  for (const entry of cipherEntries(settings.values("data-ciphers")[0])) {
    if (entry.tag === "offered") ciphers.add(entry.cipher)
    else if (setting === undefined) continue
    else if (entry.tag === "unsupported")
      report.warning(wordOf(setting, 1), `data-ciphers: ${entry.name} is not supported yet and not offered`)
    else if (entry.optional)
      report.info(wordOf(setting, 1), `data-ciphers: ${quote(entry.name)} is unknown and not offered`)
    else {
      const near = nearest(entry.name, dataCiphers)
      const hint = near === undefined ? `"?" before its name leaves it out` : `did you mean "${near}"?`
      report.error(wordOf(setting, 1), `data-ciphers: the cipher ${quote(entry.name)} is unknown`, hint)
      isFaulty = true
    }
  }
  if (setting !== undefined && ciphers.size === 0 && !isFaulty) {
    report.error(
      wordOf(setting, 1),
      "data-ciphers: no cipher is left to offer",
      `at least one of ${defaultDataCiphers.join(", ")} is needed`,
    )
  }
  const cipher = settings.last("cipher")
  if (
    cipher !== undefined &&
    ciphers.size > 0 &&
    ![...ciphers].some((name) => name === cipher.values[0].toUpperCase())
  ) {
    const offered = [...ciphers].join(":")
    report.warning(
      wordOf(cipher, 1),
      `cipher ${quote(cipher.values[0])} is not used: the server chooses from data-ciphers (${offered})`,
      dataCipher(cipher.values[0]) && `to offer it as well: data-ciphers ${offered}:${dataCipher(cipher.values[0])}`,
    )
  }
  return [...ciphers]
}

export const fallbackOf = (settings: Settings, report: Diagnostics): DataCipher | undefined => {
  const setting = settings.last("data-ciphers-fallback")
  if (setting === undefined) return undefined
  const [name] = setting.values
  const cipher = dataCipher(name)
  if (cipher === undefined) {
    report.warning(
      wordOf(setting, 1),
      `data-ciphers-fallback: ${quote(name)} is not supported yet: a server must negotiate the cipher`,
    )
  }
  return cipher
}

/** `cipher` beside TLS. */
export const statedCipherOf = (settings: Settings): DataCipher | undefined => {
  const setting = settings.last("cipher")
  return setting && dataCipher(setting.values[0])
}

/** The cipher of `secret`. */
export const staticCipherOf = (settings: Settings, report: Diagnostics): CbcCipher | undefined => {
  const setting = settings.last("cipher")
  const known = setting && cbcCipher(setting.values[0])
  if (known !== undefined) return known
  const found = setting === undefined ? "there is no line for it" : `not ${quote(setting.values[0])}`
  report.error(
    setting ?? settings.last("secret")!,
    `with "secret" the cipher must be AES-256-CBC, AES-192-CBC or AES-128-CBC: ${found}`,
    "add a line: cipher AES-256-CBC",
  )
  return undefined
}

/** Undefined: packets have no byte for it. Of `compress` and `comp-lzo` the last one holds. */
export const compressionOf = (settings: Settings, report: Diagnostics): Compression | undefined => {
  const setting = settings.lastOf("compress", "comp-lzo")
  if (setting === undefined || setting.values[0] === "migrate") return undefined
  const allowed = settings.last("allow-compression")
  const framing = framingOf(setting.name, setting.values[0])
  const allow = allowed?.values[0] === "no" ? "no" : "asym"
  if (framing === "lzo" || framing === "lz4" || framing === "lz4-v2") {
    if (allowed === undefined || allow === "asym") return { framing, allow: "asym" }
    const message = `"${setting.name}" and "allow-compression no" (line ${allowed.line}) cannot both be given`
    report.error(setting, message, "a framing without compression: compress stub-v2")
    return undefined
  }
  return { framing, allow }
}

const framingOf = (name: string, word: Exclude<CompressionWord, "migrate">): Compression["framing"] => {
  switch (word) {
    case undefined:
      return name === "compress" ? "stub" : "lzo"
    case "no":
      return "lzo-off"
    case "yes":
    case "adaptive":
      return "lzo"
    default:
      return word
  }
}

type CompressionWord = "stub" | "stub-v2" | "lzo" | "lz4" | "lz4-v2" | "migrate" | "yes" | "no" | "adaptive" | undefined
