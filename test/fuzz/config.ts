/**
 * The long form of the configuration fuzzing: npm run fuzz:config -- [files] [seed]; a million files without arguments. Then files
 * of 10 MB of one kind each, with the time that each takes. A file that fails is printed with the arguments that make it again.
 */
import * as Result from "effect/Result"
import { parse } from "../../src/config/index.ts"
import { minimal } from "../config/fixtures.ts"
import { generator } from "../config/generate.ts"
import { checkFile, damagedFile, read } from "./config-files.ts"

const [count = 1_000_000, first = 1] = process.argv.slice(2).map(Number)
/** Files for each seed: what fails is found again within this many. */
const round = 10_000

let valid = 0
let slowest = { ms: 0, text: "" }
const start = performance.now()
for (let done = 0; done < count; done += round) {
  const seed = first + done / round
  const random = generator(seed)
  for (let index = 0; index < Math.min(round, count - done); index++) {
    const text = damagedFile(random)
    const before = performance.now()
    try {
      if (checkFile(text, index % 10 === 0)) valid++
    } catch (error) {
      console.error(`bun test/fuzz/config.ts ${round} ${seed}: file ${index}`)
      throw error
    }
    const ms = performance.now() - before
    if (ms > slowest.ms) slowest = { ms, text }
  }
}
const seconds = (performance.now() - start) / 1000
const again = performance.now()
checkFile(slowest.text, true)
const alone = performance.now() - again
console.log(`${count} files in ${seconds.toFixed(0)} s: ${valid} valid`)
console.log(`the slowest took ${slowest.ms.toFixed(1)} ms, and ${alone.toFixed(1)} ms once more`)

const size = 10_000_000
const large: Readonly<Record<string, string>> = {
  comments: minimal("# forty characters of a comment, or more\n".repeat(size / 41)),
  "a block": minimal().replace("<ca>\n", `<ca>\n${"forty characters of an explanation, yes.\n".repeat(size / 41)}`),
  routes: minimal("route 10.0.0.0 255.0.0.0\n".repeat(size / 25)),
  "IPv6 routes": minimal("route-ipv6 fd00::/8\n".repeat(size / 20)),
  remotes: minimal("remote vpn.example.com 1194 udp\n".repeat(size / 32)),
  "connection blocks": minimal("<connection>\nremote a\n</connection>\n".repeat(size / 36)),
  "connection blocks with a line of their own": minimal(
    "<connection>\nremote a\nbind\n</connection>\n".repeat(size / 41),
  ),
  "connection blocks under different lines": minimal(
    "port 1\n<connection>\nremote a\n</connection>\n".repeat(size / 43),
  ),
  "empty connection blocks": minimal("<connection>\n</connection>\n".repeat(size / 27)),
  "blocks that are not closed": "<ca>\nAAAA\n".repeat(size / 10),
  "lines without words": minimal("persist-tun\n".repeat(size / 12)),
  quotations: minimal('setenv UV_X "a b"\n'.repeat(size / 18)),
  "escaped blanks": minimal("setenv UV_X a\\ b\\ c\n".repeat(size / 20)),
  "the same line": minimal("verb 3\n".repeat(size / 7)),
  "unknown directives": Array.from({ length: size / 15 }, (_, index) => `directive-${index}`).join("\n"),
  "closing tags": "</ca>\n".repeat(size / 6),
  "one line": "x".repeat(size),
}
for (const [kind, text] of Object.entries(large)) {
  // Not the time on the wall: the machine may have other work.
  const before = process.cpuUsage()
  const result = parse(text, { file: "f", read })
  const { user } = process.cpuUsage(before)
  console.log(
    `10 MB of ${kind}: ${(user / 1000).toFixed(0)} ms of processor time, ${Result.isSuccess(result) ? "valid" : "refused"}`,
  )
}
