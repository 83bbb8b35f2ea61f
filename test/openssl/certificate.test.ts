import { afterAll, describe, expect, test } from "bun:test"
import { type PeerCertificate, TlsContext, type TlsOptions } from "../../src/openssl/index.ts"
import { Authority, type Issued, SERIAL, SERVER } from "./authority.ts"
import { exchange } from "./exchange.ts"

const authority = new Authority("rsa")
afterAll(() => authority.remove())

/** The facts that a client sees of this server, whether a chain check would like them or not. */
function facts(identity: Issued): PeerCertificate {
  const options: TlsOptions = {
    ca: undefined,
    certificate: undefined,
    key: undefined,
    minimum: "1.2",
    certProfile: "insecure",
    verify: () => undefined,
  }
  using clients = TlsContext.create(options)
  using servers = TlsContext.create({ ...options, ...identity })
  using client = clients.connect()
  using server = servers.accept()
  exchange(client, server)
  if (client.state.tag !== "open" || client.state.peer === undefined) throw new Error(JSON.stringify(client.state))
  return client.state.peer
}

describe("a certificate with everything", () => {
  const subject = "/C=KG/ST=NA/O=OpenVPN-TEST/CN=first/CN=server/emailAddress=me@example.net"
  const names = [
    "subjectAltName=DNS:x.example,email:a@example.net,email:b@example.net",
    "issuerAltName=email:c@example.net",
  ]
  const extensions = [...SERVER, "nsCertType=server", ...names]
  const identity = authority.issue("server", "rsa", extensions, subject)
  const peer = facts(identity)
  const asOpenSslSays = (...args: Array<string>) =>
    authority.openssl(["x509", "-in", "server.crt", "-noout", ...args]).trim()

  test("subject and issuer in OpenVPN's form", () => {
    expect(peer.subject).toBe("C=KG, ST=NA, O=OpenVPN-TEST, CN=first, CN=server, emailAddress=me@example.net")
    expect(peer.issuer).toBe("CN=Test Authority")
  })

  test("the last common name", () => {
    expect(peer.commonName).toBe("server")
  })

  test("each field of the subject, and the mail addresses of its other names", () => {
    expect(peer.subjectFields.map(([, value]) => value)).toEqual([
      ...["KG", "NA", "OpenVPN-TEST", "first", "server", "me@example.net"],
    ])
    expect(peer.subjectFields.at(-2)).toEqual(["2.5.4.3", "server"])
    expect(peer.emails).toEqual({
      subjectAltName: ["a@example.net", "b@example.net"],
      issuerAltName: ["c@example.net"],
    })
  })

  test("key usage, extended key usage, Netscape type", () => {
    expect(peer.keyUsage).toBe(0xa0)
    expect(peer.extendedKeyUsage).toEqual(["1.3.6.1.5.5.7.3.1"])
    expect(peer.netscapeCertType).toBe(0x40)
  })

  test("dates, fingerprint and serial number as the openssl command prints them", () => {
    expect(peer.notBefore).toBe(Date.parse(asOpenSslSays("-startdate").replace("notBefore=", "")) / 1000)
    expect(peer.notAfter).toBe(Date.parse(asOpenSslSays("-enddate").replace("notAfter=", "")) / 1000)
    const fingerprint = asOpenSslSays("-fingerprint", "-sha256").replace(/^.*=/, "").replaceAll(":", "")
    expect(peer.sha256).toBe(fingerprint.toLowerCase())
    expect(peer.serial).toBe(SERIAL)
  })
})

test("what is absent is undefined, not empty", () => {
  const peer = facts(authority.issue("bare", "ec", [], "/O=Nameless"))
  expect(peer.subject).toBe("O=Nameless")
  expect(peer).toMatchObject({
    commonName: undefined,
    keyUsage: undefined,
    extendedKeyUsage: undefined,
    netscapeCertType: undefined,
  })
})

test("several usages, of which one has no name", () => {
  const extensions = [
    "extendedKeyUsage=serverAuth,clientAuth,1.3.6.1.4.1.99999.7",
    "keyUsage=keyAgreement,decipherOnly",
  ]
  const peer = facts(authority.issue("usages", "ec", extensions))
  expect(peer.extendedKeyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.99999.7"])
  expect(peer.keyUsage).toBe(0x8008)
})

test("extensions that cannot be decoded are present and empty", () => {
  const extensions = ["2.5.29.37=DER:0500", "2.16.840.1.113730.1.1=DER:0500"]
  const peer = facts(authority.issue("broken", "ec", extensions))
  expect(peer.extendedKeyUsage).toEqual([])
  expect(peer.netscapeCertType).toBe(0)
})

test("UTF-8 stays, control characters cannot forge a line or a field", () => {
  const peer = facts(authority.issue("odd", "ec", [], "/O=Zürich, Inc./CN=a\nb"))
  expect(peer.subject).toBe("O=Zürich, Inc., CN=a\\0Ab")
  expect(peer.commonName).toBe("a_b")
})

test("dates beyond 2050 are read, too", () => {
  authority.issue("late", "ec")
  const sign = ["x509", "-req", "-in", "late.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "20000"]
  authority.openssl([...sign, "-out", "late.crt"])
  const peer = facts({ certificate: authority.read("late.crt"), key: authority.read("late.key") })
  expect(peer.notAfter - peer.notBefore).toBe(20_000 * 86_400)
})

test("no moment is within dates that cannot be read", () => {
  const { certificate, key } = authority.issue("undated", "ec")
  const der = Uint8Array.fromBase64(certificate.replace(/-----[^-]+-----|\s/g, ""))
  // Both dates are UTCTime (tag 0x17, 13 bytes, YYMMDDHHMMSSZ): month 99.
  for (let at = 0; at < der.length - 15; at++) {
    if (der[at] === 0x17 && der[at + 1] === 13 && der[at + 14] === 0x5a) der.fill(0x39, at + 4, at + 6)
  }
  const peer = facts({
    certificate: `-----BEGIN CERTIFICATE-----\n${lines(der.toBase64())}-----END CERTIFICATE-----\n`,
    key,
  })
  expect(peer.notBefore).toBe(Number.POSITIVE_INFINITY)
  expect(peer.notAfter).toBe(Number.NEGATIVE_INFINITY)
})

const lines = (base64: string) => base64.replace(/.{1,64}/g, "$&\n")
