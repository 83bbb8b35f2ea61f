import { expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { issue, makeAuthority, readPair } from "../../src/injector/x509.ts"
import { finish } from "../support/child.ts"

const now = Date.now()
const day = { from: now - 60_000, to: now + 86_400_000 }

test("openssl accepts the leaf under the authority, for its names and for a server only", async () => {
  const directory = mkdtempSync(join(tmpdir(), "culvert-x509-"))
  try {
    const authority = makeAuthority("culvert-injector", day)
    const leaf = issue(authority, ["culvert-injector.culvert-system.svc", "culvert-injector"], day)
    const files = { ca: join(directory, "ca.pem"), leaf: join(directory, "leaf.pem") }
    writeFileSync(files.ca, authority.certificate)
    writeFileSync(files.leaf, leaf.certificate)
    const verify = (...options: ReadonlyArray<string>) =>
      finish(["openssl", "verify", "-x509_strict", "-CAfile", files.ca, ...options, files.leaf])
    const good = await verify("-purpose", "sslserver", "-verify_hostname", "culvert-injector.culvert-system.svc")
    expect(good.stderr + good.stdout).toContain("OK")
    expect((await verify("-verify_hostname", "elsewhere")).code).not.toBe(0)
    expect((await verify("-purpose", "sslclient")).code).not.toBe(0)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test("validity is as asked for, also beyond 2050", () => {
  const to = Date.UTC(2061, 1, 3, 4, 5, 6)
  const made = new X509Certificate(makeAuthority("x", { from: Date.UTC(2049, 11, 31, 23, 59, 59), to }).certificate)
  expect(Date.parse(made.validTo)).toBe(to)
  expect(made.ca).toBe(true)
})

test("a key that belongs to another certificate is seen", () => {
  const [one, other] = [makeAuthority("one", day), makeAuthority("other", day)]
  expect(readPair(one)).toMatchObject({ isAuthority: true })
  expect(readPair({ ...one, key: other.key })).toBeUndefined()
  expect(readPair({ certificate: "", key: "" })).toBeUndefined()
})
