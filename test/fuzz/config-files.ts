/** Damaged configuration files, and what must be true of each: used by a sample in `npm test` and by the long form beside this file. */
import { Schema } from "effect"
import * as Result from "effect/Result"
import { directives } from "../../src/config/directives.ts"
import { type Diagnostic, formatDiagnostic, Profile, parse, readsBack } from "../../src/config/index.ts"
import { certificate, files, minimal, privateKey, staticKey } from "../config/fixtures.ts"
import { generateFile, type Random } from "../config/generate.ts"

/** One damaged file. */
export const damagedFile = (random: Random): string => {
  const kind = random(8)
  if (kind === 0) return generateFile(random)
  const seed = kind === 1 ? generateFile(random) : seeds[random(seeds.length)]!
  return random(3) === 0 ? mutate(seed, random) : shuffleLines(seed, random)
}

/**
 * A profile without contradiction that prints and parses back, or errors at places that exist; never anything else. Throws what is wrong with the parser;
 * says whether the file is valid.
 */
export const checkFile = (text: string, roundTrip: boolean): boolean => {
  const result = parse(text, { file: "f", read })
  const diagnostics = Result.isSuccess(result) ? result.success.notes : result.failure
  checkPositions(text, diagnostics)
  if (diagnostics.some((diagnostic) => /[\0-\x08\x0a-\x1f]/.test(formatDiagnostic(diagnostic))))
    throw new Error(`control characters in a message:\n${text}`)
  if (Result.isFailure(result)) {
    if (!result.failure.some(({ severity }) => severity === "error"))
      throw new Error(`failed without an error:\n${text}`)
    return false
  }
  if (!isProfile(result.success.profile)) throw new Error(`contradicts itself:\n${text}`)
  if (roundTrip && !readsBack(result.success.profile)) throw new Error(`does not read back:\n${text}`)
  return true
}

const isProfile = Schema.is(Profile)
const sha256 = new Array(32).fill("cd").join(":")
const seeds = [
  minimal(
    "proto tcp\nhttp-proxy p 8080 auto\n<http-proxy-user-pass>\na\nb\n</http-proxy-user-pass>\nhttp-proxy-option CUSTOM-HEADER x y\nsndbuf 9\nmark 3\ndns server 1 address 1.1.1.1:53 fd00::1\ndns search-domains a b",
  ),
  minimal(
    `fragment 1300\nverify-hash ${sha256} SHA256\nremote-cert-ku a0 88\nx509-username-field CN ext:subjectAltName\ncomp-lzo no\nstatic-challenge "a b" 1\ncrl-verify d dir\ndata-ciphers AES-256-CBC:AES-192-GCM\nifconfig-noexec`,
  ),
  minimal(
    "remote b 443 tcp\nkeepalive 10 60\nroute 10.0.0.0 255.0.0.0\nroute-ipv6 fd00::/8\nredirect-gateway def1 ipv6\ndhcp-option DNS 1.1.1.1",
  ),
  minimal(
    `tls-auth [inline] 1\n<tls-auth>\n${staticKey}</tls-auth>\n<connection>\nremote a 1 udp\nmssfix 1400\n</connection>`,
  ),
  minimal(
    `<cert>\n${certificate}</cert>\n<key>\n${privateKey}</key>\nverify-x509-name "a \\"b\\" c" name\nsetenv UV_X 'y z'\ntls-crypt ta.key`,
  ),
  minimal(
    'pull-filter ignore "x"\ndata-ciphers AES-256-GCM:?X\nauth SHA256\nlocal 10.0.0.1\ntun-mtu 1400\ncd dir\nauth-user-pass login\nauth-nocache',
  ),
]
const fragments = [
  "\n",
  "\r\n",
  "\\",
  '"',
  "'",
  "#",
  " ",
  "\t",
  "\0",
  "\ufeff",
  "<",
  ">",
  "</",
  "<ca>\n",
  "</ca>\n",
  "<connection>\n",
  "</connection>\n",
  "--",
  "-1",
  "99999999999999999999",
  "[inline]",
  ":",
  "/",
  "?",
  "%",
  "\ud800",
  "é",
  "x".repeat(300),
  "0.0.0.0",
  "::",
  ...Object.keys(directives),
]

/** Damage that often leaves a valid file: a line lost, doubled or moved, a digit changed. */
const shuffleLines = (text: string, random: Random): string => {
  const lines = text.split("\n")
  const at = random(lines.length)
  const kind = random(4)
  if (kind === 0) lines.splice(at, 1)
  else if (kind === 1) lines.splice(at, 0, lines[at]!)
  else if (kind === 2) lines.splice(random(lines.length), 0, ...lines.splice(at, 1))
  else lines[at] = lines[at]!.replace(/[0-9]/, String(random(10)))
  return lines.join("\n")
}

export const mutate = (text: string, random: Random): string => {
  let mutated = text
  for (let count = 1 + random(3); count > 0; count--) {
    const at = random(mutated.length + 1)
    const length = random(4) === 0 ? random(200) : random(3)
    const inserted = random(3) === 0 ? "" : fragments[random(fragments.length)]!
    mutated = mutated.slice(0, at) + inserted + mutated.slice(at + length)
  }
  return mutated
}

export const read = files({ "ta.key": staticKey, "dir/login": "a\nb\n" })

const checkPositions = (text: string, diagnostics: ReadonlyArray<Diagnostic>) => {
  const lines = text.split("\n")
  for (const { line, column } of diagnostics) {
    if (line < 1 || line > lines.length || column < 1 || column > lines[line - 1]!.length + 2)
      throw new Error(`no such place: ${line}:${column}`)
  }
}
