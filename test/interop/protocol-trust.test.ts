/** What a server's certificate has to be, and the forms that our own may come in. */
import { beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { succeed } from "../support/child.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

const fingerprintOfAuthority = async (digest: "sha1" | "sha256") => {
  const file = bench.lab.pki.authority.certificateFile
  const text = await succeed(["openssl", "x509", "-in", file, "-noout", "-fingerprint", `-${digest}`])
  return text.split("=")[1]!.trim()
}

/** In hex, as x509-username-field has it. */
const serialOfServer = async () => {
  const file = bench.lab.pki.server.certificateFile
  const text = await succeed(["openssl", "x509", "-in", file, "-noout", "-serial"])
  return text.split("=")[1]!.trim()
}

describe("a check that the server's certificate passes", () => {
  const checks: Readonly<Record<string, () => Promise<ReadonlyArray<string>>>> = {
    "remote-cert-ku": async () => ["remote-cert-ku 06 a0"],
    "remote-cert-ku of any kind": async () => ["remote-cert-ku"],
    "remote-cert-eku by name": async () => ['remote-cert-eku "TLS Web Server Authentication"'],
    "remote-cert-eku by number": async () => ["remote-cert-eku 1.3.6.1.5.5.7.3.1"],
    "ns-cert-type": async () => ["ns-cert-type server"],
    "verify-hash SHA1": async () => [`verify-hash ${await fingerprintOfAuthority("sha1")} SHA1`],
    "verify-hash SHA256": async () => [`verify-hash ${await fingerprintOfAuthority("sha256")} SHA256`],
    "x509-username-field": async () => [
      "x509-username-field o serialNumber",
      `verify-x509-name "Culvert test_0x${await serialOfServer()}" name`,
    ],
    "crl-verify of others": async () => [
      "<crl-verify>",
      (await bench.lab.pki.authority.revoke()).trim(),
      "</crl-verify>",
    ],
  }
  test.each(Object.entries(checks))("%s", async (_name, lines) => {
    await using _server = await bench.serve()
    await using client = bench.connect({}, { verify: await lines() })
    await client.ready()
  })
})

describe("a check that it fails", () => {
  const checks = [
    ["remote-cert-ku 06", "remote-cert-ku: expected all bits of 0x6, the certificate has 0xa0"],
    ['remote-cert-eku "TLS Web Client Authentication"', "remote-cert-eku: expected 1.3.6.1.5.5.7.3.2"],
    ["ns-cert-type client", "ns-cert-type client"],
    [
      "x509-username-field O\nverify-x509-name server.culvert.test name",
      'expected name "server.culvert.test", the certificate has "Culvert test"',
    ],
    [`verify-hash ${new Array(20).fill("AB").join(":")} SHA1`, "verify-hash: expected abab"],
  ] as const
  test.each([...checks])("%s", async (line, reason) => {
    await using server = await bench.serve()
    await using client = bench.connect({}, { verify: [line] })
    expect((await client.event("disconnected")).message).toContain(reason)
    await server.line(/alert bad certificate|TLS handshake failed|TLS Error/i)
  })
})

describe("a revoked certificate is refused", () => {
  const issue = (name: string) => bench.lab.pki.authority.issue({ name, usage: "server" })

  test("by a list", async () => {
    const certificate = await issue("revoked")
    const list = await bench.lab.pki.authority.revoke(certificate)
    await using _server = await bench.serve({ certificate })
    await using client = bench.connect({}, { lines: ["<crl-verify>", list.trim(), "</crl-verify>"] })
    expect((await client.event("disconnected")).message).toContain("revoked")
  })

  test("by its number in a directory", async () => {
    const certificate = await issue("numbered")
    const directory = join(bench.lab.directory, "revoked")
    mkdirSync(directory)
    const hex = await succeed(["openssl", "x509", "-in", certificate.certificateFile, "-noout", "-serial"])
    await using _server = await bench.serve({ certificate })
    const options = { lines: [`crl-verify ${directory} dir`] }
    await using accepted = bench.connect({}, options)
    await accepted.ready()
    await accepted.stop()
    writeFileSync(join(directory, BigInt(`0x${hex.trim().split("=")[1]}`).toString()), "")
    await using client = bench.connect({}, options)
    expect((await client.event("disconnected")).message).toContain("revoked")
  })

  test("also when its authority's list is not there at all", async () => {
    const list = await bench.lab.pki.stranger.revoke()
    await using _server = await bench.serve()
    await using client = bench.connect({}, { lines: ["<crl-verify>", list.trim(), "</crl-verify>"] })
    expect((await client.event("disconnected")).message).toContain("CRL")
  })
})

describe("our own certificate", () => {
  const passphrase = "correct horse"
  let askpass = ""
  beforeAll(() => {
    askpass = bench.lab.write("passphrase", `${passphrase}\n`, 0o600)
  })

  const pkcs12 = async (name: string, ...options: ReadonlyArray<string>) => {
    const { client, authority } = bench.lab.pki
    const file = join(bench.lab.directory, name)
    const input = ["-in", client.certificateFile, "-inkey", client.keyFile, "-certfile", authority.certificateFile]
    await succeed([
      "openssl",
      "pkcs12",
      "-export",
      ...options,
      ...input,
      "-passout",
      `pass:${passphrase}`,
      "-out",
      file,
    ])
    return file
  }

  test.each([
    ["of today", []],
    ["of the time before OpenSSL 3 (RC2 and 3DES)", ["-legacy"]],
  ])("in a PKCS#12 file %s, with ca", async (_name, options) => {
    const file = await pkcs12(`client${options.length}.p12`, ...options)
    await using _server = await bench.serve()
    await using client = bench.connect({}, { certificate: "none", lines: [`pkcs12 ${file}`, `askpass ${askpass}`] })
    await client.ready()
  })

  test("in a PKCS#12 block whose authority is that of the server as well", async () => {
    const file = await pkcs12("alone.p12")
    const lines = ["<pkcs12>", Buffer.from(await Bun.file(file).bytes()).toString("base64"), "</pkcs12>"]
    await using _server = await bench.serve()
    await using client = bench.connect({}, { certificate: "none", ca: "none", lines: [...lines, `askpass ${askpass}`] })
    await client.ready()
  })

  test("with an encrypted key", async () => {
    const { client: own } = bench.lab.pki
    const file = join(bench.lab.directory, "encrypted.key")
    await succeed(["openssl", "pkey", "-in", own.keyFile, "-aes256", "-passout", `pass:${passphrase}`, "-out", file])
    const lines = [`cert ${own.certificateFile}`, `key ${file}`, `askpass ${askpass}`]
    await using _server = await bench.serve()
    await using client = bench.connect({}, { certificate: "none", lines })
    await client.ready()
  })

  test("with a wrong passphrase ends the program with the reason", async () => {
    const file = await pkcs12("wrong.p12")
    const wrong = bench.lab.write("wrong", "incorrect horse\n", 0o600)
    await using client = bench.connect({}, { certificate: "none", lines: [`pkcs12 ${file}`, `askpass ${wrong}`] })
    await client.child.exited()
    expect(client.child.output).toContain("is the passphrase right?")
    expect(client.child.output).not.toContain("incorrect horse")
  })
})
