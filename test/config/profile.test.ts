/** The type of a profile has no room for what cannot be true at once. */
import { describe, expect, test } from "bun:test"
import { Schema } from "effect"
import * as Redacted from "effect/Redacted"
import { Profile, type Remote } from "../../src/config/index.ts"
import { certificate, files, minimal, parsed, profileOf, staticKey, staticKeyBytes } from "./fixtures.ts"

const isProfile = Schema.is(Profile)
const key = Redacted.make(staticKeyBytes)
const tls = profileOf(minimal("remote b 443 tcp"))
const [udp, tcp] = tls.remotes as unknown as readonly [Remote, Remote]
const pkcs12 = { _tag: "Pkcs12", bytes: Redacted.make(Uint8Array.of(0x30, 0)), chain: undefined, passphrase: undefined }
const withStaticKey = parsed(
  "remote peer.example\ncipher AES-256-CBC\nsecret ta.key 1\n",
  files({ "ta.key": staticKey }),
).profile

test("what the parser makes is one", () => {
  expect(isProfile(tls)).toBe(true)
  expect(isProfile(withStaticKey)).toBe(true)
})

describe("no profile", () => {
  const contradictions: Readonly<Record<string, unknown>> = {
    "trusts any server": { ...tls, trust: { ...tls.trust, ca: undefined, fingerprints: [] } },
    "logs in without pulling": { ...tls, pull: false },
    "has a static key and TLS": { ...withStaticKey, mode: "tls" },
    "pulls with a static key": { ...withStaticKey, pull: true },
    "wraps the control channel that a static key does not have": {
      ...withStaticKey,
      remotes: [{ ...udp, controlWrapping: { _tag: "TlsCrypt", key } }],
    },
    "has no server": { ...tls, remotes: [] },
    "has no cipher to offer": { ...tls, dataCiphers: [] },
    "wants TLS above its maximum": { ...tls, tls: { ...tls.tls, minimum: "1.3", maximum: "1.2" } },
    "renegotiates at the earliest after the latest": {
      ...tls,
      timers: { ...tls.timers, renegSec: 60, renegSecMinimum: 61 },
    },
    "takes compressed packets it must not take": { ...tls, compression: { framing: "lzo", allow: "no" } },
    "both restarts and exits after the same silence": {
      ...tls,
      keepalive: { ...tls.keepalive, silence: { seconds: 60, then: ["restart", "exit"] } },
    },
  }
  for (const [what, profile] of Object.entries(contradictions)) {
    test(what, () => expect(isProfile(profile)).toBe(false))
  }
})

describe("no server", () => {
  const basic = { _tag: "Http", host: "p", port: 80, version: "1.0", userAgent: undefined, headers: [] }
  const contradictions: Readonly<Record<string, unknown>> = {
    "is reached over UDP through an HTTP proxy": { ...udp, proxy: { ...basic, authentication: undefined } },
    "gets fragments over TCP": { ...tcp, fragment: { size: 1300, counts: "mtu" } },
    "is told over TCP that we leave": { ...tcp, explicitExitNotify: 1 },
    "has port 0": { ...udp, port: 0 },
    "has a key of another length": {
      ...udp,
      controlWrapping: { _tag: "TlsCrypt", key: Redacted.make(new Uint8Array(255)) },
    },
    "has two wrappings": { ...udp, controlWrapping: [udp.controlWrapping, { _tag: "TlsCrypt", key }] },
  }
  for (const [what, remote] of Object.entries(contradictions)) {
    test(what, () => expect(isProfile({ ...tls, remotes: [remote] })).toBe(false))
  }
})

test("a PKCS#12 file brings an authority of its own", () => {
  expect(isProfile({ ...tls, identity: pkcs12, trust: { ...tls.trust, ca: undefined } })).toBe(true)
  const pem = { _tag: "Pem", certificate, key: Redacted.make("k"), passphrase: undefined }
  expect(isProfile({ ...tls, identity: pem, trust: { ...tls.trust, ca: undefined } })).toBe(false)
})

test("the compiler sees it too", () => {
  if (tcp.transport !== "tcp") throw new Error("this is the server over TCP")
  const fragment = { size: 1300, counts: "mtu" } as const
  const credentials = { _tag: "Ask", username: undefined, challenge: undefined } as const
  // @ts-expect-error
  const fragments: Remote = { ...tcp, fragment }
  // @ts-expect-error
  const login: Profile = { ...tls, pull: false, credentials }
  expect([isProfile({ ...tls, remotes: [fragments] }), isProfile(login)]).toEqual([false, false])
})
