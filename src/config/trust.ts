/** What proves that the server is the right one: authority, fingerprints, and what its certificate must say. */
import type { Contents } from "./content.ts"
import { Diagnostics, wordOf } from "./diagnostic.ts"
import type { ServerTrust } from "./profile.ts"
import type { Setting, Settings } from "./settings.ts"

export const trustOf = (settings: Settings, contents: Contents, report: Diagnostics): ServerTrust => {
  const ca = settings.last("ca")
  const crl = settings.last("crl-verify")
  const name = settings.last("verify-x509-name")?.values
  const [field, ...fields] = settings.last("x509-username-field")?.values ?? []
  const trust: ServerTrust = {
    ca: ca && contents.certificates(ca, settings),
    fingerprints: [...new Set(settings.all("peer-fingerprint").map(({ values: [fingerprint] }) => fingerprint))],
    issuerFingerprints: issuerFingerprintsOf(settings.all("verify-hash"), report),
    revoked: crl && revokedOf(crl, settings, contents),
    remoteCertTls: settings.last("remote-cert-tls")?.values[0],
    remoteCertKu: settings.last("remote-cert-ku")?.values,
    remoteCertEku: settings.last("remote-cert-eku")?.values[0],
    nsCertType: settings.last("ns-cert-type")?.values[0],
    verifyX509Name: name && { form: name[1] ?? "subject", value: name[0] },
    x509UsernameFields: [field ?? "CN", ...fields],
  }
  if (ca !== undefined && trust.fingerprints.length === 0 && !checks.some((check) => settings.mentions(check))) {
    report.warning(
      ca,
      "any certificate that leads to this authority can pass as the server",
      "add a line: remote-cert-tls server",
    )
  }
  return trust
}

export const requireTrust = (settings: Settings, report: Diagnostics): void => {
  if (anchors.some((anchor) => settings.mentions(anchor))) return
  report.error(
    Diagnostics.wholeFile,
    "nothing says which server to trust: there is neither ca nor peer-fingerprint",
    "put the certificate of the server's authority into a block <ca>, or its own fingerprint into a line: peer-fingerprint SHA256",
  )
}

const revokedOf = (setting: Setting<readonly ["dir"?]>, settings: Settings, contents: Contents) => {
  const { content } = setting
  if (setting.values[0] === "dir" && content?.tag === "file") {
    const path = contents.directory(setting.name, content.path)
    return path === undefined ? undefined : ({ _tag: "Directory", path } as const)
  }
  const pem = contents.revocations(setting, settings)
  return pem === undefined ? undefined : ({ _tag: "List", pem } as const)
}

/** The fingerprints of one line, or of the lines of one block, which are SHA-256. */
const issuerFingerprintsOf = (
  given: ReadonlyArray<Setting<readonly [string, ("SHA1" | "SHA256")?]>>,
  report: Diagnostics,
): ServerTrust["issuerFingerprints"] => {
  const last = given.at(-1)
  if (last === undefined) return undefined
  const lengthOf = { SHA1: 40, SHA256: 64 }
  const digest = last.inBlock ? "SHA256" : (last.values[1] ?? "SHA1")
  const together = last.inBlock ? given.filter(({ inBlock }) => inBlock) : [last]
  for (const setting of together) {
    if (setting.values[0].length !== lengthOf[digest])
      report.error(
        wordOf(setting, last.inBlock ? 0 : 1),
        `verify-hash: this is not the length of a ${digest} fingerprint`,
        "name the digest: SHA256",
      )
  }
  const [first, ...others] = new Set(together.map(({ values: [fingerprint] }) => fingerprint))
  return { digest, values: [first!, ...others] }
}

/** Each of these makes the server's certificate more than any certificate of the authority. */
const checks = ["remote-cert-tls", "remote-cert-eku", "ns-cert-type", "verify-x509-name"] as const
const anchors = ["ca", "capath", "peer-fingerprint", "pkcs12"] as const
