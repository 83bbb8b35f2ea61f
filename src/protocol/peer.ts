/**
 * Whether a certificate is the server's that the file asks for. The chain and the dates are OpenSSL's to check; this is the
 * rest: `peer-fingerprint`, `remote-cert-tls`, `verify-x509-name`.
 */
import type { ServerTrust } from "../config/profile.ts"
import type { PeerCertificate, PeerCheck } from "./ports.ts"

export interface PeerRefusal {
  readonly check: PeerCheck
  /** What was expected and what the certificate has. */
  readonly message: string
}

/** Undefined: accepted. */
export const verifyPeer = (trust: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined =>
  verifyFingerprint(trust, peer) ?? verifyPurpose(trust, peer) ?? verifyName(trust, peer)

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

const verifyName = ({ verifyX509Name }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (verifyX509Name === undefined) return undefined
  const { form, value } = verifyX509Name
  const actual = form === "subject" ? peer.subject : peer.commonName
  if (actual !== undefined && nameMatches(form, value, sanitized(actual))) return undefined
  const has = actual === undefined ? "no common name" : `"${sanitized(actual)}"`
  return { check: "name", message: `verify-x509-name: expected ${form} "${value}", the certificate has ${has}` }
}

const nameMatches = (form: "subject" | "name" | "name-prefix", expected: string, actual: string): boolean =>
  form === "name-prefix" ? actual.startsWith(expected) : actual === expected

/** As OpenVPN compares names: control characters and a leading dash become `_`. */
const sanitized = (name: string): string => name.replace(/[\x00-\x1f\x7f]/g, "_").replace(/^-/, "_")

const roles = {
  server: { name: "serverAuth", oid: "1.3.6.1.5.5.7.3.1" },
  client: { name: "clientAuth", oid: "1.3.6.1.5.5.7.3.2" },
} as const
