import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { formatDiagnostic, type KeyMaterial, parse } from "../../src/config/index.ts"
import { ca, certificate, minimal, noFiles, otherCertificate, privateKey } from "./fixtures.ts"

const day = 86_400
const now = Date.UTC(2026, 5, 15) / 1000
const facts = { subject: "CN=x", notBefore: now - day, notAfter: now + day }
const material: KeyMaterial = {
  certificates: () => Result.succeed([facts]),
  revocations: () => Result.succeed([{ issuer: "CN=a", thisUpdate: now - day, nextUpdate: now + day }]),
  checkPair: () => undefined,
  pkcs12: () => Result.succeed({ certificate, key: privateKey, others: otherCertificate }),
}

const said = (text: string, change: Partial<KeyMaterial> = {}): ReadonlyArray<string> => {
  const inspection = { material: { ...material, ...change }, now }
  const result = parse(text, { file: "f", read: noFiles, inspection })
  return (Result.isSuccess(result) ? result.success.notes : result.failure).map(formatDiagnostic)
}

const withKey = (key = privateKey, more = "") =>
  `client\nremote a\nremote-cert-tls server\n${more}\n${ca}<cert>\n${certificate}</cert>\n<key>\n${key}</key>\n`
const locked = privateKey.replaceAll("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
const pkcs12 = `client\nremote a\nremote-cert-tls server\n<pkcs12>\n${Buffer.from([0x30, 0x00]).toString("base64")}\n</pkcs12>\n`

describe("certificates", () => {
  test("that are valid today are not mentioned", () => {
    expect(said(withKey())).toEqual([])
  })

  test("that have expired, or are not valid yet, are warnings with the date at their directive", () => {
    const expired = { ...facts, notAfter: now - day }
    const early = { ...facts, subject: "CN=y", notBefore: now + day }
    expect(said(minimal(), { certificates: () => Result.succeed([expired, early]) })).toEqual([
      "f:6:1: warning: ca: CN=x expired on 2026-06-14",
      "f:6:1: warning: ca: CN=y is not valid before 2026-06-16 (is the clock right?)",
    ])
  })

  test("whose dates cannot be read have expired", () => {
    const odd = { ...facts, notBefore: Number.POSITIVE_INFINITY, notAfter: Number.NEGATIVE_INFINITY }
    expect(said(minimal(), { certificates: () => Result.succeed([odd]) })).toEqual([
      "f:6:1: warning: ca: CN=x expired on a date that cannot be read",
    ])
  })

  test("that cannot be decoded are errors", () => {
    expect(said(minimal(), { certificates: () => Result.fail("certificate 1: bad") })).toEqual([
      "f:6:1: error: ca: certificate 1: bad",
    ])
  })
})

describe("a revocation list", () => {
  const crl = certificate.replaceAll("CERTIFICATE", "X509 CRL")
  const withList = minimal(`<crl-verify>\n${crl}</crl-verify>`)

  test("that is valid today is not mentioned, nor one that does not say when it ends", () => {
    expect(said(withList)).toEqual([])
    const endless = [{ issuer: "CN=a", thisUpdate: now - day, nextUpdate: undefined }]
    expect(said(withList, { revocations: () => Result.succeed(endless) })).toEqual([])
  })

  test("that has expired, or is not valid yet, is a warning with the date", () => {
    const lists = [
      { issuer: "CN=a", thisUpdate: now - 9 * day, nextUpdate: now - day },
      { issuer: "CN=b", thisUpdate: now + day, nextUpdate: now + 9 * day },
    ]
    expect(said(withList, { revocations: () => Result.succeed(lists) })).toEqual([
      "f:5:1: warning: crl-verify: the list of CN=a expired on 2026-06-14 (the server is refused until there is a newer one)",
      "f:5:1: warning: crl-verify: the list of CN=b is not valid before 2026-06-16 (is the clock right?)",
    ])
  })

  test("that cannot be decoded is an error", () => {
    expect(said(withList, { revocations: () => Result.fail("revocation list 1: bad") })).toEqual([
      "f:5:1: error: crl-verify: revocation list 1: bad",
    ])
  })
})

describe("a key", () => {
  test("must belong to its certificate", () => {
    const [message] = said(withKey(), { checkPair: () => "it does not belong to the certificate" })
    expect(message).toContain("error: key: it does not belong to the certificate")
  })

  test("that is encrypted is checked with the passphrase of askpass, else asked for by its name", () => {
    const asked: Array<string | undefined> = []
    const checkPair = (_certificate: string, _key: string, passphrase: string | undefined) => {
      asked.push(passphrase)
      return undefined
    }
    const [note] = said(withKey(locked), { checkPair })
    expect(note).toContain(
      "info: the private key is encrypted: its passphrase is needed at start (put it into the file key-passphrase",
    )
    expect(said(withKey(locked, "<askpass>\nhunter2\n</askpass>"), { checkPair })).toEqual([])
    expect(asked).toEqual(["hunter2"])
  })
})

describe("a PKCS#12 file", () => {
  test("stands for certificate, key and authority", () => {
    expect(said(pkcs12)).toEqual([])
  })

  test("without an authority leaves nothing to trust, unless ca is there", () => {
    const bare = () => Result.succeed({ certificate, key: privateKey, others: "" })
    expect(said(pkcs12, { pkcs12: bare }).join()).toContain("nothing says which server to trust")
    expect(said(`${pkcs12}${ca}`, { pkcs12: bare })).toEqual([])
  })

  test("needs its passphrase: a note when the file gives none, an error when it gives a wrong one", () => {
    const fails = { pkcs12: () => Result.fail("mac verify failure") }
    expect(said(pkcs12, fails).join()).toContain("info: the file cannot be read without its passphrase")
    expect(said(`${pkcs12}<askpass>\nx\n</askpass>\n`, fails)).toEqual(["f:4:1: error: pkcs12: mac verify failure"])
  })
})
