/** What becomes of a directive that is not honoured: unknown, refused, or without effect. */
import { describe, expect, test } from "bun:test"
import { errorsOf, minimal, noFiles, notesOf, profileOf } from "./fixtures.ts"

describe("unknown directives", () => {
  test("are errors, with the nearest name", () => {
    expect(errorsOf(minimal("data-ciphers-fallbacks AES-256-GCM\nfoo bar\nVerb 3\n<<<<<<< HEAD"))).toEqual([
      '5:1: error: unknown directive "data-ciphers-fallbacks" (did you mean "data-ciphers-fallback"?)',
      '6:1: error: unknown directive "foo"',
      '7:1: error: unknown directive "Verb" (names are written in lower case: "verb")',
      '8:1: error: unknown directive "<<<<<<<" (this is a merge conflict marker: resolve the conflict)',
    ])
  })

  test("are not matched by prefix", () => {
    expect(errorsOf(minimal("dhcp-options DNS 1.1.1.1\nupdate now\nlogging on"))).toHaveLength(3)
  })

  test("names that every object has are unknown too", () => {
    expect(errorsOf(minimal("constructor\n__proto__ x\n<tostring>\n</tostring>\ntoString"))).toHaveLength(4)
  })

  test("may be allowed one by one, by name, or altogether", () => {
    expect(notesOf(minimal("setenv opt foo bar"))).toEqual([
      '5:12: info: unknown directive "foo"; skipped as the file says',
    ])
    expect(notesOf(minimal("foo\nignore-unknown-option foo bar\nbar"))).toHaveLength(2)
    expect(notesOf(minimal("foo\nsetenv FORWARD_COMPATIBLE 1"))).toHaveLength(1)
  })

  test("setenv opt takes a known directive as it is", () => {
    expect(profileOf(minimal("setenv opt hand-window 20")).timers.handWindow).toBe(20)
    expect(errorsOf(minimal("setenv opt hand-window x"))).toHaveLength(1)
  })

  test("refused ones stay refused whatever the file says", () => {
    expect(errorsOf(minimal("setenv opt no-iv\nignore-unknown-option no-iv\nno-iv"))).toHaveLength(2)
  })
})

describe("refused directives", () => {
  const lines = [
    "client-nat snat 10.0.0.0 255.0.0.0 11.0.0.0",
    "proto tcp\nhttp-proxy proxy.example 8080 auto ntlm2",
    "dev null",
    "no-replay",
    "no-iv",
    "tls-server",
    "server 10.0.0.0 255.0.0.0",
    "plugin x.so",
    "proto tcp-server",
    "mode server",
    "key-method 1",
    "config other.ovpn",
    "auth SHA3-256",
    "auth-token x",
    "tls-verify x",
    "capath /etc/ssl/certs",
    "setenv GENERIC_CONFIG",
    "allow-compression no\ncomp-lzo yes",
  ]
  for (const line of lines) {
    test(line.replace("\n", ", "), () => {
      const errors = errorsOf(minimal(line), noFiles)
      expect(errors).toHaveLength(1)
      expect(errors[0]).toMatch(/^[56]:\d+: error: /)
    })
  }
})

describe("directives without effect", () => {
  test("say why, once each", () => {
    expect(notesOf(minimal("persist-key\nblock-outside-dns\nup /etc/up.sh\n<dh>\nx\n</dh>"))).toEqual([
      '5:1: info: "persist-key" has no effect here: keys are always kept in memory',
      '6:1: info: "block-outside-dns" has no effect here: it concerns Windows',
      '7:1: warning: "up" has no effect here: no scripts are run',
      '8:2: info: "dh" has no effect here: it concerns servers',
    ])
  })

  test("cipher is negotiated instead, as in OpenVPN 2.6", () => {
    expect(profileOf(minimal("cipher AES-256-CBC")).dataCiphers).toHaveLength(3)
    expect(notesOf(minimal("cipher AES-256-CBC"))).toEqual([
      '5:8: warning: cipher "AES-256-CBC" is not used: the server chooses from data-ciphers (AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305) (to offer it as well: data-ciphers AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305:AES-256-CBC)',
    ])
    expect(notesOf(minimal("cipher aes-256-gcm"))).toEqual([])
  })

  test("auth none is harmless, except with tls-auth", () => {
    expect(profileOf(minimal("auth none")).auth).toBe("SHA1")
    expect(errorsOf(minimal("auth none\ntls-auth k")).join()).toContain(
      '"auth none" leaves "tls-auth" without a digest',
    )
  })
})

test("options of DHCP that nobody here asks for are said to have no effect", () => {
  const noEffect = "has no effect here: it is asked for name servers and search domains alone"
  expect(notesOf(minimal("dhcp-option DNS 1.1.1.1\ndhcp-option DOMAIN a.b\ndhcp-option WINS 1.1.1.1"))).toEqual([
    `7:1: info: "dhcp-option WINS" ${noEffect}`,
  ])
  expect(notesOf(minimal("dhcp-option DSN 1.1.1.1"))).toEqual([
    `5:1: info: "dhcp-option DSN" ${noEffect} (did you mean "DNS"?)`,
  ])
})
