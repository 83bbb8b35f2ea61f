import { afterAll, expect, test } from "bun:test"
import { describeCertificates } from "../../src/openssl/index.ts"
import { Authority } from "./authority.ts"

const authority = new Authority()
const client = authority.issue("client", "ec")
afterAll(() => authority.remove())

test("certificates of a text are described in its order", () => {
  const [first, second, third] = describeCertificates(`${client.certificate}${authority.certificate}`)
  expect(first).toMatchObject({ subject: "CN=client", issuer: "CN=Test Authority" })
  expect(second!.subject).toBe("CN=Test Authority")
  expect(third).toBeUndefined()
  expect(first!.notAfter - first!.notBefore).toBe(100 * 86_400)
})

test("a damaged certificate, and none, are errors", () => {
  const damaged = client.certificate.replace(/[A-Za-z0-9+/]{64}/, "A".repeat(64))
  expect(() => describeCertificates(damaged)).toThrow("reading the certificates: certificate 1: ")
  expect(() => describeCertificates("hello")).toThrow("there is no PEM certificate in it")
})
