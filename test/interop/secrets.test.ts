/** Nothing that is secret leaves the program by another way than the one it is meant for. */
import { expect } from "bun:test"
import { createPrivateKey } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { succeed } from "../support/child.ts"
import { bun, project } from "../support/culvert.ts"
import { outer } from "../support/lab.ts"
import { clientConfiguration } from "../support/openvpn.ts"
import { ProxyServer, proxyPort, proxyUser } from "../support/proxy.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

const login = {
  username: "ada.lovelace",
  password: "correct-horse-battery",
  otp: "314159265",
  "key-passphrase": "staple-of-the-key",
  "proxy-username": proxyUser.name,
  "proxy-password": proxyUser.password,
}
const controlToken = "control-token-0815-and-more"

testCulvert("a full debug run with a crash tells no secret: log, status, metrics, page, events, check", async () => {
  const { lab } = bench
  const credentials = join(lab.directory, "credentials")
  mkdirSync(credentials)
  for (const [name, text] of Object.entries(login)) writeFileSync(join(credentials, name), `${text}\n`)
  const encrypted = join(lab.directory, "encrypted.key")
  const { certificateFile, keyFile } = lab.pki.client
  await succeed([
    ...["openssl", "pkey", "-in", keyFile, "-aes256", "-out", encrypted],
    ...["-passout", `pass:${login["key-passphrase"]}`],
  ])
  const options = {
    transport: "tcp",
    wrapping: { type: "tls-crypt" },
    keepalive: [1, 3],
    renegSec: 5,
    // At this verbosity the server writes down the data keys.
    lines: [
      ...["verb 8", "auth-gen-token 600 60", "hand-window 20", "script-security 2"],
      `auth-user-pass-verify ${lab.write("welcome.sh", "#!/bin/sh\n", 0o755)} via-file`,
    ],
  } as const
  const client = {
    certificate: "none",
    lines: [
      ...["verb 11", "auth-user-pass", 'static-challenge "Code" 1'],
      `http-proxy ${outer.server.ipv4} ${proxyPort} auto`,
      ...[`cert ${certificateFile}`, `key ${encrypted}`],
    ],
  } as const
  const environment = {
    CULVERT_LOG_LEVEL: "debug",
    CULVERT_CREDENTIALS: credentials,
    CULVERT_CONTROL_TOKEN_FILE: lab.write("control-token", controlToken, 0o600),
    BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}`,
  }
  await using proxy = await ProxyServer.start(lab, "http-basic")
  await using server = await bench.serve(options)
  await using culvert = bench.connect(options, client, { environment })
  await culvert.ready()
  await culvert.event("renegotiated")
  culvert.child.signal("SIGUSR2")
  await culvert.event("part_crashed")
  await culvert.event("connected", 20_000, 2)
  const answers = await Promise.all(["/", "/status", "/metrics", "/readyz?verbose"].map((path) => culvert.body(path)))
  const events = await lab.client.finish(["curl", "-sN", "--max-time", "2", "http://127.0.0.1:4911/events"])
  await culvert.stop()
  const file = lab.write("checked.ovpn", clientConfiguration(lab, options, client))
  const check = [bun, "src/main.ts", "check", file]
  const checks = await Promise.all([check, [...check, "--json"]].map((command) => succeed(command, { cwd: project })))

  // Each of the ways was used.
  expect(proxy.log.join()).toContain("with Basic")
  expect(events.stdout).toContain("event: status")
  expect(checks.join()).toContain("<tls-crypt>")
  const tokens = matches(server.log, /PUSH_REPLY.*,auth-token ([^,\s']+)/)
  // Those of the data channel and those that wrap the control channel.
  const keys = matches(server.log, /(?:CIPHER|HMAC) KEY: ([0-9a-f ]{32,})/).map((hex) => hex.replaceAll(" ", ""))
  expect([tokens.length > 0, keys.length > 8]).toEqual([true, true])

  const texts = [...Object.values(login).filter((text) => text !== proxyUser.name), controlToken, ...tokens]
  const bytes = [
    ...[...keys, hexLines(lab.pki.staticKey)].flatMap((hex) => pieces(Buffer.from(hex, "hex"))),
    ...pieces(Buffer.from(createPrivateKey(lab.pki.client.key).export({ format: "jwk" }).d ?? "", "base64url")),
  ]
  expect(bytes.length).toBeGreaterThan(50)
  const said = [culvert.child.output, ...answers, events.stdout, ...checks].join("\n")
  const told = [...texts.map((text) => Buffer.from(text)), ...bytes].flatMap((secret) =>
    forms(secret).filter((form) => said.includes(form)),
  )
  expect(told).toEqual([])
})

const matches = (lines: ReadonlyArray<string>, pattern: RegExp) =>
  lines.flatMap((line) => pattern.exec(line)?.[1] ?? [])

/** An OpenVPN static key without what surrounds it. */
const hexLines = (text: string) =>
  text
    .split("\n")
    .filter((line) => /^[0-9a-f]{32}$/.test(line))
    .join("")

/** Long enough to be found by nothing else, short enough that a part of the secret is seen as well. */
const pieces = (secret: Buffer): ReadonlyArray<Buffer> =>
  Array.from({ length: Math.floor(secret.length / 12) }, (_, index) => secret.subarray(12 * index, 12 * (index + 1)))

/** The ways in which a program writes bytes by mistake; base64 without the ends, which depend on what stands beside. */
const forms = (secret: Buffer): ReadonlyArray<string> => [
  secret.toString("latin1"),
  JSON.stringify(secret.toString("latin1")).slice(1, -1),
  encodeURIComponent(secret.toString("latin1")),
  secret.toString("hex"),
  secret.toString("hex").toUpperCase(),
  ...[0, 1, 2].map((before) =>
    Buffer.concat([Buffer.alloc(before), secret])
      .toString("base64")
      .replace(/=+$/, "")
      .slice(before === 0 ? 0 : 4, -1),
  ),
  [...secret].join(","),
]
