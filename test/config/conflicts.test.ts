/** What happens to directives that say something twice, or the opposite of each other. */
import { describe, expect, test } from "bun:test"
import { formatDiagnostic } from "../../src/config/index.ts"
import { errorsOf, files, minimal, notesOf, parsed, profileOf } from "./fixtures.ts"

describe("conflicts name both lines", () => {
  const cases = [
    [
      "tls-auth a\ntls-crypt b",
      '6:1: error: "tls-crypt" and "tls-auth" (line 5) cannot both be given (remove one of them)',
    ],
    [
      "tls-auth a\ntls-crypt b\ntls-auth a",
      '7:1: error: "tls-auth" and "tls-crypt" (line 6) cannot both be given (remove one of them)',
    ],
    ["nobind\nlport 0", '6:1: error: "lport" and "nobind" (line 5) cannot both be given (remove one of them)'],
    ["local 10.0.0.1\nnobind", '5:1: error: "local" and "nobind" (line 6) cannot both be given (remove one of them)'],
    [
      "tls-version-min 1.3\ntls-version-max 1.2",
      "6:1: error: tls-version-max 1.2 is below tls-version-min 1.3 (line 5)",
    ],
  ] as const
  for (const [lines, message] of cases) {
    test(lines.replace("\n", ", "), () => {
      expect(errorsOf(minimal(lines), files({})).filter((error) => !error.includes("cannot read"))).toEqual([message])
    })
  }
})

describe("directives that cannot both be given", () => {
  const lines = {
    nobind: "nobind",
    lport: "lport 0",
    local: "local 10.0.0.1",
    bind: "bind",
    "http-proxy": "http-proxy p 1",
    "socks-proxy": "socks-proxy p",
    pkcs12: "pkcs12 x",
    cert: "cert x",
    key: "key x",
    "tls-auth": "tls-auth x",
    "tls-crypt": "tls-crypt x",
    "tls-crypt-v2": "tls-crypt-v2 x",
  }
  const pairs: ReadonlyArray<readonly [keyof typeof lines, keyof typeof lines]> = [
    ["nobind", "lport"],
    ["nobind", "local"],
    ["nobind", "bind"],
    ["http-proxy", "socks-proxy"],
    ["pkcs12", "cert"],
    ["pkcs12", "key"],
    ["tls-auth", "tls-crypt"],
    ["tls-auth", "tls-crypt-v2"],
    ["tls-crypt", "tls-crypt-v2"],
  ]
  for (const [one, other] of pairs) {
    test(`${one} and ${other}, whichever comes first`, () => {
      for (const [first, second] of [
        [one, other],
        [other, one],
      ] as const) {
        const errors = errorsOf(minimal(`${lines[first]}\n${lines[second]}`)).filter((error) =>
          error.includes("cannot both be given"),
        )
        expect(errors).toHaveLength(1)
        expect(errors[0]).toMatch(
          new RegExp(
            `^5:1: error: "${first}" and "${second}" \\(line 6\\)|^6:1: error: "${second}" and "${first}" \\(line 5\\)`,
          ),
        )
      }
    })
  }

  const ofTls = {
    ...{ client: "client", "tls-client": "tls-client", pull: "pull", ca: "ca x", cert: "cert x", key: "key x" },
    ...{ pkcs12: "pkcs12 x", "tls-auth": "tls-auth x", "tls-crypt": "tls-crypt x", "tls-crypt-v2": "tls-crypt-v2 x" },
    "auth-user-pass": "auth-user-pass",
    "peer-fingerprint": `peer-fingerprint ${new Array(32).fill("ab").join(":")}`,
  }
  test("secret and a wrapping inside of a block", () => {
    const block = "<connection>\nremote a\ntls-crypt x\n</connection>\n"
    expect(errorsOf(`cipher AES-256-CBC\nsecret x\n${block}`).join()).toContain(
      '5:1: error: "tls-crypt" and "secret" (line 2) cannot both be given',
    )
  })

  test.each(Object.entries(ofTls))("secret and %s", (name, line) => {
    const errors = errorsOf(`remote a\ncipher AES-256-CBC\nsecret x\n${line}\n`).filter((error) =>
      error.includes("cannot both be given"),
    )
    expect(errors.join()).toContain(`"${name}"`)
  })
})

describe("directives that are given again", () => {
  test("the last one holds, with a note; quieter when it says the same", () => {
    const { profile, notes } = parsed(minimal("verb 3\nverb 3\nverb 4"))
    expect(profile.verb).toBe(4)
    expect(notes.map(formatDiagnostic)).toEqual([
      'client.ovpn:6:1: info: "verb" is given again and takes the place of line 5',
      'client.ovpn:7:1: warning: "verb" is given again and takes the place of line 6',
    ])
  })

  test("an alias counts as the same directive", () => {
    const text = minimal("server-poll-timeout 5\nconnect-timeout 6\nncp-ciphers AES-128-GCM")
    const profile = profileOf(text)
    expect(profile.remotes[0].connectTimeout).toBe(6)
    expect(profile.dataCiphers).toEqual(["AES-128-GCM"])
    expect(notesOf(text)).toHaveLength(1)
  })
})
