/** Every directive about trust and TLS once for a server that it lets pass and once for one that it does not. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { succeed } from "../support/child.ts"
import type { ClientConfigurationOptions, ServerOptions } from "../support/openvpn.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

const fingerprint = async (file: string, digest: "sha1" | "sha256") =>
  (await succeed(["openssl", "x509", "-in", file, "-noout", "-fingerprint", `-${digest}`])).split("=")[1]!.trim()
const leaf = () => fingerprint(bench.lab.pki.server.certificateFile, "sha256")
const issuer = (digest: "sha1" | "sha256") => fingerprint(bench.lab.pki.authority.certificateFile, digest)
const other = new Array(32).fill("AB").join(":")
const block = (name: string, ...lines: ReadonlyArray<string>) => [`<${name}>`, ...lines, `</${name}>`]

interface Case {
  readonly what: string
  readonly server?: () => Promise<ServerOptions>
  readonly client: () => Promise<ClientConfigurationOptions>
  /** What the reason says; undefined: connects. */
  readonly refused?: RegExp
  /** What the server's log has then. Where it is the server that refuses, it falls silent: OpenVPN 2.6 sends no alert. */
  readonly seen?: RegExp
}

const silence = /hand-window|no answer/

const weak = async (): Promise<ServerOptions> => ({
  certificate: await bench.lab.pki.authority.issue({ name: `weak-${++serial}`, usage: "server", algorithm: "weak" }),
  // The server has to be talked into its own certificate.
  lines: ["tls-cert-profile insecure"],
})
let serial = 0

const cases: ReadonlyArray<Case> = [
  {
    what: "ca: the authority is the second of a bundle",
    client: async () => ({ ca: `${await bench.lab.pki.stranger.certificate()}${bench.lab.pki.ca}` }),
  },
  {
    what: "ca: another authority",
    client: async () => ({ ca: await bench.lab.pki.stranger.certificate() }),
    refused: /chain|issuer/,
  },
  {
    what: "peer-fingerprint, without ca",
    client: async () => ({ ca: "none", verify: [`peer-fingerprint ${await leaf()}`] }),
  },
  {
    what: "peer-fingerprint: the second of several, in a block",
    client: async () => ({ ca: "none", verify: block("peer-fingerprint", other, await leaf()) }),
  },
  {
    what: "peer-fingerprint: none of several",
    client: async () => ({ ca: "none", verify: block("peer-fingerprint", other, other.replace("AB", "AC")) }),
    refused: /peer-fingerprint: expected one of 2 listed/,
  },
  {
    what: "peer-fingerprint of another beside the right ca",
    client: async () => ({ verify: [`peer-fingerprint ${other}`] }),
    refused: /peer-fingerprint/,
  },
  {
    what: "verify-hash in a block, the second",
    client: async () => ({ verify: block("verify-hash", other, await issuer("sha256")) }),
  },
  {
    what: "verify-hash SHA256 of another",
    client: async () => ({ verify: [`verify-hash ${other} SHA256`] }),
    refused: /verify-hash/,
  },
  {
    what: "verify-hash SHA1 of another",
    client: async () => ({ verify: [`verify-hash ${other.slice(0, 59)} SHA1`] }),
    refused: /verify-hash/,
  },
  {
    what: "verify-hash without a digest is SHA1's",
    client: async () => ({ verify: [`verify-hash ${await issuer("sha1")}`] }),
  },
  {
    what: "remote-cert-tls client",
    client: async () => ({ verify: ["remote-cert-tls client"] }),
    refused: /remote-cert-tls client/,
  },
  {
    what: "x509-username-field: another field of the subject",
    client: async () => ({ verify: ["x509-username-field O", "verify-x509-name 'Culvert test' name"] }),
  },
  {
    what: "x509-username-field: the field has another value",
    client: async () => ({ verify: ["x509-username-field O", "verify-x509-name server.culvert.test name"] }),
    refused: /verify-x509-name/,
  },
  {
    what: "tls-version-min 1.3",
    client: async () => ({ lines: ["tls-version-min 1.3"] }),
    seen: /Control Channel: TLSv1.3/,
  },
  {
    what: "tls-version-min 1.3, a server of 1.2",
    server: async () => ({ lines: ["tls-version-max 1.2"] }),
    client: async () => ({ lines: ["hand-window 1", "tls-version-min 1.3"] }),
    refused: silence,
    seen: /unsupported protocol/,
  },
  {
    what: "tls-version-max 1.2",
    client: async () => ({ lines: ["tls-version-max 1.2"] }),
    seen: /Control Channel: TLSv1.2/,
  },
  {
    what: "tls-version-max 1.2, a server of 1.3",
    server: async () => ({ lines: ["tls-version-min 1.3"] }),
    client: async () => ({ lines: ["hand-window 1", "tls-version-max 1.2"] }),
    refused: silence,
    seen: /unsupported protocol/,
  },
  {
    what: "tls-cipher, by IANA's name",
    client: async () => ({
      lines: ["tls-version-max 1.2", "tls-cipher TLS-ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256"],
    }),
    seen: /cipher TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305/,
  },
  {
    what: "tls-cipher that the server has not",
    server: async () => ({ lines: ["tls-cipher TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"] }),
    client: async () => ({
      lines: ["hand-window 1", "tls-version-max 1.2", "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"],
    }),
    refused: silence,
    seen: /no shared cipher/,
  },
  {
    what: "tls-ciphersuites",
    client: async () => ({ lines: ["tls-ciphersuites TLS_CHACHA20_POLY1305_SHA256"] }),
    seen: /cipher TLSv1.3 TLS_CHACHA20_POLY1305_SHA256/,
  },
  {
    what: "tls-ciphersuites that the server has not",
    server: async () => ({ tlsVersion: "1.3", lines: ["tls-ciphersuites TLS_AES_256_GCM_SHA384"] }),
    client: async () => ({ lines: ["hand-window 1", "tls-ciphersuites TLS_CHACHA20_POLY1305_SHA256"] }),
    refused: silence,
    seen: /no shared cipher/,
  },
  {
    what: "tls-groups",
    client: async () => ({ lines: ["tls-groups secp521r1"] }),
    seen: /peer temporary key: 521 bits|secp521r1/,
  },
  {
    what: "tls-groups that the server has not",
    server: async () => ({ lines: ["tls-groups X25519"] }),
    client: async () => ({ lines: ["hand-window 1", "tls-groups secp521r1"] }),
    refused: silence,
    seen: /no suitable key share|no shared groups/,
  },
  {
    what: "tls-cert-profile insecure, a key of 1024 bits",
    server: weak,
    client: async () => ({ lines: ["tls-cert-profile insecure"] }),
  },
  {
    what: "tls-cert-profile legacy, a key of 1024 bits",
    server: weak,
    client: async () => ({ lines: ["tls-cert-profile legacy"] }),
    seen: /TLSv1/,
  },
  {
    what: "tls-cert-profile preferred, a key of 1024 bits",
    server: weak,
    client: async () => ({ lines: ["tls-cert-profile preferred"] }),
    refused: /key too (weak|small).*tls-cert-profile/,
  },
  {
    what: "tls-cert-profile suiteb, a P-256 key",
    // With TLS 1.3 OpenSSL sends no certificate of ours under these rules, in OpenVPN neither.
    server: async () => ({ tlsVersion: "1.2", lines: ["tls-cert-profile suiteb"] }),
    client: async () => ({ lines: ["tls-cert-profile suiteb", "tls-version-max 1.2"] }),
    seen: /ECDHE-ECDSA-AES128-GCM-SHA256/,
  },
  {
    what: "tls-cert-profile suiteb, an RSA key",
    server: async () => ({
      certificate: await bench.lab.pki.authority.issue({ name: "rsa", usage: "server", algorithm: "rsa" }),
    }),
    client: async () => ({ lines: ["hand-window 1", "tls-cert-profile suiteb"] }),
    refused: silence,
    seen: /no shared cipher|no suitable signature algorithm/,
  },
]

describe("a server", () => {
  test.each(cases.map((one) => [one.what, one] as const))("%s", async (_what, { server, client, refused, seen }) => {
    const options = (await server?.()) ?? {}
    await using running = await bench.serve(options)
    await using connecting = bench.connect(options, await client())
    if (refused === undefined) {
      await connecting.ready()
      if (seen !== undefined) await running.line(seen)
    } else {
      expect((await connecting.event("disconnected")).message).toMatch(refused)
      if (seen !== undefined) await running.line(seen)
      expect(running.log.some((line) => line.includes("Peer Connection Initiated"))).toBe(false)
    }
  })
})

describe("a certificate of ours whose authority is an intermediate one", () => {
  const issued = async () => {
    const intermediate = await bench.lab.pki.authority.intermediate(`intermediate-${++serial}`)
    const own = await intermediate.issue({ name: "below", usage: "client" })
    return { own, chain: (await intermediate.certificate()).trim() }
  }

  test("extra-certs brings the server to the root that it knows", async () => {
    const { own, chain } = await issued()
    await using server = await bench.serve()
    await using client = bench.connect({}, { certificate: own, lines: block("extra-certs", chain) })
    await client.ready()
    await server.line(/VERIFY OK: depth=1, .*intermediate/)
  })

  test("without it the server does not believe us", async () => {
    const { own } = await issued()
    await using server = await bench.serve()
    await using client = bench.connect({}, { certificate: own, lines: ["hand-window 1"] })
    await server.line(/VERIFY ERROR: depth=0, error=unable to get (local )?issuer certificate/)
    expect((await client.event("disconnected")).message).toMatch(silence)
  })

  test("in a PKCS#12 file with its chain", async () => {
    const { own, chain } = await issued()
    const [chainFile, bundle] = ["chain.pem", "chain.p12"].map((name) => join(bench.lab.directory, name)) as [
      string,
      string,
    ]
    writeFileSync(chainFile, chain)
    const input = ["-in", own.certificateFile, "-inkey", own.keyFile, "-certfile", chainFile]
    await succeed(["openssl", "pkcs12", "-export", ...input, "-passout", "pass:secret words", "-out", bundle])
    const askpass = bench.lab.write("words", "secret words\n", 0o600)
    await using _server = await bench.serve()
    await using client = bench.connect({}, { certificate: "none", lines: [`pkcs12 ${bundle}`, `askpass ${askpass}`] })
    await client.ready()
  })
})

test("the passphrase of an encrypted key may be a file of the mounted Secret", async () => {
  const { client: own } = bench.lab.pki
  const key = join(bench.lab.directory, "mounted.key")
  await succeed(["openssl", "pkey", "-in", own.keyFile, "-aes256", "-passout", "pass:from the Secret", "-out", key])
  const directory = join(bench.lab.directory, "secret")
  await succeed(["mkdir", directory])
  writeFileSync(join(directory, "key-passphrase"), "from the Secret\n")
  await using _server = await bench.serve()
  await using client = bench.connect(
    {},
    { certificate: "none", lines: [`cert ${own.certificateFile}`, `key ${key}`] },
    { environment: { CULVERT_CREDENTIALS: directory } },
  )
  await client.ready()
})
