import { afterAll, expect, test } from "bun:test"
import { describeCertificates, describeRevocations } from "../../src/openssl/index.ts"
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

test("revocation lists of a text are described in its order", () => {
  const old = authority.revocations("20200101000000Z", "20200201000000Z")
  const late = authority.revocations("20600101000000Z", "20600201000000Z")
  expect(describeRevocations(`${old}in between\n${late}`)).toEqual([
    { issuer: "CN=Test Authority", thisUpdate: Date.UTC(2020, 0, 1) / 1000, nextUpdate: Date.UTC(2020, 1, 1) / 1000 },
    { issuer: "CN=Test Authority", thisUpdate: Date.UTC(2060, 0, 1) / 1000, nextUpdate: Date.UTC(2060, 1, 1) / 1000 },
  ])
})

test("a damaged revocation list is an error, also behind a good one", () => {
  const good = authority.revocations("20200101000000Z", "20200201000000Z")
  const damaged = good.replace(/[A-Za-z0-9+/]{64}/, "A".repeat(64))
  expect(() => describeRevocations(`${good}${damaged}`)).toThrow("reading crl-verify: revocation list 2: ")
  expect(() => describeRevocations("hello")).toThrow("there is no PEM revocation list in it")
})
