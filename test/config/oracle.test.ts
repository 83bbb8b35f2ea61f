/**
 * What OpenVPN accepts is accepted here, and what it refuses is refused, apart from the differences that docs/configuration.md
 * lists. The long form: CULVERT_ORACLE_CASES=100000 CULVERT_ORACLE_SEED=7 bun test --timeout 3600000 test/config/oracle.test.ts
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, isAbsolute, join } from "node:path"
import * as Result from "effect/Result"
import { acceptedHere, refusedHere } from "../../src/config/differences.ts"
import { isDirective, rowOf } from "../../src/config/directives.ts"
import { type Diagnostic, type FileNeed, formatDiagnostic, parse } from "../../src/config/index.ts"
import { corpus, profiles } from "./corpus.ts"
import { certificate, privateKey, staticKey } from "./fixtures.ts"
import { base, generateFile, generator, staticBase } from "./generate.ts"
import { hasOpenVpn, judgeAll, OracleDirectory, type Verdict } from "./oracle.ts"

type DifferenceId = (typeof refusedHere | typeof acceptedHere)[number]["id"]

const cases = Number(process.env.CULVERT_ORACLE_CASES ?? 600)
const seed = Number(process.env.CULVERT_ORACLE_SEED ?? 20261123)

let directory: OracleDirectory
beforeAll(() => {
  directory = new OracleDirectory({
    "ca.pem": certificate,
    "cert.pem": certificate,
    "key.pem": privateKey,
    "ta.key": staticKey,
    login: "alice\nhunter2\n",
  })
})
afterAll(() => directory[Symbol.dispose]())

/** The errors of the file; none: it is accepted. */
const ourErrors = (text: string): ReadonlyArray<Diagnostic> => {
  const read = ({ path, kind }: FileNeed) => {
    const file = isAbsolute(path) ? path : join(directory.path, path)
    if (path === "" || !existsSync(file)) return Result.fail("no such file")
    if (kind === "directory")
      return Result.map(
        Result.try(() => readdirSync(file)),
        () => new Uint8Array(),
      )
    return Result.try(() => readFileSync(file))
  }
  const result = parse(text, { file: "f", read: (need) => Result.mapError(read(need), String) })
  return Result.isSuccess(result) ? [] : result.failure.filter(({ severity }) => severity === "error")
}

/** Undefined: both agree. "unexplained" is what this test is looking for. */
const differenceOf = (text: string, verdict: Verdict): DifferenceId | "unexplained" | undefined => {
  const errors = ourErrors(text)
  if (verdict.accepted === (errors.length === 0)) return undefined
  if (!verdict.accepted) return whyAccepted(text, verdict.message) ?? "unexplained"
  const reasons = errors.map((error) => whyRefused(text, error))
  return reasons.includes(undefined) ? "unexplained" : reasons[0]!
}

const whyRefused = (text: string, { message, line }: Diagnostic): DifferenceId | undefined => {
  const source = text.split("\n")[line - 1] ?? ""
  const isMissing = /does not say that this is a client|nothing says which server|nothing proves/.test(message)
  if (isMissing && !/^\W*(tls-)?client\b/m.test(text)) return "mode"
  const found = refusals.find(([, pattern]) => pattern.test(message))?.[0]
  if (text.includes("<connection>") && /cannot both be given/.test(message)) return "outside"
  return (
    found ??
    (source.includes("setenv opt ") && /incomplete|unexpected|needs a file name|cannot stand/.test(message)
      ? "setenv-opt"
      : undefined)
  )
}

/** By the wording of our messages. */
const refusals: ReadonlyArray<readonly [DifferenceId, RegExp]> = [
  ["numbers", /\bexpected a whole number|the minimum \d+ is more|bytes for packets in the tunnel/],
  ["addresses", /\bexpected (a host name|an IP|a netmask)/],
  ["servers", /no server is given|block has one|no server has the transport|a protocol that connects/],
  ["push-only", /only for a server to push/],
  ["refused", /is refused:/],
  ["devices", /device/],
  ["ciphers", /cipher|digest|without authentication/],
  ["lines", /more than \d+ words|a backslash may|a NUL character/],
  ["directions", /give different directions/],
  ["static-key", /"(peer-fingerprint|verify-hash)" and "secret"/],
  ["words", /unexpected .* after "(bind-dev|tls-crypt|tun-mtu-max)"/],
  ["words", /\bexpected (one of|"|a word|hex digits|names separated|a SHA-256|a fingerprint)/],
  [
    "content",
    /there is no |holds nothing|cannot read|in "|not base64|not complete|not a PKCS#12|not hex|is missing|has no block/,
  ],
]

const whyAccepted = (text: string, message: string): DifferenceId | undefined => {
  const unknown = /Unrecognized option.*: ([a-z0-9-]+) \(/.exec(message)?.[1]
  if (unknown !== undefined) {
    if (/ignore-unknown-option|FORWARD_COMPATIBLE/.test(text) && !isDirective(unknown)) return "order"
    if (unknown === "static-challenge") return "newer"
    return unknown === "socks-proxy-user-pass" ? "blocks" : isWithoutEffect(unknown) ? "elsewhere" : undefined
  }
  const found = acceptances.find(([, pattern]) => pattern.test(message))?.[0]
  if (found !== undefined) return found
  if (/fatal error/.test(message) && /setenv(-safe)?\s+["']?\S["']?(\s|$)/m.test(text)) return "setenv"
  const names = [...message.matchAll(/[a-z0-9_]+(-[a-z0-9]+)*/g)].map(([name]) => name.replaceAll("_", "-"))
  return names.some(isWithoutEffect) ? "no-effect" : undefined
}

/** By the wording of OpenVPN's. */
const acceptances: ReadonlyArray<readonly [DifferenceId, RegExp]> = [
  ["static-tcp", /--proto tcp is ambiguous/],
  ["device", /You must define TUN\/TAP device/],
  ["line-ends", /format error in hash fingerprint/],
  ["comments", /Maximum option line length/],
  ["newer", /--data-ciphers list contains unsupported/],
  ["blocks", /not expected to be inline|http-proxy-user-pass' cannot be used in this context/],
  ["proxy-details", /--http-proxy (MUST be used|not specified but)/],
  ["route-gateway", /route-gateway parm 'default'/],
  ["no-effect", /^Keying material exporter label/],
]

const isWithoutEffect = (name: string): boolean => isDirective(name) && rowOf(name).status.tag === "ignored"

/** Lines to add to a complete file, or the whole file. */
const examples: Readonly<Record<DifferenceId, string>> = {
  numbers: "hand-window soon",
  addresses: "route 10.0.0.0 255.0.255.0",
  words: "bind everywhere",
  content: "<tls-auth>\nnot a key\n</tls-auth>",
  "push-only": "peer-id 5",
  refused: "no-replay",
  devices: "dev null",
  ciphers: "data-ciphers none",
  servers: "proto tcp-server",
  "setenv-opt": "setenv opt hand-window",
  directions: "tls-auth ta.key 1\nkey-direction 0",
  mode: "cipher AES-256-CBC",
  "static-tcp": "proto tcp",
  "static-key": `peer-fingerprint ${new Array(32).fill("ab").join(":")}`,
  outside: "<connection>\nremote b.example\n</connection>\nsocks-proxy a\nhttp-proxy b 80",
  lines: "verb 3\\",
  "no-effect": "shaper 200\nmanagement-hold",
  elsewhere: "block-outside-dns\nkeysize 256",
  device: "",
  order: "unheard-of 1\nignore-unknown-option unheard-of",
  newer: "data-ciphers DEFAULT\nstatic-challenge Code? 1 concat",
  comments: `# ${"x".repeat(300)}`,
  blocks: "<askpass>\nsecret\n</askpass>",
  "proxy-details": "<http-proxy-user-pass>\nalice\nhunter2\n</http-proxy-user-pass>",
  "route-gateway": "route-gateway default",
  setenv: "setenv X 1",
  "line-ends": `<peer-fingerprint>\r\n${new Array(32).fill("ab").join(":")}\r\n</peer-fingerprint>`,
}

if (!hasOpenVpn) test.skip("openvpn is not installed", () => {})

describe.if(hasOpenVpn)("a difference from OpenVPN that is on purpose", () => {
  for (const { id, what } of [...refusedHere, ...acceptedHere]) {
    test(what, async () => {
      const complete = id === "mode" ? base.slice(1, 3) : id.startsWith("static") ? staticBase : base
      const lines = id === "device" ? base.filter((line) => !line.startsWith("dev ")) : complete
      const text = [...lines, examples[id], ""].join("\n")
      const verdict = await directory.judge(text)
      expect(verdict.accepted).toBe(refusedHere.some((difference) => difference.id === id))
      expect(differenceOf(text, verdict)).toBe(id)
    })
  }
})

test.if(hasOpenVpn)(
  "OpenVPN and the parser agree, apart from these, on generated files",
  async () => {
    const random = generator(seed)
    const texts = Array.from({ length: cases }, () => generateFile(random))
    const verdicts = await judgeAll(directory, texts)
    const differences = texts.map((text, index) => differenceOf(text, verdicts[index]!))
    const unexplained = texts.filter((_, index) => differences[index] === "unexplained")
    const shown = unexplained.slice(0, 5).map((text) => {
      const { message } = verdicts[texts.indexOf(text)]!
      return `${text}\nopenvpn: ${message === "" ? "accepts" : message}\nhere: ${ourErrors(text).map(formatDiagnostic).join("; ")}`
    })
    expect(shown).toEqual([])
    // The generator makes files of every kind.
    const agreed = verdicts.filter((_, index) => differences[index] === undefined)
    expect(agreed.filter(({ accepted }) => accepted).length).toBeGreaterThan(cases / 5)
    expect(agreed.filter(({ accepted }) => !accepted).length).toBeGreaterThan(cases / 5)
  },
  3_600_000,
)

describe.if(hasOpenVpn)("configurations of providers", () => {
  if (profiles.length === 0) test.skip("the corpus is not here", () => {})

  test.if(profiles.length > 0)("are accepted or refused as OpenVPN does, apart from the differences", async () => {
    const texts = profiles.map((path) => readFileSync(join(corpus, path), "utf8"))
    const verdicts = await judgeAll(
      directory,
      texts.map((text, index) => withSideFiles(profiles[index]!, text)),
    )
    const differences = texts.map((text, index) =>
      differenceOf(withSideFiles(profiles[index]!, text), verdicts[index]!),
    )
    const shown = profiles.flatMap((path, index) =>
      differences[index] === "unexplained" ? [`${path}: ${verdicts[index]!.message}`] : [],
    )
    expect(shown).toEqual([])
    expect(differences.filter((difference) => difference === undefined).length).toBeGreaterThan(profiles.length / 2)
  })
})

/** The file with the paths of its side files made absolute: those beside it, else stand-ins in the oracle's directory. */
const withSideFiles = (path: string, text: string): string =>
  text
    .split("\n")
    .map((line) => {
      const [, name, file] =
        /^\s*(auth-user-pass|ca|cert|key|tls-auth|tls-crypt|crl-verify|extra-certs)\s+(\S+)/.exec(line) ?? []
      if (name === undefined || file === undefined || file === "[inline]") return line
      const beside = join(corpus, path, "..", basename(file))
      const standIn = { "auth-user-pass": "login", "tls-auth": "ta.key", key: "key.pem" }[name] ?? "ca.pem"
      return line.replace(file, existsSync(beside) ? beside : join(directory.path, standIn))
    })
    .join("\n")
