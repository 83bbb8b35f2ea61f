/** docs/troubleshooting.md quotes what the program says; a message that changed is found here. */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const project = join(import.meta.dir, "../..")
const page = readFileSync(join(project, "docs/troubleshooting.md"), "utf8")

/** Where a value stands in a message, the page has `…`, a number, `N`, `x`, `X` or `FILE:LINE:COLUMN`. */
const variable = /…|\b(?:N|x|X|tun|FILE:LINE:COLUMN|\d+)\b/

test("every message of the page is one that the program says", () => {
  const src = join(project, "src")
  const code = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(src, file), "utf8"))
    .join("\n")
  const messages = page
    .split("\n")
    .filter((line) => /^\| (`|\d+ \| `)/.test(line))
    .flatMap((line) =>
      [
        ...line
          .replace(/^\| \d+ /, "")
          .split(" | ")[0]!
          .matchAll(/`([^`]+)`/g),
      ].map(([, text]) => text!),
    )
  expect(messages.length).toBeGreaterThan(15)
  const parts = messages.flatMap((message) => message.split(variable).flatMap((part) => part.split(/[:;(]/)))
  const unknown = parts.map((part) => part.trim()).filter((part) => part.length > 8 && !code.includes(part))
  expect(unknown).toEqual([])
})
