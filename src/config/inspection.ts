/**
 * Key material beyond its form: whether certificates and keys can be read, belong together, and are valid today. Decoding is the
 * business of a port, so that the parser needs no OpenSSL and no clock; without the port only the form is checked.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Diagnostics } from "./diagnostic.ts"
import type { Identity, ServerTrust } from "./profile.ts"
import type { Setting, Settings } from "./settings.ts"

/** Failures are sentences without key material. */
export interface KeyMaterial {
  /** The certificates of a PEM text, in its order. */
  readonly certificates: (pem: string) => Result.Result<ReadonlyArray<CertificateFacts>, string>
  /** The revocation lists of a PEM text, in its order. */
  readonly revocations: (pem: string) => Result.Result<ReadonlyArray<RevocationFacts>, string>
  /** What is wrong with the first certificate and its key; undefined: they belong together. */
  readonly checkPair: (certificate: string, key: string, passphrase: string | undefined) => string | undefined
  /** DER to PEM; `others` is empty when there are no further certificates. */
  readonly pkcs12: (
    bytes: Uint8Array,
    passphrase: string | undefined,
  ) => Result.Result<{ readonly certificate: string; readonly key: string; readonly others: string }, string>
}

/** Times are Unix seconds. */
export interface CertificateFacts {
  readonly subject: string
  readonly notBefore: number
  readonly notAfter: number
}

export interface RevocationFacts {
  readonly issuer: string
  readonly thisUpdate: number
  /** Undefined: it does not say when it ends. */
  readonly nextUpdate: number | undefined
}

export interface Inspection {
  readonly material: KeyMaterial
  /** Unix seconds. */
  readonly now: number
}

export const inspectTrust = (
  inspection: Inspection,
  { ca, revoked }: ServerTrust,
  settings: Settings,
  report: Diagnostics,
): void => {
  if (ca !== undefined) inspectCertificates(inspection, ca, settings.last("ca")!, report)
  if (revoked?._tag === "List") inspectRevocations(inspection, revoked.pem, settings.last("crl-verify")!, report)
}

export const inspectIdentity = (
  inspection: Inspection,
  identity: Identity | undefined,
  settings: Settings,
  report: Diagnostics,
): void => {
  const passphrase = identity?.passphrase && Redacted.value(identity.passphrase)
  if (identity?._tag === "Pem") {
    const readable = inspectCertificates(inspection, identity.certificate, settings.last("cert")!, report)
    const key = Redacted.value(identity.key)
    const isLocked = passphrase === undefined && key.includes("ENCRYPTED")
    if (!readable || isLocked) return
    const complaint = inspection.material.checkPair(identity.certificate, key, passphrase)
    if (complaint !== undefined) report.error(settings.last("key")!, `key: ${complaint}`)
  }
  if (identity?._tag === "Pkcs12")
    inspectPkcs12(inspection, Redacted.value(identity.bytes), passphrase, settings, report)
}

const inspectPkcs12 = (
  inspection: Inspection,
  bytes: Uint8Array,
  passphrase: string | undefined,
  settings: Settings,
  report: Diagnostics,
): void => {
  const setting = settings.last("pkcs12")!
  const decoded = inspection.material.pkcs12(bytes, passphrase)
  if (Result.isFailure(decoded) && passphrase === undefined) {
    report.info(setting, "the file cannot be read without its passphrase, which is needed at start", whereToPutIt)
  } else if (Result.isFailure(decoded)) {
    report.error(setting, `pkcs12: ${decoded.failure}`)
  } else {
    const { certificate, others } = decoded.success
    inspectCertificates(inspection, certificate + others, setting, report)
    if (others === "" && !settings.mentions("ca") && !settings.mentions("peer-fingerprint"))
      report.error(
        setting,
        "nothing says which server to trust: there is no authority in the file, and no ca beside it",
      )
  }
}

/** A list that is not valid now proves nothing, so that the server is refused. */
const inspectRevocations = (
  { material, now }: Inspection,
  pem: string,
  setting: Setting,
  report: Diagnostics,
): void => {
  const lists = material.revocations(pem)
  if (Result.isFailure(lists)) {
    report.error(setting, `crl-verify: ${lists.failure}`)
    return
  }
  for (const { issuer, thisUpdate, nextUpdate = Number.POSITIVE_INFINITY } of lists.success) {
    const list = `crl-verify: the list of ${issuer}`
    if (now > nextUpdate)
      report.warning(
        setting,
        `${list} expired on ${dateOf(nextUpdate)}`,
        "the server is refused until there is a newer one",
      )
    else if (now < thisUpdate)
      report.warning(setting, `${list} is not valid before ${dateOf(thisUpdate)}`, "is the clock right?")
  }
}

/** Whether they can be read. */
const inspectCertificates = (
  { material, now }: Inspection,
  pem: string,
  setting: Setting,
  report: Diagnostics,
): boolean => {
  const certificates = material.certificates(pem)
  if (Result.isFailure(certificates)) {
    report.error(setting, `${setting.name}: ${certificates.failure}`)
    return false
  }
  for (const { subject, notBefore, notAfter } of certificates.success) {
    if (now > notAfter) report.warning(setting, `${setting.name}: ${subject} expired on ${dateOf(notAfter)}`)
    else if (now < notBefore)
      report.warning(
        setting,
        `${setting.name}: ${subject} is not valid before ${dateOf(notBefore)}`,
        "is the clock right?",
      )
  }
  return true
}

export const whereToPutIt = "put it into the file key-passphrase of the credentials directory, or decrypt the key"

/** `2026-07-31`, in UTC. A date that cannot be read comes as an infinity. */
const dateOf = (seconds: number): string =>
  Number.isFinite(seconds) ? new Date(seconds * 1000).toISOString().slice(0, 10) : "a date that cannot be read"
