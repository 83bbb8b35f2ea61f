/**
 * A certificate as the facts that checks are made on. Nothing here decides anything, and a certificate that is odd
 * (a field missing, twice, or undecodable) gives facts that no check can be content with, never an error.
 */
import { CString, type Pointer, read } from "bun:ffi"
import { libcrypto, required } from "./library.ts"
import { allocate, cString } from "./memory.ts"

/** The group of checks that refused a certificate. */
export type PeerCheck = "chain" | "validity" | "purpose" | "name" | "fingerprint" | "certificate"

export interface PeerCertificate {
  /** As OpenVPN writes it: `C=KG, O=OpenVPN-TEST, CN=server, emailAddress=me@example.net`, in the certificate's order. */
  readonly subject: string
  readonly issuer: string
  /** The last CN of the subject, control characters as `_`; undefined when there is none. */
  readonly commonName: string | undefined
  /** The fields of the subject in the certificate's order, each as dotted OID and value; control characters are `_`. */
  readonly subjectFields: ReadonlyArray<readonly [oid: string, value: string]>
  /** The mail addresses of the extensions subjectAltName and issuerAltName, in the same way. */
  readonly emails: { readonly subjectAltName: ReadonlyArray<string>; readonly issuerAltName: ReadonlyArray<string> }
  /** X.509 bits (digitalSignature 0x80 ... decipherOnly 0x8000), undefined when the extension is absent. */
  readonly keyUsage: number | undefined
  /** Dotted OIDs; empty when the extension cannot be read, undefined when it is absent. */
  readonly extendedKeyUsage: ReadonlyArray<string> | undefined
  /** Netscape certificate type bits (client 0x80, server 0x40), undefined when absent. */
  readonly netscapeCertType: number | undefined
  /** Unix seconds; an unreadable date is Infinity here and -Infinity in `notAfter`, so that no moment is inside. */
  readonly notBefore: number
  readonly notAfter: number
  /** SHA-256 over the DER, lower-case hex without separators. */
  readonly sha256: string
  /** Decimal. */
  readonly serial: string
  /** The rest of the verified chain, the certificate that signed this one first; empty where no chain was verified. */
  readonly issuers: ReadonlyArray<{ readonly sha1: string; readonly sha256: string; readonly serial: string }>
}

/** Borrows `x509`. */
export function decodeCertificate(x509: number): PeerCertificate {
  const subject = libcrypto.X509_get_subject_name(x509) ?? 0
  const keyUsage = libcrypto.X509_get_key_usage(x509)
  const fields = subjectFields(subject)
  return {
    subject: nameText(subject),
    issuer: nameText(libcrypto.X509_get_issuer_name(x509) ?? 0),
    commonName: fields.findLast(([oid]) => oid === OID_commonName)?.[1],
    subjectFields: fields,
    emails: {
      subjectAltName: emails(x509, NID_subject_alt_name),
      issuerAltName: emails(x509, NID_issuer_alt_name),
    },
    keyUsage: keyUsage === 0xffffffff ? undefined : keyUsage,
    extendedKeyUsage: extendedKeyUsage(x509),
    netscapeCertType: netscapeCertType(x509),
    notBefore: unixSeconds(libcrypto.X509_get0_notBefore(x509) ?? 0) ?? Number.POSITIVE_INFINITY,
    notAfter: unixSeconds(libcrypto.X509_get0_notAfter(x509) ?? 0) ?? Number.NEGATIVE_INFINITY,
    sha256: fingerprint(x509, "SHA256"),
    serial: decimalSerial(x509),
    issuers: [],
  }
}

/** With what is known of the verified chain above it. Borrows all of them. */
export function decodePeer(x509: number, issuers: ReadonlyArray<number>): PeerCertificate {
  return {
    ...decodeCertificate(x509),
    issuers: issuers.map((issuer) => ({
      sha1: fingerprint(issuer, "SHA1"),
      sha256: fingerprint(issuer, "SHA256"),
      serial: decimalSerial(issuer),
    })),
  }
}

/** The dotted form of an object that OpenSSL knows by this name, or of a dotted one; undefined for others. */
export function dottedOid(name: string): string | undefined {
  const object = libcrypto.OBJ_txt2obj(cString(name).address, 0)
  libcrypto.ERR_clear_error()
  if (!object) return undefined
  const oid = oidOf(object)
  libcrypto.ASN1_OBJECT_free(object)
  return oid
}

/** Undefined: it is longer than any that means something. Borrows the object. */
function oidOf(object: number): string | undefined {
  const length = libcrypto.OBJ_obj2txt(scratch.address, scratch.bytes.length, object, 1)
  return length > 0 && length < scratch.bytes.length ? text(scratch.bytes.subarray(0, length)) : undefined
}

/** The subject alone, for messages. Borrows `x509`. */
export function certificateSubject(x509: number): string {
  return nameText(libcrypto.X509_get_subject_name(x509) ?? 0)
}

export function nameText(name: number): string {
  return printed((bio) => libcrypto.X509_NAME_print_ex(bio, name, 0, XN_FLAG_SEP_CPLUS_SPC | UTF8_WITHOUT_CONTROLS))
}

function subjectFields(name: number): ReadonlyArray<readonly [string, string]> {
  const fields: Array<readonly [string, string]> = []
  for (let at = 0; at < libcrypto.X509_NAME_entry_count(name); at++) {
    const entry = libcrypto.X509_NAME_get_entry(name, at) ?? 0
    const oid = oidOf(libcrypto.X509_NAME_ENTRY_get_object(entry) ?? 0)
    if (oid !== undefined) fields.push([oid, valueText(libcrypto.X509_NAME_ENTRY_get_data(entry) ?? 0)])
  }
  return fields
}

/** The rfc822Names of an extension with general names; none when it is absent or cannot be read. */
function emails(x509: number, extension: number): ReadonlyArray<string> {
  const names = libcrypto.X509_get_ext_d2i(x509, extension, 0, 0)
  libcrypto.ERR_clear_error()
  if (!names) return []
  const found: Array<string> = []
  for (let index = 0; index < libcrypto.OPENSSL_sk_num(names); index++) {
    const value = libcrypto.GENERAL_NAME_get0_value(libcrypto.OPENSSL_sk_value(names, index) ?? 0, scratch.address)
    if (value && new DataView(scratch.bytes.buffer).getInt32(0, true) === GEN_EMAIL) found.push(valueText(value))
  }
  libcrypto.GENERAL_NAMES_free(names)
  return found
}

/** UTF-8, with control characters as `_`. Borrows the ASN1_STRING. */
function valueText(value: number): string {
  return printed((bio) => libcrypto.ASN1_STRING_print_ex(bio, value, ASN1_STRFLGS_UTF8_CONVERT)).replace(
    /[\u0000-\u001f\u007f]/g,
    "_",
  )
}

function extendedKeyUsage(x509: number): ReadonlyArray<string> | undefined {
  if (libcrypto.X509_get_ext_by_NID(x509, NID_ext_key_usage, -1) < 0) return undefined
  const usages = libcrypto.X509_get_ext_d2i(x509, NID_ext_key_usage, 0, 0)
  if (!usages) return []
  const oids: Array<string> = []
  for (let index = 0; index < libcrypto.OPENSSL_sk_num(usages); index++) {
    const oid = oidOf(libcrypto.OPENSSL_sk_value(usages, index) ?? 0)
    if (oid !== undefined) oids.push(oid)
  }
  libcrypto.EXTENDED_KEY_USAGE_free(usages)
  return oids
}

function netscapeCertType(x509: number): number | undefined {
  if (libcrypto.X509_get_ext_by_NID(x509, NID_netscape_cert_type, -1) < 0) return undefined
  const bits = libcrypto.X509_get_ext_d2i(x509, NID_netscape_cert_type, 0, 0)
  if (!bits) return 0
  const data = libcrypto.ASN1_STRING_get0_data(bits)
  const first = data && libcrypto.ASN1_STRING_length(bits) > 0 ? read.u8(data as Pointer, 0) : 0
  libcrypto.ASN1_BIT_STRING_free(bits)
  return first
}

/** Borrows the ASN1_TIME. */
export function unixSeconds(time: number): number | undefined {
  const epoch = required(libcrypto.ASN1_TIME_set(0, 0), "making a time")
  const difference = new Int32Array(scratch.bytes.buffer, 0, 2)
  const readable = libcrypto.ASN1_TIME_diff(scratch.address, scratch.address + 4, epoch, time) === 1
  libcrypto.ASN1_TIME_free(epoch)
  return readable ? difference[0]! * 86_400 + difference[1]! : undefined
}

function fingerprint(x509: number, digest: "SHA1" | "SHA256"): string {
  const [type, length] = digest === "SHA1" ? [libcrypto.EVP_sha1(), 20] : [libcrypto.EVP_sha256(), 32]
  libcrypto.X509_digest(x509, type ?? 0, scratch.address, scratch.address + 64)
  return scratch.bytes.subarray(0, length).toHex()
}

function decimalSerial(x509: number): string {
  const number = required(
    libcrypto.ASN1_INTEGER_to_BN(libcrypto.X509_get0_serialNumber(x509) ?? 0, 0),
    "reading a serial number",
  )
  const digits = required(libcrypto.BN_bn2dec(number), "reading a serial number")
  const decimal = String(new CString(digits as Pointer))
  libcrypto.CRYPTO_free(digits, 0, 0)
  libcrypto.BN_free(number)
  return decimal
}

/** What `print` writes to a memory BIO. */
function printed(print: (bio: number) => number): string {
  const bio = required(libcrypto.BIO_new(libcrypto.BIO_s_mem() ?? 0), "making a memory BIO")
  const parts: Array<Uint8Array> = []
  print(bio)
  for (;;) {
    const length = libcrypto.BIO_read(bio, scratch.address, scratch.bytes.length)
    if (length <= 0) break
    parts.push(scratch.bytes.slice(0, length))
  }
  libcrypto.BIO_free(bio)
  return text(Buffer.concat(parts))
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

const scratch = allocate(1024)
const GEN_EMAIL = 1
const OID_commonName = "2.5.4.3"
const NID_subject_alt_name = 85
const NID_issuer_alt_name = 86
const NID_netscape_cert_type = 71
const NID_ext_key_usage = 126
/** Values separated by ", ", the parts of a multi-valued one by " + "; short names are the default. */
const XN_FLAG_SEP_CPLUS_SPC = 2 << 16
const ASN1_STRFLGS_UTF8_CONVERT = 0x10
const ASN1_STRFLGS_ESC_CTRL = 0x02
const UTF8_WITHOUT_CONTROLS = ASN1_STRFLGS_UTF8_CONVERT | ASN1_STRFLGS_ESC_CTRL
