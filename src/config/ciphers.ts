/** Names of data-channel ciphers and digests, as OpenVPN 2.6 with OpenSSL knows them. Case does not matter. */
import type { CbcCipher, DataCipher, DigestName } from "./profile.ts"

/** Every cipher of the data channel. */
export const dataCiphers: ReadonlyArray<DataCipher> = [
  "AES-256-GCM",
  "AES-192-GCM",
  "AES-128-GCM",
  "CHACHA20-POLY1305",
  "AES-256-CBC",
  "AES-192-CBC",
  "AES-128-CBC",
]

export const defaultDataCiphers = [
  "AES-256-GCM",
  "AES-128-GCM",
  "CHACHA20-POLY1305",
] as const satisfies ReadonlyArray<DataCipher>

/** What one entry of `data-ciphers` comes to. */
export type CipherEntry =
  | { readonly tag: "offered"; readonly cipher: DataCipher }
  /** OpenVPN has it, this client does not. */
  | { readonly tag: "unsupported"; readonly name: string }
  | { readonly tag: "unknown"; readonly name: string; readonly optional: boolean }

/** The entries of a colon-separated list, `DEFAULT` expanded. */
export const cipherEntries = (list: string): ReadonlyArray<CipherEntry> =>
  list.split(":").flatMap((word): ReadonlyArray<CipherEntry> => {
    const optional = word.startsWith("?")
    const name = (optional ? word.slice(1) : word).toUpperCase()
    if (name === "DEFAULT") return defaultDataCiphers.map((cipher) => ({ tag: "offered", cipher }))
    const cipher = dataCipher(name)
    if (cipher !== undefined) return [{ tag: "offered", cipher }]
    return [isKnown(name) ? { tag: "unsupported", name } : { tag: "unknown", name, optional }]
  })

export const dataCipher = (name: string): DataCipher | undefined =>
  dataCiphers.find((cipher) => cipher === name.toUpperCase())

export const cbcCipher = (name: string): CbcCipher | undefined => {
  const cipher = dataCipher(name)
  return cipher !== undefined && isCbc(cipher) ? cipher : undefined
}

const isCbc = (cipher: DataCipher): cipher is CbcCipher => cipher.endsWith("-CBC")

/** Also by OpenSSL's old names, such as RSA-SHA256. */
export const digest = (name: string): DigestName | undefined => {
  const plain = name
    .toUpperCase()
    .replace(/^RSA-/, "")
    .replace(/^SHA2?-/, "SHA")
  return digests.find((known) => known === plain)
}

const isKnown = (name: string): boolean =>
  name === "NONE" ||
  /^(AES|ARIA|CAMELLIA)-(128|192|256)-(CBC|CFB[18]?|OFB|GCM)$/.test(name) ||
  /^(BF|CAST5|DES|DESX|DES-EDE3?|IDEA|RC2(-40|-64)?|RC5|SEED|SM4)-(CBC|CFB[18]?|OFB)$/.test(name)

/** Bytes. */
export const digestLength: Readonly<Record<DigestName, number>> = {
  MD5: 16,
  SHA1: 20,
  SHA224: 28,
  SHA256: 32,
  SHA384: 48,
  SHA512: 64,
}

const digests = Object.keys(digestLength) as ReadonlyArray<DigestName>
