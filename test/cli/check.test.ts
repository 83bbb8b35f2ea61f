import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { loadProfile } from "../../src/cli/profile.ts"
import { staticKey } from "../config/fixtures.ts"
import { Authority, CLIENT } from "../openssl/authority.ts"

// Each test starts programs, on a machine that may be busy.
setDefaultTimeout(30_000)

const directory = mkdtempSync(join(tmpdir(), "culvert-check-"))
const authority = new Authority()
const client = authority.issue("client", "ec", CLIENT)
const other = authority.issue("other", "ec", CLIENT)
const ca = `<ca>\n${authority.certificate}</ca>\n`
const base = `client\nremote vpn.example.com\nremote-cert-tls server\n${ca}`

const write = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text)
  return join(directory, name)
}

beforeAll(() => {
  write("good.ovpn", `${base}<auth-user-pass>\nalice\nhunter2\n</auth-user-pass>\ntls-crypt ta.key\n`)
  write("bad.ovpn", `${base}auth-user-pass\n  verb loud # x\nflaot\n`)
  write("ta.key", staticKey)
})
afterAll(() => {
  rmSync(directory, { recursive: true })
  authority.remove()
})

const culvert = (...args: ReadonlyArray<string>) => culvertWith("", ...args)

/** With a text on standard input. */
const culvertWith = (text: string, ...args: ReadonlyArray<string>) => {
  const main = join(import.meta.dir, "../../src/main.ts")
  const run = Bun.spawnSync([process.execPath, main, "check", ...args], { cwd: directory, stdin: Buffer.from(text) })
  return { code: run.exitCode, out: run.stdout.toString(), err: run.stderr.toString() }
}

describe("culvert check", () => {
  test("prints what a file means, without its secrets, and ends with 0", () => {
    const { code, out, err } = culvert("good.ovpn")
    expect([code, err]).toEqual([0, ""])
    expect(out).toContain("remote vpn.example.com 1194 udp\n")
    expect(out).toContain("# <auth-user-pass> is not shown\n")
    expect(out).toContain("# <tls-crypt> is not shown\n")
    expect(out).not.toContain("hunter2")
  })

  test("--show-secrets prints a configuration that means the same and needs no other file", () => {
    const { out } = culvert("--show-secrets", "good.ovpn")
    expect(out).toContain("alice\nhunter2\n")
    mkdirSync(join(directory, "elsewhere"))
    expect(culvert("--show-secrets", write("elsewhere/copy.ovpn", out))).toEqual({ code: 0, out, err: "" })
  })

  test("names every problem by file, line and column, and ends with 1", () => {
    const line = base.split("\n").length + 1
    expect(culvert("bad.ovpn")).toEqual({
      code: 1,
      out: "",
      err: [
        `bad.ovpn:${line}:8: error: verb: expected a whole number from 0 to 15, not "loud"`,
        `bad.ovpn:${line + 1}:1: error: unknown directive "flaot" (did you mean "float"?)`,
        "the file is not valid",
        "",
      ].join("\n"),
    })
  })

  test("puts their names above the files when there are several", () => {
    const { out } = culvert("good.ovpn", "bad.ovpn", "good.ovpn")
    expect(out.match(/^# \S+\n.*$/gm)).toEqual(["# good.ovpn\nclient", "# good.ovpn\nclient"])
  })

  test("--quiet prints diagnostics only", () => {
    expect(culvert("--quiet", "good.ovpn")).toEqual({ code: 0, out: "", err: "" })
  })

  test("--json is one document for all files, with secrets only when asked for", () => {
    const { code, out, err } = culvert("--json", "good.ovpn", "bad.ovpn")
    expect([code, err]).toEqual([1, "1 of 2 files are not valid\n"])
    const [good, bad] = JSON.parse(out)
    expect(good).toMatchObject({ file: "good.ovpn", valid: true, diagnostics: [] })
    expect(good.profile.credentials).toEqual({ _tag: "Given", username: "alice", password: "<redacted>" })
    expect(bad).toMatchObject({ file: "bad.ovpn", valid: false })
    expect(bad.diagnostics[0]).toMatchObject({ column: 8, severity: "error", source: "  verb loud # x" })
    expect(out).not.toContain("hunter2")
    const [shown] = JSON.parse(culvert("--json", "--show-secrets", "good.ovpn").out)
    expect(shown.profile.credentials.password).toBe("hunter2")
  })

  test("reads standard input as -", () => {
    const text = `${base}auth-user-pass\ntls-crypt ta.key\n`
    const { code, out, err } = culvertWith(text, "-")
    expect([code, err]).toEqual([0, ""])
    expect(out).toContain("# <tls-crypt> is not shown\n")
    expect(culvertWith("flaot\n", "--quiet", "-", "good.ovpn").err).toContain("<stdin>:1:1: error: unknown directive")
    expect(culvertWith("#".repeat(10_485_761), "-").err).toContain(
      "<stdin>:1:1: error: cannot be read: it has more than",
    )
  })

  test("says which file cannot be read, and goes on with the others", () => {
    expect(culvert("--quiet", "none.ovpn", "bad.ovpn").err.split("\n")[0]).toBe(
      "none.ovpn:1:1: error: cannot be read: no such file",
    )
    expect(culvert("--quiet", "none.ovpn", "bad.ovpn").err).toContain("2 of 2 files are not valid")
  })

  test("ends with 2 when the arguments make no sense", () => {
    expect(culvert().code).toBe(2)
    expect(culvert("--no-such-flag", "good.ovpn").code).toBe(2)
  })

  test("shows the line with a caret on a terminal", () => {
    const main = join(import.meta.dir, "../../src/main.ts")
    const command = `${process.execPath} ${main} check --quiet bad.ovpn`
    const onTerminal = (env: Record<string, string>) =>
      Bun.spawnSync(["script", "-qec", command, "/dev/null"], {
        cwd: directory,
        stdin: "ignore",
        env: { ...process.env, ...env },
      }).stdout.toString()
    expect(onTerminal({ NO_COLOR: "" })).toContain("\u001b[1;31merror:\u001b[0m verb: expected")
    const lines = onTerminal({ NO_COLOR: "1" }).split("\r\n")
    expect(lines[1]).toMatch(/^ +\d+ \| {3}verb loud # x$/)
    expect(lines[2]).toBe("      |        ^~~~")
    expect(lines.slice(4, 7)).toEqual([
      expect.stringContaining(" | flaot"),
      "      | ^~~~~",
      expect.stringContaining('"float"?'),
    ])
  })
})

describe("files", () => {
  const errorOf = (line: string) => {
    const { code, err } = culvert("--quiet", write("case.ovpn", `${base}auth-user-pass\n${line}\n`))
    expect(code).toBe(1)
    return err
      .split("\n")[0]!
      .replace(/^.*case\.ovpn:\d+:/, "")
      .replaceAll(`${directory}/`, "")
  }

  test("that are missing, unreadable, empty, too large or no files are said at the line that names them", () => {
    mkdirSync(join(directory, "dir"))
    write("empty", "")
    write("large", "x".repeat(100_000))
    expect(errorOf("tls-crypt none")).toBe(`11: error: tls-crypt: cannot read "none": none: no such file`)
    expect(errorOf("tls-crypt dir")).toBe('11: error: tls-crypt: cannot read "dir": dir: it is a directory')
    expect(errorOf("tls-crypt large")).toContain("it has 100000 bytes, at most 65536 are allowed")
    expect(errorOf("tls-crypt empty")).toBe('11: error: tls-crypt: cannot read "empty": it is empty')
    expect(errorOf("tls-crypt good.ovpn/x")).toContain("it, or a part of its path, is no directory")
    expect(errorOf("crl-verify none dir")).toBe('12: error: crl-verify: cannot read "none": none: no such file')
    expect(errorOf("crl-verify large dir")).toContain("it, or a part of its path, is no directory")
    expect(culvert("--quiet", write("case.ovpn", `${base}auth-user-pass\ncrl-verify dir dir\n`)).code).toBe(0)
  })

  test("that may not be read are said so", async () => {
    chmodSync(directory, 0o755)
    chmodSync(write("closed.key", staticKey), 0)
    const file = write("closed.ovpn", `${base}auth-user-pass\ntls-crypt closed.key\n`)
    process.seteuid!("nobody")
    try {
      const loaded = await Effect.runPromise(Effect.flip(loadProfile(file)))
      expect(loaded.message).toContain("closed.key: permission denied")
    } finally {
      process.seteuid!("root")
    }
  })

  test("are relative to the configuration, or to cd", () => {
    mkdirSync(join(directory, "keys"), { recursive: true })
    write("keys/own.key", staticKey)
    write("keys/inside.ovpn", `${base}auth-user-pass\ntls-crypt own.key\n`)
    write("outside.ovpn", `${base}auth-user-pass\ncd keys\ntls-crypt own.key\n`)
    expect(culvert("--quiet", "keys/inside.ovpn", "outside.ovpn")).toEqual({ code: 0, out: "", err: "" })
  })
})

describe("key material", () => {
  const identity = (certificate: string, key: string, more = "") =>
    culvert("--quiet", write("identity.ovpn", `${base}<cert>\n${certificate}</cert>\n<key>\n${key}</key>\n${more}`))

  test("that belongs together passes; another's key does not", () => {
    expect(identity(client.certificate, client.key)).toEqual({ code: 0, out: "", err: "" })
    const { code, err } = identity(client.certificate, other.key)
    expect([code, err]).toEqual([1, expect.stringContaining("the private key does not belong to the certificate")])
  })

  test("a revocation list that has expired is a warning with the date", () => {
    const list = authority.revocations("20200101000000Z", "20200201000000Z")
    const { code, err } = culvert(
      "--quiet",
      write("revoked.ovpn", `${base}auth-user-pass\n<crl-verify>\n${list}</crl-verify>\n`),
    )
    expect(code).toBe(0)
    expect(err).toContain("warning: crl-verify: the list of CN=Test Authority expired on 2020-02-01")
  })

  test("that has expired is a warning with the date", () => {
    const request = ["req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=old"]
    authority.openssl([...request, "-keyout", "old.key", "-out", "old.csr"])
    const sign = ["x509", "-req", "-in", "old.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "-1"]
    authority.openssl([...sign, "-out", "old.crt"])
    const { code, err } = identity(authority.read("old.crt"), authority.read("old.key"))
    expect(code).toBe(0)
    expect(err).toMatch(/warning: cert: CN=old expired on \d{4}-\d{2}-\d{2}/)
  })
})
