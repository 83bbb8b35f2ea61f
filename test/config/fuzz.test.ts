import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { directives } from "../../src/config/directives.ts"
import { type Diagnostic, formatDiagnostic, type Profile, parse, print, readPush } from "../../src/config/index.ts"
import { certificate, expectSameProfile, files, minimal, privateKey, staticKey } from "./fixtures.ts"

const seeds = [
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
    'pull-filter ignore "x"\ndata-ciphers AES-256-GCM:?X\nauth SHA256\nlocal 10.0.0.1\ntun-mtu 1400\ncd dir\nauth-user-pass login',
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

/** xorshift32: the same mutations on every run. */
const generator = (seed: number) => {
  let state = seed
  return (limit: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

/** Damage that often leaves a valid file: a line lost, doubled or moved, a digit changed. */
const shuffleLines = (text: string, random: (limit: number) => number): string => {
  const lines = text.split("\n")
  const at = random(lines.length)
  const kind = random(4)
  if (kind === 0) lines.splice(at, 1)
  else if (kind === 1) lines.splice(at, 0, lines[at]!)
  else if (kind === 2) lines.splice(random(lines.length), 0, ...lines.splice(at, 1))
  else lines[at] = lines[at]!.replace(/[0-9]/, String(random(10)))
  return lines.join("\n")
}

const mutate = (text: string, random: (limit: number) => number): string => {
  let mutated = text
  for (let count = 1 + random(3); count > 0; count--) {
    const at = random(mutated.length + 1)
    const length = random(4) === 0 ? random(200) : random(3)
    const inserted = random(3) === 0 ? "" : fragments[random(fragments.length)]!
    mutated = mutated.slice(0, at) + inserted + mutated.slice(at + length)
  }
  return mutated
}

const read = files({ "ta.key": staticKey, "dir/login": "a\nb\n" })

const checkPositions = (text: string, diagnostics: ReadonlyArray<Diagnostic>) => {
  const lines = text.split("\n")
  for (const { line, column } of diagnostics) {
    if (line < 1 || line > lines.length || column < 1 || column > lines[line - 1]!.length + 2)
      throw new Error(`no such place: ${line}:${column}`)
  }
}

for (const seed of [20260701, 20260702, 20260703, 20260704]) {
  test(`5,000 damaged files (seed ${seed}): a profile that prints and parses back, or errors at places that exist`, () => {
    const random = generator(seed)
    let valid = 0
    let invalid = 0
    for (let round = 0; round < 5_000; round++) {
      const damage = random(3) === 0 ? mutate : shuffleLines
      const text = damage(seeds[round % seeds.length]!, random)
      const result = parse(text, { file: "f", read })
      if (Result.isSuccess(result)) {
        valid++
        checkPositions(text, result.success.notes)
        if (round % 5 === 0) checkRoundTrip(text, result.success.profile)
      } else {
        invalid++
        checkPositions(text, result.failure)
        if (!result.failure.some(({ severity }) => severity === "error"))
          throw new Error(`failed without an error:\n${text}`)
        if (result.failure.some((diagnostic) => /[\0-\x1f]/.test(formatDiagnostic(diagnostic))))
          throw new Error("control characters")
      }
    }
    // Both sides of the parser were exercised.
    expect(valid).toBeGreaterThan(1000)
    expect(invalid).toBeGreaterThan(1000)
  }, 60_000)
}

const checkRoundTrip = (text: string, profile: Profile) => {
  const again = parse(print(profile, { secrets: true }), { file: "f", read })
  if (Result.isFailure(again)) throw new Error(`${text}\n${again.failure.map(formatDiagnostic).join("\n")}`)
  expectSameProfile(again.success.profile, profile)
}

test("10,000 damaged pushes never throw, and give at most one note for each option", () => {
  const random = generator(7)
  const push =
    "route 10.8.0.0 255.255.255.0,ping 10,ifconfig 10.8.0.2 255.255.255.0,dhcp-option DNS 10.8.0.1,peer-id 1,cipher AES-256-GCM,auth-token x"
  for (let round = 0; round < 10_000; round++) {
    const text = mutate(push, random)
    const { notes } = readPush([text], { pullFilters: [], routeNopull: round % 2 === 0 })
    if (notes.length > text.split(",").length) throw new Error(`${text}\n${notes.join("\n")}`)
  }
})

/** Work that grows with the square of the length would run into the time limit of a test. */
describe("large hostile files end", () => {
  const size = 1_000_000
  const distinct = (write: (index: number) => string, length: number) =>
    Array.from({ length: size / length }, (_, index) => write(index)).join("\n")
  const texts: Record<string, string> = {
    "escaped blanks": `${"\\ ".repeat(100)}\n`.repeat(size / 200),
    "blocks that do not end": "<ca>\nAAAA\n".repeat(size / 10),
    "tags that only close": "</ca>\n".repeat(size / 6),
    routes: "route 10.0.0.0\n".repeat(size / 15),
    repetitions: "verb 3\n".repeat(size / 7),
    "connection blocks": "<connection>\nremote a\n</connection>\n".repeat(size / 36),
    "unknown directives": distinct((index) => `directive-${index}`, 15),
    "one word": "-".repeat(size),
    "blanks before a marker": `<key>\n${" ".repeat(size)}x\n-----BEGIN ${" ".repeat(size)}-----\n</key>`,
    "PEM headers": `<key>\n-----BEGIN RSA PRIVATE KEY-----\n${distinct((index) => `H${index}: x\nA${index}`, 18)}\n-----END RSA PRIVATE KEY-----\n</key>`,
  }
  for (const [what, text] of Object.entries(texts)) {
    test(what, () => {
      const result = parse(text, { file: "f", read })
      expect(Result.isFailure(result) && result.failure.length > 0).toBe(true)
    })
  }
})
