import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { needs } from "../../src/config/index.ts"
import {
  certificate,
  errorsOf,
  files,
  minimal,
  notesOf,
  otherCertificate,
  privateKey,
  profileOf,
  revealed,
  staticKey,
} from "./fixtures.ts"

const withKey = (key: string) => minimal(`<cert>\n${certificate}</cert>\n<key>\n${key}</key>`)
const keyLine = 4 + certificate.split("\n").length + 3

describe("files", () => {
  test("are asked for with place and size; cd goes before relative names", () => {
    expect(needs(minimal("cd keys/\ncert my.crt\nkey /abs/my.key\ntls-auth ta.key 1"), "client.ovpn")).toEqual([
      { path: "keys/ta.key", directive: "tls-auth", kind: "file", line: 8, column: 10, maximumBytes: 65536 },
      { path: "keys/my.crt", directive: "cert", kind: "file", line: 6, column: 6, maximumBytes: 1048576 },
      { path: "/abs/my.key", directive: "key", kind: "file", line: 7, column: 5, maximumBytes: 65536 },
    ])
  })

  test("may be directories, of which only that they are there is asked", () => {
    expect(needs(minimal("crl-verify revoked dir"), "client.ovpn")).toEqual([
      { path: "revoked", directive: "crl-verify", kind: "directory", line: 5, column: 12, maximumBytes: 0 },
    ])
    expect(errorsOf(minimal("crl-verify revoked dir"))).toEqual([
      '5:12: error: crl-verify: cannot read "revoked": no such file',
    ])
  })

  test("that cannot be read are errors at the name", () => {
    expect(errorsOf(minimal("auth-user-pass login"))).toEqual([
      '5:16: error: auth-user-pass: cannot read "login": no such file',
    ])
  })

  test("that are too large are refused", () => {
    const large = () => Result.succeed(new Uint8Array(70_000))
    expect(errorsOf(minimal("tls-crypt k"), large)).toEqual([
      '5:11: error: tls-crypt: cannot read "k": it has 70000 bytes, at most 65536 are allowed',
    ])
  })

  test("of several servers are read once", () => {
    let reads = 0
    const read = () => {
      reads++
      return Result.succeed(new TextEncoder().encode(staticKey))
    }
    expect(profileOf(minimal("remote b\nremote c\ntls-crypt k"), read).remotes).toHaveLength(3)
    expect(reads).toBe(1)
  })

  test("report their own line numbers at the directive", () => {
    const read = files({ k: staticKey.replace("000102", "00010x") })
    expect(errorsOf(minimal("tls-crypt k"), read)).toEqual([
      '5:11: error: tls-crypt: in "k", line 4: the key is not hex here',
    ])
  })
})

describe("certificates and keys", () => {
  test("may have text around them, which is left out", () => {
    const text = `Certificate:\n    Data: x\n${certificate}\n# second\n${otherCertificate}trailing`
    expect(profileOf(minimal().replace(certificate, `${text}\n`)).trust.ca).toBe(certificate + otherCertificate)
  })

  test("extra-certs join the chain", () => {
    const identity = profileOf(`${withKey(privateKey)}\n<extra-certs>\n${otherCertificate}</extra-certs>`).identity
    expect(revealed(identity)).toEqual({
      _tag: "Pem",
      certificate: certificate + otherCertificate,
      key: { secret: privateKey },
      passphrase: undefined,
    })
  })

  test("an encrypted key is accepted in either form, and mentioned", () => {
    const modern = privateKey.replaceAll("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    const old = `-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n`
    for (const key of [modern, old]) {
      expect(notesOf(withKey(key)).join()).toContain("info: the private key is encrypted")
      expect(revealed(profileOf(withKey(key)).identity)).toMatchObject({ key: { secret: key } })
    }
  })

  const damages: ReadonlyArray<readonly [string, string, number, string]> = [
    [
      "no END line",
      privateKey.replace(/-----END.*\n/, ""),
      0,
      'the section PRIVATE KEY has no line "-----END PRIVATE KEY-----"',
    ],
    [
      "a character outside of the alphabet",
      privateKey.replace(/\n(.)(.*)\n(.)/, "\n$1$2\n*"),
      2,
      "the section PRIVATE KEY is not base64 here",
    ],
    [
      "a lost character",
      privateKey.replace(/(.)\n-----END/, "\n-----END"),
      0,
      "the section PRIVATE KEY is not base64: characters are missing",
    ],
    [
      "a lost line",
      privateKey.replace(/\n.{64}\n/, "\n"),
      0,
      "the section PRIVATE KEY is not complete: its length does not match its content",
    ],
    ["a certificate instead", certificate, 0, "there is no private key in it: only CERTIFICATE"],
    ["nothing", "\n", 0, "there is no private key in it: no PEM section at all"],
    ["two keys", privateKey + privateKey, privateKey.split("\n").length - 1, "there is more than one private key"],
  ]
  for (const [what, key, offset, message] of damages) {
    test(`a key with ${what} is an error at its line`, () => {
      expect(errorsOf(withKey(key))).toEqual([`${keyLine + offset}:1: error: key: ${message}`])
    })
  }
})

describe("static keys", () => {
  const errorFor = (key: string) => errorsOf(minimal(`<tls-auth>\n${key}</tls-auth>`))

  test("have 256 bytes of hex between their markers", () => {
    expect(errorFor(staticKey)).toEqual([])
    expect(errorFor(staticKey.replace("000102", "0102"))).toEqual([
      "8:1: error: tls-auth: the key has 255 bytes, it must have 256",
    ])
    expect(errorFor(staticKey.replace("000102", "0001zz"))).toEqual(["9:1: error: tls-auth: the key is not hex here"])
    expect(errorFor(staticKey.replace(/-----END.*/, ""))).toEqual([
      '8:1: error: tls-auth: the key has no line "-----END OpenVPN Static key V1-----"',
    ])
    expect(errorFor("00\n")).toEqual(['6:1: error: tls-auth: there is no line "-----BEGIN OpenVPN Static key V1-----"'])
  })
})

describe("credentials", () => {
  const errorFor = (content: string) => errorsOf(minimal(`<auth-user-pass>\n${content}</auth-user-pass>`))

  test("have a name on the first line", () => {
    expect(errorFor("\nx\n")).toEqual([
      "6:1: error: auth-user-pass: the user name is missing: it is expected on the first line",
    ])
  })

  test("may leave the password to be asked for", () => {
    for (const content of ["alice\n", "alice\n\n"]) {
      const text = minimal().replace("auth-user-pass", `<auth-user-pass>\n${content}</auth-user-pass>`)
      expect(profileOf(text).credentials).toEqual({ _tag: "Ask", username: "alice", challenge: undefined })
      expect(notesOf(text)).toEqual([
        "4:1: info: the password is not given along with the user name: it is needed at start",
      ])
    }
  })

  test("are printable text of at most 4096 characters", () => {
    expect(errorFor("alice\nx\u0001y\n")).toEqual(["7:1: error: auth-user-pass: the line is not printable UTF-8 text"])
    expect(errorFor(`${"a".repeat(4097)}\nx\n`)).toHaveLength(1)
    const notText = () => Result.succeed(Uint8Array.of(0x61, 0xff, 0x0a, 0x62))
    expect(errorsOf(minimal("auth-user-pass f"), notText)).toHaveLength(1)
  })
})
