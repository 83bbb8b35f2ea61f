/**
 * Whether a certificate is the server's that the file asks for. The chain and the dates are OpenSSL's to check; this is the
 * rest: `peer-fingerprint`, `verify-hash`, `remote-cert-tls`, `-ku` and `-eku`, `ns-cert-type`, `verify-x509-name`.
 */
import type { ServerTrust } from "../config/profile.ts"
import type { PeerCertificate, PeerCheck } from "./ports.ts"

export interface PeerRefusal {
  readonly check: PeerCheck
  /** What was expected and what the certificate has. */
  readonly message: string
}

/** Undefined: accepted. OIDs are dotted here: `trust.remoteCertEku`, and `x509UsernameFields` that are fields of the subject. */
export const verifyPeer = (trust: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined =>
  verifyFingerprint(trust, peer) ??
  verifyIssuer(trust, peer) ??
  verifyPurpose(trust, peer) ??
  verifyUsage(trust, peer) ??
  verifyExtendedUsage(trust, peer) ??
  verifyNetscapeType(trust, peer) ??
  verifyName(trust, peer)

const verifyFingerprint = ({ fingerprints }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (fingerprints.length === 0 || fingerprints.includes(peer.sha256)) return undefined
  const expected = fingerprints.length === 1 ? fingerprints[0] : `one of ${fingerprints.length} listed`
  return { check: "fingerprint", message: `peer-fingerprint: expected ${expected}, the certificate has ${peer.sha256}` }
}

/** OpenVPN 2.5+: key usage must be there, whatever it says; extended key usage must contain the role. */
const verifyPurpose = ({ remoteCertTls }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (remoteCertTls === undefined) return undefined
  const refuse = (message: string): PeerRefusal => ({
    check: "purpose",
    message: `remote-cert-tls ${remoteCertTls}: ${message}`,
  })
  const { name, oid } = roles[remoteCertTls]
  if (peer.keyUsage === undefined) return refuse("the certificate has no key usage extension")
  if (peer.extendedKeyUsage === undefined)
    return refuse(`expected extended key usage ${name} (${oid}), the certificate has none`)
  if (peer.extendedKeyUsage.includes(oid)) return undefined
  return refuse(`expected extended key usage ${name} (${oid}), the certificate has ${peer.extendedKeyUsage.join(", ")}`)
}

const verifyIssuer = ({ issuerFingerprints }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (issuerFingerprints === undefined) return undefined
  const { digest, values } = issuerFingerprints
  const actual = peer.issuers[0]?.[digest === "SHA1" ? "sha1" : "sha256"]
  if (actual !== undefined && values.includes(actual)) return undefined
  const expected = values.length === 1 ? values[0] : `one of ${values.length} listed`
  const has = actual === undefined ? "there is no such certificate" : `it has ${actual}`
  return { check: "fingerprint", message: `verify-hash: expected ${expected} of the signing certificate, ${has}` }
}

const verifyUsage = ({ remoteCertKu }: ServerTrust, { keyUsage }: PeerCertificate): PeerRefusal | undefined => {
  if (remoteCertKu === undefined) return undefined
  const expected = remoteCertKu.map((bits) => `0x${bits.toString(16)}`).join(" or ")
  if (keyUsage === undefined)
    return { check: "purpose", message: "remote-cert-ku: the certificate has no key usage extension" }
  if (remoteCertKu.length === 0 || remoteCertKu.some((bits) => (keyUsage & bits) === bits)) return undefined
  return {
    check: "purpose",
    message: `remote-cert-ku: expected all bits of ${expected}, the certificate has 0x${keyUsage.toString(16)}`,
  }
}

const verifyExtendedUsage = ({ remoteCertEku }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (remoteCertEku === undefined || peer.extendedKeyUsage?.includes(remoteCertEku)) return undefined
  const has = peer.extendedKeyUsage?.join(", ") ?? "none"
  return { check: "purpose", message: `remote-cert-eku: expected ${remoteCertEku}, the certificate has ${has}` }
}

/**
 * OpenVPN asks OpenSSL whether the certificate may be this role's: no extension may contradict it, where there is one. Here
 * at least one has to be there as well, otherwise every certificate of the authority would do.
 */
const verifyNetscapeType = ({ nsCertType }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (nsCertType === undefined) return undefined
  const { oid, netscapeBit } = roles[nsCertType]
  const { netscapeCertType: type, extendedKeyUsage: usages } = peer
  const contradicted = (type !== undefined && (type & netscapeBit) === 0) || usages?.includes(oid) === false
  if (!contradicted && (type !== undefined || usages !== undefined)) return undefined
  return { check: "purpose", message: `ns-cert-type ${nsCertType}: the certificate is not made for that role` }
}

const verifyName = (trust: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (trust.verifyX509Name === undefined) return undefined
  const { form, value } = trust.verifyX509Name
  const actual = form === "subject" ? peer.subject : nameOf(peer, trust.x509UsernameFields)
  if (actual !== undefined && nameMatches(form, value, sanitized(actual))) return undefined
  const has = actual === undefined ? "no such name" : `"${sanitized(actual)}"`
  return { check: "name", message: `verify-x509-name: expected ${form} "${value}", the certificate has ${has}` }
}

/** The last value of each field, joined by `_`; undefined when one of them is not there. */
const nameOf = (peer: PeerCertificate, fields: ServerTrust["x509UsernameFields"]): string | undefined => {
  const values = fields.map((field) => {
    if (field === "ext:subjectAltName") return peer.emails.subjectAltName.at(-1)
    if (field === "ext:issuerAltName") return peer.emails.issuerAltName.at(-1)
    if (field === "serialNumber") return `0x${evenHex(BigInt(peer.serial))}`
    return peer.subjectFields.findLast(([oid]) => oid === field)?.[1]
  })
  return values.includes(undefined) ? undefined : values.join("_")
}

/** Whole bytes in capitals. */
const evenHex = (number: bigint): string => {
  const hex = number.toString(16).toUpperCase()
  return hex.length % 2 === 0 ? hex : `0${hex}`
}

const nameMatches = (form: "subject" | "name" | "name-prefix", expected: string, actual: string): boolean =>
  form === "name-prefix" ? actual.startsWith(expected) : actual === expected

/** As OpenVPN compares names: control characters and a leading dash become `_`. */
const sanitized = (name: string): string => name.replace(/[\x00-\x1f\x7f]/g, "_").replace(/^-/, "_")

const roles = {
  server: { name: "serverAuth", oid: "1.3.6.1.5.5.7.3.1", netscapeBit: 0x40 },
  client: { name: "clientAuth", oid: "1.3.6.1.5.5.7.3.2", netscapeBit: 0x80 },
} as const
