import { afterAll, describe, expect, test } from "bun:test"
import { checkKeyPair, OpenSslError, TlsContext, type TlsOptions } from "../../src/openssl/index.ts"
import { Authority } from "./authority.ts"

const authority = new Authority()
const identity = authority.issue("client", "ec")
const other = authority.issue("other", "ec")
const rsa = authority.issue("rsa", "rsa")
authority.openssl(["pkcs8", "-topk8", "-in", "rsa.key", "-passout", "pass:hunter2", "-out", "pkcs8.key"])
authority.openssl(["rsa", "-traditional", "-in", "rsa.key", "-aes256", "-passout", "pass:hunter2", "-out", "old.key"])
const pkcs8 = authority.read("pkcs8.key")
const traditional = authority.read("old.key")
afterAll(() => authority.remove())

const broken = identity.certificate.replace(/[A-Za-z0-9+/]{64}/, "A".repeat(64))

describe("checkKeyPair", () => {
  test("is content with a pair, of any type, chain and comments included", () => {
    expect(checkKeyPair(identity.certificate, identity.key)).toBeUndefined()
    expect(checkKeyPair(rsa.certificate, rsa.key)).toBeUndefined()
    const commented = `Certificate:\n  Data: CN=client\n${identity.certificate}${authority.certificate}`
    expect(checkKeyPair(commented, identity.key)).toBeUndefined()
  })

  test.each([
    ["PKCS#8", pkcs8],
    ["traditional", traditional],
  ])("opens an encrypted key: %s", (_, key) => {
    expect(checkKeyPair(rsa.certificate, key, "hunter2")).toBeUndefined()
    expect(checkKeyPair(rsa.certificate, key)).toBe(
      "reading the private key: it is encrypted and no passphrase is given",
    )
    const wrong = checkKeyPair(rsa.certificate, key, "hunter3")
    expect(wrong).toMatch(/^reading the private key: .*\(is the passphrase right\?\)$/)
    expect(wrong).not.toContain("hunter")
    expect(checkKeyPair(rsa.certificate, key, "")).toEndWith("(is the passphrase right?)")
  })

  test.each([
    [
      "another key",
      identity.certificate,
      other.key,
      "the private key does not belong to the certificate: key values mismatch",
    ],
    ["a key of another type", identity.certificate, rsa.key, "the private key does not belong to the certificate: "],
    ["no key", identity.certificate, "", "reading the private key: there is no PEM private key in it"],
    [
      "a certificate as key",
      identity.certificate,
      identity.certificate,
      "reading the private key: there is no PEM private key in it",
    ],
    ["no certificate", "hello", identity.key, "reading the certificate: there is no PEM certificate in it"],
    ["a damaged certificate", broken, identity.key, "reading the certificate: certificate 1: "],
  ])("says what is wrong: %s", (_, certificate, key, message) => {
    expect(checkKeyPair(certificate, key)).toStartWith(message)
  })
})

describe("a context", () => {
  const options: TlsOptions = {
    ca: authority.certificate,
    certificate: undefined,
    key: undefined,
    minimum: "1.2",
    certProfile: "legacy",
    verify: () => undefined,
  }

  test.each<readonly [string, Partial<TlsOptions>, string]>([
    ["ca without certificate", { ca: "" }, "reading the ca: there is no PEM certificate in it"],
    ["damaged ca", { ca: authority.certificate + broken }, "reading the ca: certificate 2: "],
    ["damaged certificate", { ...identity, certificate: broken }, "reading our certificate: certificate 1: "],
    ["key of another", { ...identity, key: other.key }, "the private key does not belong to our certificate: "],
    [
      "certificate without key",
      { certificate: identity.certificate },
      "our certificate: it is given without its private key",
    ],
    ["key without certificate", { key: identity.key }, "our certificate: a private key is given without it"],
    ["passphrase missing", { certificate: rsa.certificate, key: pkcs8 }, "reading the private key: it is encrypted"],
    ["versions", { minimum: "1.3", maximum: "1.2" }, "TLS versions: the maximum 1.2 is below the minimum 1.3"],
    ["ciphers", { ciphers: "NONSENSE" }, 'setting the TLS ciphers "NONSENSE": no cipher match'],
    ["groups", { groups: "flat-earth" }, 'setting the TLS groups "flat-earth": none of them is known'],
    ["requirePeer", { ca: undefined, requirePeer: true }, "requiring a client certificate: there is no ca"],
  ])("names the option at fault: %s", (_, wrong, message) => {
    const create = () => TlsContext.create({ ...options, ...wrong })
    expect(create).toThrow(OpenSslError)
    expect(create).toThrow(message)
  })

  test("takes an authority that is given twice, and text around it", () => {
    const ca = `# our authority\n${authority.certificate}\n${authority.certificate}`
    expect(() => TlsContext.create({ ...options, ca }).free()).not.toThrow()
  })

  test("takes an encrypted key with its passphrase", () => {
    const identity = { certificate: rsa.certificate, key: pkcs8, passphrase: "hunter2" }
    expect(() => TlsContext.create({ ...options, ...identity }).free()).not.toThrow()
  })
})
