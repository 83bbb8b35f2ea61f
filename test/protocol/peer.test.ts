import { describe, expect, test } from "bun:test"
import type { ServerTrust } from "../../src/config/profile.ts"
import { verifyPeer } from "../../src/protocol/peer.ts"
import type { PeerCertificate } from "../../src/protocol/ports.ts"

const certificate: PeerCertificate = {
  subject: "C=KG, ST=NA, O=OpenVPN-TEST, CN=vpn.example.net, emailAddress=me@example.net",
  issuer: "CN=authority",
  commonName: "vpn.example.net",
  subjectFields: [
    ["2.5.4.10", "OpenVPN-TEST"],
    ["2.5.4.3", "first"],
    ["2.5.4.3", "vpn.example.net"],
  ],
  emails: { subjectAltName: ["a@example.net", "b@example.net"], issuerAltName: [] },
  keyUsage: 0xa0,
  extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"],
  netscapeCertType: undefined,
  notBefore: 0,
  notAfter: 4_000_000_000,
  sha256: "ab".repeat(32),
  serial: "11",
  issuers: [{ sha1: "cd".repeat(20), sha256: "cd".repeat(32), serial: "2" }],
}
const trust: ServerTrust = {
  ca: "PEM",
  fingerprints: [],
  issuerFingerprints: undefined,
  revoked: undefined,
  remoteCertTls: undefined,
  remoteCertKu: undefined,
  remoteCertEku: undefined,
  nsCertType: undefined,
  verifyX509Name: undefined,
  x509UsernameFields: ["2.5.4.3"],
}
const verify = (change: Partial<ServerTrust>, peer: Partial<PeerCertificate> = {}) =>
  verifyPeer({ ...trust, ...change }, { ...certificate, ...peer })

describe("remote-cert-tls", () => {
  test("server accepts a certificate with key usage and the server role", () => {
    expect(verify({ remoteCertTls: "server" })).toBeUndefined()
    expect(verify({ remoteCertTls: "server" }, { extendedKeyUsage: ["1.2.3", "1.3.6.1.5.5.7.3.1"] })).toBeUndefined()
  })

  test("refuses another role, and says both", () => {
    expect(verify({ remoteCertTls: "server" }, { extendedKeyUsage: ["1.3.6.1.5.5.7.3.2"] })).toEqual({
      check: "purpose",
      message:
        "remote-cert-tls server: expected extended key usage serverAuth (1.3.6.1.5.5.7.3.1), the certificate has 1.3.6.1.5.5.7.3.2",
    })
    expect(verify({ remoteCertTls: "client" })?.check).toBe("purpose")
  })

  test("refuses a certificate without either extension", () => {
    expect(verify({ remoteCertTls: "server" }, { keyUsage: undefined })?.message).toContain("no key usage")
    expect(verify({ remoteCertTls: "server" }, { extendedKeyUsage: undefined })?.message).toContain("has none")
  })

  test("absent asks for neither", () => {
    expect(verify({}, { keyUsage: undefined, extendedKeyUsage: undefined })).toBeUndefined()
  })
})

describe("verify-x509-name", () => {
  const named = (form: "subject" | "name" | "name-prefix", value: string, peer: Partial<PeerCertificate> = {}) =>
    verify({ verifyX509Name: { form, value } }, peer)

  test("name is the whole common name", () => {
    expect(named("name", "vpn.example.net")).toBeUndefined()
    for (const value of ["vpn.example", "vpn.example.net.evil", "VPN.example.net", ""])
      expect(named("name", value)?.check).toBe("name")
  })

  test("name-prefix is its beginning", () => {
    expect(named("name-prefix", "vpn.")).toBeUndefined()
    expect(named("name-prefix", "pn.")?.check).toBe("name")
  })

  test("subject is everything", () => {
    expect(named("subject", certificate.subject)).toBeUndefined()
    expect(named("subject", "CN=vpn.example.net")).toEqual({
      check: "name",
      message: `verify-x509-name: expected subject "CN=vpn.example.net", the certificate has "${certificate.subject}"`,
    })
  })

  test("a certificate without common name has none that matches", () => {
    expect(named("name", "x", { subjectFields: [["2.5.4.10", "x"]] })?.message).toContain("no such name")
  })

  test("x509-username-field says what the name is: the last of each field, joined", () => {
    const expected = (x509UsernameFields: ServerTrust["x509UsernameFields"], value: string) =>
      verify({ x509UsernameFields, verifyX509Name: { form: "name", value } })
    expect(expected(["2.5.4.10"], "OpenVPN-TEST")).toBeUndefined()
    expect(expected(["2.5.4.10"], "vpn.example.net")?.message).toContain('the certificate has "OpenVPN-TEST"')
    expect(expected(["ext:subjectAltName", "2.5.4.3"], "b@example.net_vpn.example.net")).toBeUndefined()
    expect(expected(["serialNumber"], "0x0B")).toBeUndefined()
    expect(expected(["ext:issuerAltName"], "undefined")?.message).toContain("no such name")
    expect(expected(["2.5.4.3", "2.5.4.42"], "vpn.example.net_undefined")?.message).toContain("no such name")
  })

  test("control characters in a certificate neither match nor reach the log", () => {
    const refusal = named("name", "a\nb", { subjectFields: [["2.5.4.3", "a\nb"]] })
    expect(refusal?.message).toContain('the certificate has "a_b"')
  })
})

describe("peer-fingerprint", () => {
  test("accepts any that is listed", () => {
    expect(verify({ fingerprints: ["cd".repeat(32), "ab".repeat(32)] })).toBeUndefined()
  })

  test("refuses every other, naming both", () => {
    const refusal = verify({ fingerprints: ["cd".repeat(32)] })
    expect(refusal).toEqual({
      check: "fingerprint",
      message: `peer-fingerprint: expected ${"cd".repeat(32)}, the certificate has ${"ab".repeat(32)}`,
    })
  })
})

describe("remote-cert-ku, remote-cert-eku and ns-cert-type", () => {
  test("want all bits of one of the values, or any usage when there is no value", () => {
    expect(verify({ remoteCertKu: [0x06, 0xa0] })).toBeUndefined()
    expect(verify({ remoteCertKu: [0x80] })).toBeUndefined()
    expect(verify({ remoteCertKu: [] })).toBeUndefined()
    expect(verify({ remoteCertKu: [0xa8] })?.message).toBe(
      "remote-cert-ku: expected all bits of 0xa8, the certificate has 0xa0",
    )
    for (const remoteCertKu of [[], [0x80]])
      expect(verify({ remoteCertKu }, { keyUsage: undefined })?.check).toBe("purpose")
  })

  test("want the extended usage, which an absent extension has not", () => {
    expect(verify({ remoteCertEku: "1.3.6.1.5.5.7.3.1" })).toBeUndefined()
    expect(verify({ remoteCertEku: "1.3.6.1.5.5.7.3.17" })?.check).toBe("purpose")
    expect(verify({ remoteCertEku: "1.3.6.1.5.5.7.3.1" }, { extendedKeyUsage: undefined })?.check).toBe("purpose")
  })

  test("take neither a contradiction nor silence for the role", () => {
    const peer = (netscapeCertType: number | undefined, extendedKeyUsage: ReadonlyArray<string> | undefined) =>
      verify({ nsCertType: "server" }, { netscapeCertType, extendedKeyUsage })?.check
    expect(peer(0x40, undefined)).toBeUndefined()
    expect(peer(undefined, ["1.3.6.1.5.5.7.3.1"])).toBeUndefined()
    expect(peer(0x80, ["1.3.6.1.5.5.7.3.1"])).toBe("purpose")
    expect(peer(0x40, ["1.3.6.1.5.5.7.3.2"])).toBe("purpose")
    expect(peer(undefined, undefined)).toBe("purpose")
  })
})

describe("verify-hash", () => {
  const hash = (values: readonly [string, ...Array<string>], digest: "SHA1" | "SHA256" = "SHA256") =>
    ({ issuerFingerprints: { digest, values } }) as const

  test("is the signing certificate's, of either digest, any of several", () => {
    expect(verify(hash(["cd".repeat(32)]))).toBeUndefined()
    expect(verify(hash(["cd".repeat(20)], "SHA1"))).toBeUndefined()
    expect(verify(hash(["00".repeat(32), "cd".repeat(32)]))).toBeUndefined()
  })

  test("is not the leaf's own, and not there without a verified chain", () => {
    expect(verify(hash(["ab".repeat(32)]))?.check).toBe("fingerprint")
    expect(verify(hash(["cd".repeat(32)]), { issuers: [] })?.message).toContain("there is no such certificate")
  })
})
