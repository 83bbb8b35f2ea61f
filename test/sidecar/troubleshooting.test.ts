/** docs/troubleshooting.md quotes what the program says; a message that changed is found here. */
import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { withTroubles } from "../../src/sidecar/reference.ts"

const project = join(import.meta.dir, "../..")
const page = readFileSync(join(project, "docs/troubleshooting.md"), "utf8")

/** Where a value stands in a message, the page has `…`, a number, `N`, `x`, `X` or `FILE:LINE:COLUMN`. */
const variable = /…|\b(?:N|x|X|tun|FILE:LINE:COLUMN|\d+)\b/

const src = join(project, "src")
/** Without the injector, which has a page of its own. */
const sources = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.startsWith("injector/"))
  .map((file) => readFileSync(join(src, file), "utf8"))

/** To write it anew: bun -e 'const f = Bun.file("docs/troubleshooting.md"); await Bun.write(f, (await import("./src/sidecar/reference.ts")).withTroubles(await f.text()))' */
test("the page has what the tables of events and reasons say", () => {
  expect(page).toBe(withTroubles(page))
  expect(page).toContain("| `PeerRefused` |")
  expect(page).toContain("| `reload_refused` |")
})

test("every error that ends the program has a row with its exit code", () => {
  const classes = sources.flatMap((text) => [
    ...text.matchAll(/TaggedError\("(\w+)"\)(?:(?!TaggedError)[\s\S])*?errorExitCode\] = (\d+)/g),
  ])
  // Of the short commands, which say it on standard error.
  const spoken = ["CheckFailed", "NotReachable", "FirewallError"]
  const ends = classes.filter(([, name]) => !spoken.includes(name!))
  expect(ends.length).toBeGreaterThan(6)
  const missing = ends.filter(([, name, code]) => !page.includes(`\n| ${code} | \`${name}\` | `))
  expect(missing.map(([, name, code]) => `${code} ${name}`)).toEqual([])
})

/** What Kubernetes says, not we. */
const foreign = /^failed calling webhook/

test("every message of the page, and of README's symptoms, is one that the program says", () => {
  const code = sources.join("\n")
  const readme = readFileSync(join(project, "README.md"), "utf8")
  const symptoms = readme.slice(readme.indexOf("## When something does not work"), readme.indexOf("## Beside other"))
  expect(symptoms).toContain("server certificate refused")
  const messages = `${page}\n${symptoms}`
    .split("\n")
    .filter((line) => /^\| (`|\d+ \| )/.test(line))
    .flatMap((line) =>
      [
        ...line
          .replace(/^\| \d+ \|.*? \| /, "| ")
          .split(" | ")[0]!
          .matchAll(/`([^`]+)`/g),
      ].map(([, text]) => text!),
    )
  expect(messages.length).toBeGreaterThan(15)
  const parts = messages
    .filter((message) => !foreign.test(message))
    .flatMap((message) => message.split(variable).flatMap((part) => part.split(/[:;(]/)))
  const unknown = parts.map((part) => part.trim()).filter((part) => part.length > 8 && !code.includes(part))
  expect(unknown).toEqual([])
})
