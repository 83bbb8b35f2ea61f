/** Directives that the protocol, the network or the sockets carry out: each has its place in the profile. */
import { describe, expect, test } from "bun:test"
import type { DirectiveName } from "../../src/config/directives.ts"
import { print } from "../../src/config/index.ts"
import {
  ca,
  certificate,
  diagnosticsOf,
  expectSameProfile,
  files,
  minimal,
  parsed,
  privateKey,
  profileOf,
  revealed,
  staticKey,
} from "./fixtures.ts"

const sha1 = new Array(20).fill("ab").join(":")
const sha256 = new Array(32).fill("cd").join(":")
const pkcs12 = Buffer.from([0x30, 0x03, 0x02, 0x01, 0x03])
const clientKey = (wrappedLength: number, stated = wrappedLength) => {
  const bytes = Buffer.alloc(256 + wrappedLength, 7)
  bytes.writeUInt16BE(stated, bytes.length - 2)
  const label = "OpenVPN tls-crypt-v2 client key"
  return `-----BEGIN ${label}-----\n${bytes
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n")}\n-----END ${label}-----\n`
}
const crl = certificate.replaceAll("CERTIFICATE", "X509 CRL")
const sideFiles = files({
  "v2.key": clientKey(300),
  "ta.key": staticKey,
  "crl.pem": crl,
  pass: "hunter2\n",
  login: "alice\np\n",
})

/** One line for each directive that the protocol, the network or the sockets have to carry out. */
const lines: Partial<Record<DirectiveName, string>> = {
  float: "float",
  fragment: "fragment 1300 mtu",
  "http-proxy": "http-proxy proxy.example 8080 login basic\nproto tcp",
  "http-proxy-option": "http-proxy-option VERSION 1.1\nhttp-proxy proxy.example 8080\nproto tcp",
  "http-proxy-user-pass": "<http-proxy-user-pass>\nalice\np\n</http-proxy-user-pass>\nhttp-proxy p 1 auto\nproto tcp",
  "socks-proxy": "socks-proxy proxy.example 1081 login\nproto tcp",
  "socks-proxy-user-pass": "socks-proxy proxy.example\n<socks-proxy-user-pass>\na\nb\n</socks-proxy-user-pass>",
  "allow-pull-fqdn": "allow-pull-fqdn",
  sndbuf: "sndbuf 100000",
  rcvbuf: "rcvbuf 100000",
  mark: "mark 7",
  "bind-dev": "bind-dev eth1",
  passtos: "passtos",
  "ifconfig-noexec": "ifconfig-noexec",
  "route-noexec": "route-noexec",
  "route-ipv6-gateway": "route-ipv6-gateway fd00::1",
  "dhcp-option": "dhcp-option DNS 1.1.1.1",
  dns: "dns server 1 address 1.1.1.1",
  pkcs12: `<pkcs12>\n${pkcs12.toString("base64")}\n</pkcs12>`,
  askpass: `askpass pass\n<pkcs12>\n${pkcs12.toString("base64")}\n</pkcs12>`,
  "static-challenge": 'static-challenge "Your code?" 1',
  "verify-hash": `verify-hash ${sha1}`,
  "crl-verify": "crl-verify crl.pem",
  "remote-cert-ku": "remote-cert-ku a0 88",
  "remote-cert-eku": "remote-cert-eku serverAuth",
  "ns-cert-type": "ns-cert-type server",
  "x509-username-field": "x509-username-field ext:subjectAltName CN",
  "tls-crypt-v2": "tls-crypt-v2 v2.key",
  compress: "compress stub-v2",
  "comp-lzo": "comp-lzo no",
  "allow-compression": "allow-compression asym\ncomp-lzo yes",
}

describe("the profile says it, and prints and parses back", () => {
  for (const [name, text] of Object.entries(lines)) {
    test(name, () => {
      const { profile } = parsed(minimal(text), sideFiles)
      const plain = profileOf(minimal())
      expect(revealed(profile)).not.toEqual(revealed(plain))
      const again = parsed(print(profile, { secrets: true })).profile
      expectSameProfile(again, profile)
    })
  }

  test("a static key instead of TLS", () => {
    const text = `dev tun\nremote peer.example\nifconfig 10.0.0.1 10.0.0.2\ncipher AES-256-CBC\nsecret ta.key 1\nauth SHA256\n`
    const { profile } = parsed(text, sideFiles)
    expect(profile).toMatchObject({
      mode: "static-key",
      cipher: "AES-256-CBC",
      staticKey: { direction: 1 },
      pull: false,
    })
    expectSameProfile(parsed(print(profile, { secrets: true })).profile, profile)
  })

  test("tap", () => {
    expect(profileOf(minimal("dev tap3")).device).toEqual({ type: "tap", name: "tap3" })
  })
})

describe("values", () => {
  const value = (text: string) => profileOf(minimal(text), sideFiles)

  test("of proxies", () => {
    expect(revealed(value(lines["http-proxy"]!).remotes[0].proxy)).toEqual({
      _tag: "Http",
      host: "proxy.example",
      port: 8080,
      authentication: { method: "basic", login: { _tag: "Given", username: "alice", password: { secret: "p" } } },
      version: "1.0",
      userAgent: undefined,
      headers: [],
    })
    expect(value("http-proxy p 1 auto-nct\nproto tcp").remotes[0].proxy).toMatchObject({
      authentication: { method: "any-but-basic", login: { _tag: "Ask" } },
    })
    expect(value("socks-proxy p").remotes[0].proxy).toEqual({ _tag: "Socks", host: "p", port: 1080, login: undefined })
  })

  test("of trust", () => {
    expect(value(`verify-hash ${sha1}\nremote-cert-ku a0 88\nns-cert-type server`).trust).toMatchObject({
      issuerFingerprints: { digest: "SHA1", values: ["ab".repeat(20)] },
      remoteCertKu: [0xa0, 0x88],
      nsCertType: "server",
    })
    expect(value(`<verify-hash>\n${sha256}\n${sha256.replace("cd", "00")}\n</verify-hash>`).trust).toMatchObject({
      issuerFingerprints: { digest: "SHA256", values: ["cd".repeat(32), `00${"cd".repeat(31)}`] },
    })
    expect(value("crl-verify crls dir").trust.revoked).toEqual({ _tag: "Directory", path: "crls" })
    expect(value("cd conf\ncrl-verify crls dir").trust.revoked).toEqual({ _tag: "Directory", path: "conf/crls" })
  })

  test("of identity: PKCS#12 with a passphrase stands for certificate and key, and for the authority", () => {
    const text = `client\nremote a\naskpass pass\n${lines.pkcs12}\n`
    expect(revealed(profileOf(text, sideFiles).identity)).toEqual({
      _tag: "Pkcs12",
      bytes: { secret: pkcs12.toString("hex") },
      chain: undefined,
      passphrase: { secret: "hunter2" },
    })
    const errors = diagnosticsOf(`${text}<cert>\n${certificate}</cert>\n<key>\n${privateKey}</key>\n`, sideFiles).map(
      ({ message }) => message,
    )
    expect(errors.filter((message) => message.includes("cannot both be given"))).toHaveLength(2)
  })

  test("of compression: the framing, and whether compressed packets are taken", () => {
    const of = (text: string) => value(text).compression
    expect(of("comp-lzo")).toEqual({ framing: "lzo", allow: "asym" })
    expect(of("comp-lzo no")).toEqual({ framing: "lzo-off", allow: "asym" })
    expect(of("compress")).toEqual({ framing: "stub", allow: "asym" })
    expect(of("compress stub-v2\nallow-compression no")).toEqual({ framing: "stub-v2", allow: "no" })
    expect(of("compress migrate")).toBeUndefined()
  })

  test("of dns, servers by their number", () => {
    const text =
      "dns server 2 address 1.1.1.1:53 [fd00::1]:5353\ndns server -1 address fd00::2\ndns server -1 dnssec yes\ndns server 2 resolve-domains corp.example\ndns search-domains a.example b.example"
    expect(value(text).network.dns).toEqual({
      servers: [
        {
          priority: -1,
          addresses: [{ address: "fd00::2", port: undefined }],
          resolveDomains: [],
          dnssec: "yes",
          transport: undefined,
          sni: undefined,
        },
        {
          priority: 2,
          addresses: [
            { address: "1.1.1.1", port: 53 },
            { address: "fd00::1", port: 5353 },
          ],
          resolveDomains: ["corp.example"],
          dnssec: undefined,
          transport: undefined,
          sni: undefined,
        },
      ],
      searchDomains: ["a.example", "b.example"],
    })
    expectSameProfile(parsed(print(value(text))).profile, value(text))
  })

  test("of tls-crypt-v2: the key, and what only the server can read", () => {
    expect(revealed(value("tls-crypt-v2 v2.key").remotes[0].controlWrapping)).toMatchObject({
      _tag: "TlsCryptV2",
      key: { secret: "07".repeat(256) },
    })
    const broken = files({ "v2.key": clientKey(300, 299) })
    expect(diagnosticsOf(minimal("tls-crypt-v2 v2.key"), broken).map(({ message }) => message)).toEqual([
      'tls-crypt-v2: in "v2.key", line 1: the key is not complete: its length does not match its content',
    ])
  })
})

test("a static key without a digest would leave packets without authentication", () => {
  const text = "dev tun\nremote a\nifconfig 10.0.0.1 10.0.0.2\ncipher AES-256-CBC\nsecret ta.key\nauth none\n"
  expect(diagnosticsOf(text, sideFiles).map(({ line, severity }) => [line, severity])).toEqual([
    [5, "warning"],
    [5, "warning"],
    [6, "error"],
  ])
})

test("a static key and TLS contradict each other, each line by name", () => {
  const text = `secret ta.key\ncipher AES-256-CBC\nremote a\nclient\n${ca}`
  const errors = diagnosticsOf(text, sideFiles).filter(({ severity }) => severity === "error")
  expect(errors.map(({ line, message }) => `${line}: ${message}`)).toEqual([
    '1: "secret" and "client" (line 4) cannot both be given',
    '5: "ca" and "secret" (line 1) cannot both be given: a static key needs no TLS',
  ])
})
