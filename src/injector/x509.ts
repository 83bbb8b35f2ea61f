/**
 * Certificates for the webhook's own authority: X.509 v3 (RFC 5280) in DER (X.690), ECDSA P-256 with SHA-256. Only what an
 * API server needs to check a webhook: a CA, and a leaf with its DNS names.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto"

/** PEM; the key in PKCS #8. */
export interface KeyPair {
  readonly certificate: string
  readonly key: string
}

export interface Validity {
  /** Unix time, ms. */
  readonly from: number
  readonly to: number
}

export const makeAuthority = (commonName: string, validity: Validity): KeyPair => {
  const { key, publicKey } = newKey()
  const name = distinguishedName(commonName)
  const extensions = [
    extension("2.5.29.19", true, sequence(der(0x01, Buffer.from([0xff])), integer(Buffer.from([0])))),
    // keyCertSign and cRLSign
    extension("2.5.29.15", true, der(0x03, Buffer.from([1, 0x06]))),
    extension("2.5.29.14", false, der(0x04, keyIdentifier(publicKey))),
  ]
  return { certificate: certify({ issuer: name, subject: name, publicKey, validity, extensions, signer: key }), key }
}

/** For a TLS server of these names. */
export const issue = (authority: KeyPair, dnsNames: ReadonlyArray<string>, validity: Validity): KeyPair => {
  const { key, publicKey } = newKey()
  const issuer = new X509Certificate(authority.certificate).subject.replace(/^CN=/, "")
  const extensions = [
    extension("2.5.29.19", true, sequence()),
    // digitalSignature
    extension("2.5.29.15", true, der(0x03, Buffer.from([7, 0x80]))),
    extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"))),
    extension("2.5.29.17", false, sequence(...dnsNames.map((name) => der(0x82, Buffer.from(name, "ascii"))))),
    extension("2.5.29.14", false, der(0x04, keyIdentifier(publicKey))),
    extension("2.5.29.35", false, sequence(der(0x80, keyIdentifier(publicHalf(authority.key))))),
  ]
  return {
    certificate: certify({
      issuer: distinguishedName(issuer),
      subject: distinguishedName(dnsNames[0] ?? "culvert"),
      publicKey,
      validity,
      extensions,
      signer: authority.key,
    }),
    key,
  }
}

/** Undefined when certificate and key do not belong together or one of them cannot be read. */
export const readPair = (
  pair: KeyPair,
): { readonly notBefore: number; readonly notAfter: number; readonly isAuthority: boolean } | undefined => {
  try {
    const certificate = new X509Certificate(pair.certificate)
    if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return undefined
    return {
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
      isAuthority: certificate.ca,
    }
  } catch {
    return undefined
  }
}

const certify = (made: {
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly publicKey: Buffer
  readonly validity: Validity
  readonly extensions: ReadonlyArray<Buffer>
  readonly signer: string
}): string => {
  const algorithm = sequence(oid("1.2.840.10045.4.3.2"))
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial()),
    algorithm,
    made.issuer,
    sequence(time(made.validity.from), time(made.validity.to)),
    made.subject,
    made.publicKey,
    der(0xa3, sequence(...made.extensions)),
  )
  const signature = sign("sha256", body, made.signer)
  const bits = der(0x03, Buffer.concat([Buffer.from([0]), signature]))
  const text = sequence(body, algorithm, bits)
    .toString("base64")
    .replace(/.{1,64}/g, "$&\n")
  return `-----BEGIN CERTIFICATE-----\n${text}-----END CERTIFICATE-----\n`
}

const newKey = () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString()
  return { key, publicKey: publicHalf(key) }
}

const publicHalf = (key: string): Buffer => createPublicKey(key).export({ type: "spki", format: "der" })

/** RFC 5280 4.2.1.2 (1): SHA-1 of the point, which is the end of a P-256 SubjectPublicKeyInfo. */
const keyIdentifier = (publicKey: Buffer): Buffer => createHash("sha1").update(publicKey.subarray(-65)).digest()

/** 16 bytes whose first is neither zero nor negative. */
const serial = (): Buffer => {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes
}

const distinguishedName = (commonName: string): Buffer =>
  sequence(der(0x31, sequence(oid("2.5.4.3"), der(0x0c, Buffer.from(commonName, "utf8")))))

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value))

/** GeneralizedTime only from 2050 on, as RFC 5280 4.1.2.5 wants. */
const time = (at: number): Buffer => {
  const digits = `${new Date(at).toISOString().slice(0, 19).replace(/[-:T]/g, "")}Z`
  return digits < "2050" ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}

const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

const base128 = (value: number): Array<number> => {
  const bytes = [value & 0x7f]
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) bytes.unshift(0x80 | (left & 0x7f))
  return bytes
}

const integer = (bytes: Buffer): Buffer => der(0x02, bytes)

const sequence = (...parts: ReadonlyArray<Buffer>): Buffer => der(0x30, Buffer.concat(parts))

const der = (tag: number, content: Buffer): Buffer => {
  const { length } = content
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), content])
}
