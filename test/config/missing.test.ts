/** What a file must have, and what may take its place. */
import { describe, expect, test } from "bun:test"
import { ca, certificate, errorsOf, minimal, notesOf, privateKey, profileOf } from "./fixtures.ts"

describe("what is missing", () => {
  test("a server, a mode, trust and a proof of who we are: all said at once", () => {
    const messages = errorsOf("verb 3\n")
    expect(messages).toHaveLength(4)
    expect(messages.every((message) => message.startsWith("1:1: error: "))).toBe(true)
    expect(messages.join("\n")).toContain("no server is given (add a line such as: remote vpn.example.com 1194 udp)")
    expect(messages.join("\n")).toContain("add a line: client")
    expect(messages.join("\n")).toContain("neither ca nor peer-fingerprint")
    expect(messages.join("\n")).toContain("neither a certificate nor auth-user-pass")
  })

  test("is not missing when it stands there with a fault", () => {
    expect(errorsOf("client\nremote a b\nauth-user-pass x y\n<ca>\n</ca>\n")).toEqual([
      '2:10: error: remote: expected a whole number from 1 to 65535, not "b"',
      '3:18: error: unexpected this word after "auth-user-pass" (usage: auth-user-pass [file])',
      "4:1: error: ca: there is no certificate in it: no PEM section at all",
    ])
  })

  test("is not complained about after a block that never ends", () => {
    expect(errorsOf("<ca>\nclient\nremote a\n")).toEqual([
      "1:1: error: the block <ca> is not closed (add a line </ca> after its content)",
    ])
  })

  test("a fingerprint can take the place of ca; nothing can take the place of both", () => {
    const fingerprint = new Array(32).fill("Ab").join(":")
    const base = "client\nremote a\nauth-user-pass\n"
    expect(profileOf(`${base}peer-fingerprint ${fingerprint}`).trust).toMatchObject({
      ca: undefined,
      fingerprints: ["ab".repeat(32)],
    })
    expect(
      profileOf(
        `${base}<peer-fingerprint>\n# one\n${fingerprint}\n\n${fingerprint.replace("Ab", "00")}\n</peer-fingerprint>`,
      ).trust.fingerprints,
    ).toHaveLength(2)
    expect(errorsOf(`${base}remote-cert-tls server`)).toHaveLength(1)
  })

  test("a block of fingerprints that holds none is no proof of anything", () => {
    const base = "client\nremote a\nauth-user-pass\n"
    expect(errorsOf(`${base}<peer-fingerprint>\n# none\n</peer-fingerprint>`)).toEqual([
      "4:1: error: the block <peer-fingerprint> holds nothing (usage: peer-fingerprint fingerprint)",
    ])
    expect(errorsOf(minimal("<verify-hash>\n</verify-hash>"))).toHaveLength(1)
  })

  test("a certificate needs its key and a key its certificate", () => {
    const base = `client\nremote a\n${ca}`
    expect(errorsOf(`${base}<cert>\n${certificate}</cert>`).join()).toContain('"cert" needs "key" as well')
    expect(errorsOf(`${base}<key>\n${privateKey}</key>`).join()).toContain('"key" needs "cert" as well')
    expect(profileOf(`${base}<cert>\n${certificate}</cert>\n<key>\n${privateKey}</key>`).identity).toMatchObject({
      _tag: "Pem",
      certificate,
    })
  })

  test("setenv CLIENT_CERT 0 says that no proof is wanted", () => {
    expect(profileOf(`client\nremote a\nsetenv CLIENT_CERT 0\n${ca}`)).toMatchObject({
      identity: undefined,
      credentials: undefined,
    })
  })

  test("a server that any certificate of the authority can impersonate is warned about", () => {
    expect(notesOf(`client\nremote a\nauth-user-pass\n${ca}`)).toEqual([
      "4:1: warning: any certificate that leads to this authority can pass as the server (add a line: remote-cert-tls server)",
    ])
  })
})
