/** Configuration files by grammar: each row of the directive table with good, borderline and bad words, and the ways to write them. */
import { type DirectiveName, directives, rowOf } from "../../src/config/directives.ts"
import type { Row } from "../../src/config/row.ts"
import type { Grammar } from "../../src/config/values.ts"

export type Random = (limit: number) => number

/** xorshift32: the same numbers on every run. */
export const generator = (seed: number): Random => {
  let state = seed
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

const pick = <A>(random: Random, among: ReadonlyArray<A>): A => among[random(among.length)]!

/** What a complete file has; some files lack a line of it. */
export const base = [
  "client",
  "remote a.example 1194",
  "dev tun",
  "ca ca.pem",
  "auth-user-pass",
  "remote-cert-tls server",
]

/** The same without TLS. */
export const staticBase = [
  "remote a.example 1194",
  "dev tun",
  "ifconfig 10.0.0.1 10.0.0.2",
  "cipher AES-256-CBC",
  "secret ta.key 1",
]

/** A file of a few generated statements. */
export const generateFile = (random: Random): string => {
  const complete = random(10) === 0 ? staticBase : base
  const lines = random(12) === 0 ? complete.toSpliced(random(complete.length), 1) : [...complete]
  const count = random(3) === 0 ? 2 + random(4) : 1
  for (let index = 0; index < count; index++) {
    const at = random(4) === 0 ? random(lines.length) : lines.length
    lines.splice(at, 0, ...statement(random))
  }
  const end = random(6) === 0 ? "\r\n" : "\n"
  const text = lines.join(end) + (random(8) === 0 ? "" : end)
  return random(12) === 0 ? `\ufeff${text}` : text
}

const statement = (random: Random): ReadonlyArray<string> => {
  const kind = random(20)
  if (kind === 0) return [pick(random, oddLines)]
  if (kind === 1)
    return ["<connection>", "remote b.example 443 tcp", written(random, pick(random, inConnection)), "</connection>"]
  if (kind === 2) {
    const name = pick(random, withConflicts)
    const other = pick(random, rowOf(name).conflicts ?? []) as DirectiveName
    return [written(random, name), written(random, other)]
  }
  const name = pick(random, names)
  const row = rowOf(name)
  if ((row.content !== undefined || row.block) && random(2) === 0) return block(random, name, row)
  return [written(random, name)]
}

/** One line of a directive, perhaps in an unusual way. */
const written = (random: Random, name: DirectiveName): string => {
  const words = wordsOf(random, rowOf(name))
  const line = [name, ...words.map((word) => quoted(random, word))].join(pick(random, [" ", " ", " ", "  ", "\t"]))
  const kind = random(24)
  if (kind === 0) return `  ${line}  `
  if (kind === 1) return `--${line}`
  if (kind === 2) return `${line} # comment`
  if (kind === 3) return `${line} ; comment`
  if (kind === 4) return `setenv opt ${line}`
  if (kind === 5) return `${line} extra`
  if (kind === 6) return `${line.slice(0, -1)}`
  return line
}

const quoted = (random: Random, word: string): string => {
  const plain = /^[^\s"'\\#;]+$/.test(word)
  const kind = random(plain ? 12 : 3)
  if (kind === 0) return `"${word.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`
  if (kind === 1) return word.includes("'") ? `"${word}"` : `'${word}'`
  if (kind === 2) return word.replace(/[\s"\\]/g, "\\$&") || '""'
  return word
}

const wordsOf = (random: Random, row: Row): ReadonlyArray<string> => {
  const { required, optional, rest } = row.takes
  const grammars = [
    ...(row.content === undefined || (row.content.optional && random(2) === 0) ? [] : [file]),
    ...required,
    ...optional.slice(0, random(optional.length + 1)),
    ...(rest === undefined ? [] : new Array<Grammar<unknown>>(random(3)).fill(rest)),
  ]
  const missing = random(25) === 0 && grammars.length > 0 ? grammars.slice(1) : grammars
  return missing.map((grammar) => sample(random, grammar))
}

const file: Grammar<unknown> = { syntax: "named", read: () => ({}) as never, write: String }

const block = (random: Random, name: DirectiveName, row: Row): ReadonlyArray<string> => {
  const content = row.block
    ? [sample(random, row.takes.required[0] ?? file)]
    : (blockContents[name] ?? pick(random, [["# nothing"], ["x"], []]))
  const lines = [`<${name}>`, ...content, `</${name}>`]
  const kind = random(12)
  if (kind === 0) return lines.slice(0, -1)
  if (kind === 1) return lines.slice(1)
  if (kind === 2) return [...lines.slice(0, -1), `  </${name}>  `]
  if (kind === 3) return [`${name} [inline]`, ...lines]
  if (kind === 4) return [` <${name}> # comment`, ...lines.slice(1)]
  return lines
}

const sample = (random: Random, grammar: Grammar<unknown>): string => {
  const known = samples[grammar.syntax]
  if (known !== undefined) return pick(random, known)
  const alternatives = grammar.syntax.split("|").flatMap((word) => samples[word] ?? [word])
  return random(5) === 0 ? pick(random, ["bogus", "0", ""]) : pick(random, alternatives)
}

const numbers = [
  "0",
  "1",
  "2",
  "10",
  "60",
  "68",
  "100",
  "1300",
  "1500",
  "65535",
  "65536",
  "-1",
  "x",
  "1x",
  "99999999999",
]
const numeric =
  "port seconds maximum rounds times interval timeout bytes size metric packets count level mark id priority lines occ-mtu length"
const names128 = ["a.example", "10.0.0.1", "fd00::1", "b", "a_b", "", "two words", "-x"]
const fingerprintOf = (length: number) => new Array(length).fill("Ab").join(":")

/** By the name of the grammar. */
const samples: Readonly<Record<string, ReadonlyArray<string>>> = {
  ...Object.fromEntries(numeric.split(" ").map((name) => [name, numbers])),
  named: ["ca.pem", "ta.key", "login", "missing.pem", "[inline]", "."],
  file: ["ca.pem", "login", "missing", ""],
  directory: ["/tmp", "/nonexistent"],
  path: ["/tmp", "x"],
  host: names128,
  ipv4: ["10.8.0.1", "255.255.255.0", "10.8.0", "10.8.0.256", "a.example", "::1"],
  ipv6: ["fd00::1", "::", "1.2.3.4", "fd00::1::2", "x"],
  "ipv6/bits": ["fd00::/8", "fd00::1/64", "::/0", "fd00::1", "fd00::/129", "10.0.0.0/8", "x"],
  netmask: ["255.255.255.0", "255.255.255.255", "0.0.0.0", "255.0.255.0", "24", "x"],
  list: [
    "AES-256-GCM",
    "AES-128-GCM:AES-256-GCM",
    "AES-256-CBC",
    "?FOO:AES-128-GCM",
    "FOO",
    "SHA256",
    "none",
    "DEFAULT",
    "",
  ],
  fingerprint: [fingerprintOf(32), fingerprintOf(20), fingerprintOf(31), "ab", ""],
  hex: ["a0", "80", "0x80", "zz"],
  device: ["tun", "tun5", "tap0", "vpn0", "null", "a-very-long-device-name"],
  prefix: ["route", "dhcp-option DNS", ""],
  type: ["DNS", "DOMAIN", "WINS", "FOO", "DISABLE-NBT"],
  name: ["UV_X", "CN", "a b", "root"],
  flag: ["cc-exit", "0", "foo"],
  text: ["Code?", "a b", ""],
  oid: ["serverAuth", "1.3.6.1.5.5.7.3.1"],
  value: ["1.0", "x", "a b"],
  word: ["x", "1.1.1.1", "a b", "address", "1"],
  command: ["/bin/true", "/bin/true x", "/nonexistent"],
  version: ["2.4.0", "2.3", "x"],
  algorithm: ["SHA1"],
  method: ["exe", "dynamic"],
  address: ["127.0.0.1", "00:11:22:33:44:55"],
  field: ["CN", "ext:subjectAltName", "foo"],
  option: ["route 10.0.0.0", "x"],
}

const staticKeyLines = [
  "-----BEGIN OpenVPN Static key V1-----",
  ...new Array<string>(16).fill("00112233445566778899aabbccddeeff"),
  "-----END OpenVPN Static key V1-----",
]

const blockContents: Partial<Record<DirectiveName, ReadonlyArray<string>>> = {
  "auth-user-pass": ["alice", "hunter2"],
  "http-proxy-user-pass": ["alice", "hunter2"],
  "tls-auth": staticKeyLines,
  "tls-crypt": staticKeyLines,
  secret: staticKeyLines,
}

const oddLines = [
  "",
  "# comment",
  "; comment",
  "   # comment",
  "client#x",
  "verb 3#x",
  "verb 3;x",
  'verb "3',
  "verb '3",
  "verb 3\\",
  "verb \\3",
  'setenv UV_X "a\\"b"',
  "setenv UV_X 'a\\b'",
  'setenv UV_X "a\\b"',
  "setenv UV_X a\\ b",
  '"verb" 3',
  "verb\t3",
  "verb\u000b3",
  "unknown-directive",
  "VERB 3",
  "verb  3  ",
  "--verb 3",
  "---verb 3",
  "-- verb 3",
  "<foo>",
  "</ca>",
  "<ca",
  "<ca> x",
  "<>",
  `setenv UV_X ${"x".repeat(230)}`,
  `setenv UV_X ${"x".repeat(240)}`,
  `setenv UV_X ${"x".repeat(256)}`,
  `echo ${"x ".repeat(15)}`,
  `echo ${"x ".repeat(14)}`,
  `echo ${"x ".repeat(20)}`,
  `# ${"x".repeat(400)}`,
  "caf\u00e9",
  'setenv UV_X "caf\u00e9"',
  "verb 3 # \u00e9",
  "<<<<<<< HEAD",
  "verb 3 4",
]

/** What `openvpn` would carry out instead of judging the file, or would take its answer away by. */
const notForTheOracle: ReadonlySet<string> = new Set([
  "connection",
  "config",
  "cd",
  "daemon",
  "syslog",
  "log",
  "log-append",
  "writepid",
  "status",
  "memstats",
  "help",
  "version",
  "genkey",
  "mktun",
  "rmtun",
  "test-crypto",
  "providers",
  ...Object.keys(directives).filter((name) => name.startsWith("show-")),
])

const names = (Object.keys(directives) as Array<DirectiveName>).filter((name) => !notForTheOracle.has(name))
const inConnection = names.filter((name) => rowOf(name).connection || name === "verb")
const withConflicts = names.filter((name) => rowOf(name).conflicts !== undefined)
