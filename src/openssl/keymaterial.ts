/** What the certificates and lists of a configuration say: for checks before anything is connected. */
import { decodeCertificate, type PeerCertificate } from "./certificate.ts"
import { type RevocationList, RevocationLists } from "./crl.ts"
import { freeCertificates, readCertificates } from "./pem.ts"

/** The certificates of a PEM text, in its order. Throws `OpenSslError` when one cannot be read, or there is none. */
export function describeCertificates(pem: string): ReadonlyArray<PeerCertificate> {
  const certificates = readCertificates(pem, "the certificates")
  try {
    return certificates.map((x509) => decodeCertificate(x509))
  } finally {
    freeCertificates(certificates)
  }
}

/** The revocation lists of a PEM text, in the same way. */
export function describeRevocations(pem: string): ReadonlyArray<RevocationList> {
  const lists = RevocationLists.read(pem)
  try {
    return lists.describe()
  } finally {
    lists.free()
  }
}
