import { describe, expect, test } from "bun:test"
import { explainDiagnostic, formatDiagnostic } from "../../src/config/index.ts"
import { certificate, diagnosticsOf, errorsOf, minimal, privateKey } from "./fixtures.ts"

/** What a terminal shows of the first error that a line causes, below its message. */
const shown = (line: string): ReadonlyArray<string> =>
  explainDiagnostic(diagnosticsOf(minimal(line)).find(({ severity }) => severity === "error")!).split("\n")

describe("on a terminal the caret stands below the word that is at fault", () => {
  test("and its tail is as long as the word", () => {
    expect(shown("remote a.example 70000 udp # x").slice(1)).toEqual([
      "    5 | remote a.example 70000 udp # x",
      "      |                  ^~~~~",
    ])
  })

  test("behind tabs", () => {
    expect(shown("\tverb\tloud").slice(1, 3)).toEqual(["    5 | \tverb\tloud", "      | \t    \t^~~~"])
  })

  test("behind characters of two columns, of none, and outside of the first plane", () => {
    expect(shown('pull-filter ignore "日本" extra')[2]).toBe(`      | ${" ".repeat(26)}^~~~~`)
    expect(shown('pull-filter ignore "e\u0301" extra')[2]).toBe(`      | ${" ".repeat(23)}^~~~~`)
    expect(shown('pull-filter ignore "😀" extra')[2]).toBe(`      | ${" ".repeat(24)}^~~~~`)
  })

  test("below the whole of a quotation", () => {
    expect(shown("verb 'not a number'")[2]).toBe("      |      ^~~~~~~~~~~~~~")
    expect(shown('verb "a \\" b" ; x')[2]).toBe("      |      ^~~~~~~~")
  })

  test("and behind the end of the line where something is missing", () => {
    expect(shown("verb 3\\")[2]).toBe("      |       ^")
  })

  test("in colours only when they are asked for", () => {
    const [error] = diagnosticsOf(minimal("verb x"))
    expect(explainDiagnostic(error!)).not.toContain("\u001b")
    expect(explainDiagnostic(error!, { colours: true }).split("\n")).toEqual([
      '\u001b[1mclient.ovpn:5:6:\u001b[0m \u001b[1;31merror:\u001b[0m verb: expected a whole number from 0 to 15, not "x"',
      "    5 | verb x",
      "      |      \u001b[1;31m^\u001b[0m",
    ])
  })
})

describe("diagnostics", () => {
  test("point at the word that is at fault", () => {
    expect(
      errorsOf(
        minimal("  remote a.example 70000 udp # x\nproto  quic\nclient now\nremote\nredirect-gateway def1 nope"),
      ),
    ).toEqual([
      '5:20: error: remote: expected a whole number from 1 to 65535, not "70000"',
      '6:8: error: proto: expected one of udp, udp4, udp6, tcp, tcp4, tcp6, tcp-client, tcp4-client, tcp6-client, not "quic"',
      '7:8: error: unexpected "now" after "client" (usage: client)',
      '8:1: error: "remote" is incomplete (usage: remote host [port] [udp|udp4|udp6|tcp|tcp4|tcp6|tcp-client|tcp4-client|tcp6-client])',
      '9:23: error: redirect-gateway: expected one of def1, local, autolocal, bypass-dhcp, bypass-dns, block-local, ipv6, !ipv4, not "nope"',
    ])
  })

  test("two directives on one line are recognised", () => {
    expect(errorsOf(minimal("float persist-key"))).toEqual([
      '5:7: error: unexpected "persist-key" after "float" ("persist-key" begins a line of its own)',
    ])
    expect(errorsOf(minimal("verb 3nobind"))).toEqual([
      '5:6: error: verb: expected a whole number from 0 to 15, not "3nobind"',
    ])
  })

  test("carry the line, but never one that may hold a secret", () => {
    const [shown] = diagnosticsOf(minimal("hand-window x # why"))
    expect(shown).toMatchObject({ file: "client.ovpn", line: 5, column: 13, source: "hand-window x # why" })
    const secrets = diagnosticsOf(
      `${minimal("auth-user-pass alice hunter2\nauth-token hunter2")}<auth-user-pass>\nhunter2\n</auth-user-pass>\n<key>\nhunter2\n</key>\n${"ab12".repeat(8)}\n`,
    )
    expect(secrets.length).toBeGreaterThan(3)
    expect(JSON.stringify(secrets)).not.toContain("hunter2")
    expect(JSON.stringify(secrets)).not.toContain("ab12ab12")
  })

  test("do not show a line of a block, even when it looks like a directive", () => {
    const [inBlock] = diagnosticsOf(minimal("<tls-crypt>\nverb hunter2\n</tls-crypt>"))
    expect(inBlock).toMatchObject({ line: 6, source: undefined })
  })

  test("cannot act on a terminal", () => {
    const [diagnostic] = diagnosticsOf(minimal("\u001b[31mred"))
    expect(formatDiagnostic(diagnostic!)).not.toContain("\u001b")
  })

  test("know a comment sign without a blank, typographic quotes, and what is no configuration at all", () => {
    expect(errorsOf(minimal("port 1194;\nproto “udp”"))).toEqual([
      '5:6: error: port: expected a whole number from 1 to 65535, not "1194;" (a comment begins with a blank before its sign)',
      expect.stringContaining("these are typographic quotation marks: use \" or '"),
    ])
    expect(errorsOf("<!DOCTYPE html>\n")[0]).toContain("(this is a web page: was the download complete?)")
    expect(errorsOf("client\nremote a\0b\nfoo")).toEqual([
      "2:9: error: a NUL character: this is not a text file (is this a configuration file?)",
    ])
    for (const text of ["\ufffd\ufffdc\0l\0i\0e\0", "\0c\0l\0i\0e"])
      expect(errorsOf(text)).toEqual(["1:1: error: the file is UTF-16 (save it as UTF-8)"])
    expect(errorsOf(" \n\n")).toEqual(["1:1: error: the file is empty (put a client's configuration into it)"])
  })

  test("point at the word that they are about, also when only the whole file shows that it is wrong", () => {
    const cases = {
      "auth  SHA3": "auth  ",
      "  --dev 'foo'": "  --dev ",
      "setenv opt auth SHA3": "setenv opt auth ",
      "route 10.0.0.0 255.0.0.0 fd00::1": "route 10.0.0.0 255.0.0.0 ",
      "dhcp-option DNS 1.2.3": "dhcp-option DNS ",
      "route-gateway x": "route-gateway ",
      // A word that is missing cannot be pointed at.
      "dhcp-option DNS": "",
    }
    for (const [line, before] of Object.entries(cases)) {
      const [error] = diagnosticsOf(minimal(line)).filter(({ severity }) => severity === "error")
      expect([line, error?.line, error?.column]).toEqual([line, 5, before.length + 1])
    }
  })

  test("speak once of a key outside of a block, without a word of it", () => {
    const messages = errorsOf(minimal(`${privateKey}${certificate}</cert>\nflaot`))
    const lines = (pem: string) => pem.trimEnd().split("\n").length
    const hint = "(keys and certificates belong into a block such as <ca>)"
    const [first, second, third] = [5, 5 + lines(privateKey), 5 + lines(privateKey) + lines(certificate)]
    expect(messages).toEqual([
      `${first}:1: error: a key or certificate outside of a block ${hint}`,
      `${second}:1: error: a key or certificate outside of a block ${hint}`,
      `${third}:1: error: </cert> closes a block that was not opened (the line <cert> is missing above)`,
      `${third! + 1}:1: error: unknown directive "flaot" (did you mean "float"?)`,
    ])
  })

  test("know a server that is written as in an address line", () => {
    const hintOf = (remote: string) => diagnosticsOf(minimal(`remote ${remote}`))[0]!.hint
    expect(["[::1]", "[fd00::1]:443", "a:1194", "https://a.b:443/x", "a!"].map(hintOf)).toEqual([
      "write ::1",
      "write fd00::1 443",
      "write a 1194",
      "write a.b 443",
      undefined,
    ])
  })

  test("say nothing of what is missing where it is only misspelt, or cannot be read", () => {
    const errorsWith = (remote: string) => errorsOf(minimal().replace("remote vpn.example.com", remote))
    for (const remote of ['remote "a', "--remote a\\b", `remote ${"a".repeat(300)}`])
      expect(errorsWith(remote)).toHaveLength(1)
    expect(errorsWith("remot a")).toEqual(['2:1: error: unknown directive "remot" (did you mean "remote"?)'])
    expect(errorsWith("<conection>\nremote a\n</conection>")).toHaveLength(1)
    expect(errorsWith("<connection>\nremot a\n</connection>")).toHaveLength(1)
    expect(errorsWith("remote\u00a0a")).toEqual([
      '2:1: error: unknown directive "remote\u00a0a" (it has a character that no directive has, U+00A0: was it copied from formatted text?)',
    ])
    const end = 5 + certificate.trimEnd().split("\n").length
    expect(errorsOf(minimal(`<cert>\n${certificate}<key>\n${privateKey}</key>`))).toEqual([
      `5:1: error: the block <cert> is not closed (add a line </cert> after line ${end})`,
    ])
  })

  test("show the line of a misspelling, unless it may hold a secret", () => {
    const sources = (line: string) => diagnosticsOf(minimal(line)).map(({ source }) => source)
    expect(sources("remote-cert-tsl server")).toEqual(["remote-cert-tsl server"])
    expect(sources("auth-user-pas alice hunter2")).toEqual([undefined])
    expect(sources("hunter2 hunter3")).toEqual([undefined])
  })

  test("stop when there are far too many", () => {
    for (const text of ["x\n".repeat(10_000), minimal("<connection>\n</connection>\n".repeat(10_000))]) {
      const messages = errorsOf(text)
      expect(messages).toHaveLength(201)
      expect(messages.at(-1)).toContain("too many errors")
    }
  })
})
