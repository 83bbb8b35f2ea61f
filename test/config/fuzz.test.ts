import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { parse, readPush } from "../../src/config/index.ts"
import { checkFile, damagedFile, mutate, read } from "../fuzz/config-files.ts"
import { generator } from "./generate.ts"

for (const seed of [20260701, 20260702]) {
  test(`5,000 damaged files (seed ${seed}): a profile that prints and parses back, or errors at places that exist`, () => {
    const random = generator(seed)
    let valid = 0
    for (let round = 0; round < 5_000; round++) if (checkFile(damagedFile(random), round % 5 === 0)) valid++
    // Both sides of the parser were exercised.
    expect(valid).toBeGreaterThan(1000)
    expect(valid).toBeLessThan(4000)
  }, 60_000)
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
    "connection blocks in front of what they do not see": `${"<connection>\nremote a\n</connection>\n".repeat(size / 72)}${"port 1\nhttp-proxy-option AGENT x\ntls-auth [inline]\n".repeat(size / 96)}`,
    "connection blocks behind much": `${"http-proxy-option AGENT x\ntls-auth k\n".repeat(size / 74)}${"<connection>\nremote a\nhttp-proxy p 1\n</connection>\n".repeat(size / 102)}`,
    "unknown directives": distinct((index) => `directive-${index}`, 15),
    "one word": "-".repeat(size),
    "blanks before a marker": `<key>\n${" ".repeat(size)}x\n-----BEGIN ${" ".repeat(size)}-----\n</key>`,
    "PEM headers": `<key>\n-----BEGIN RSA PRIVATE KEY-----\n${distinct((index) => `H${index}: x\nA${index}`, 18)}\n-----END RSA PRIVATE KEY-----\n</key>`,
  }
  for (const [what, text] of Object.entries(texts)) {
    test(what, () => {
      const result = parse(text, { file: "f", read })
      expect(Result.isFailure(result) && result.failure.length > 0).toBe(true)
    }, 20_000)
  }
})
