/** Wires a `Session` for one attempt: the TLS context with its trust, the credentials, the options of the file. */
import { Clock, Effect, Redacted } from "effect"
import type { Profile, Remote, TlsProfile } from "../config/index.ts"
import { crypto, OpenSslError, random, TlsContext } from "../openssl/index.ts"
import { Session, verifyPeer } from "../protocol/index.ts"
import { version } from "../version.ts"
import { Credentials } from "./credentials.ts"
import { AttemptFailed } from "./errors.ts"
import type { Address } from "./resolve.ts"

/** The TLS context lives as long as the scope. */
export const openSession = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  if (profile.mode !== "tls") return yield* unsupported("static keys are not supported yet")
  const credentials = yield* Credentials
  const login = credentials.login(profile)
  const { missing } = login
  if (missing !== undefined) {
    return yield* new AttemptFailed({
      reason: { tag: "Credentials", retry: "same", message: missing },
      established: false,
    })
  }
  const tls = yield* Effect.acquireRelease(tlsContext(profile, credentials.keyPassphrase()), (context) =>
    Effect.sync(() => context.free()),
  )
  return new Session({
    transport: remote.transport,
    outerFamily: address.family,
    wrapping: remote.controlWrapping,
    auth: profile.auth,
    tls,
    crypto,
    random,
    unixTime: Math.floor((yield* Clock.currentTimeMillis) / 1000),
    pull: profile.pull,
    pushPolicy: { pullFilters: profile.pullFilters, routeNopull: profile.routeNopull },
    dataCiphers: profile.dataCiphers,
    dataCiphersFallback: profile.dataCiphersFallback,
    compression: profile.compression,
    login,
    tunMtu: remote.tunMtu,
    maxPacketSize: remote.maxPacketSize,
    peerInfo: profile.peerInfo,
    timers: profile.timers,
    connectTimeoutSeconds: remote.connectTimeout,
    explicitExitNotify: remote.explicitExitNotify,
    versions: { version: `Culvert ${version}`, platform: "linux" },
  })
})

const unsupported = (message: string) =>
  new AttemptFailed({ reason: { tag: "Credentials", retry: "never", message }, established: false })

const tlsContext = (profile: TlsProfile, passphrase: Redacted.Redacted<string> | undefined) =>
  Effect.try({
    try: () => {
      const { identity } = profile
      if (identity?._tag === "Pkcs12") throw new OpenSslError("PKCS#12 is not supported yet")
      return TlsContext.create({
        ca: profile.trust.ca,
        certificate: identity?.certificate,
        key: identity === undefined ? undefined : Redacted.value(identity.key),
        ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) }),
        minimum: profile.tls.minimum,
        ...(profile.tls.maximum === undefined ? {} : { maximum: profile.tls.maximum }),
        ...(profile.tls.ciphers === undefined ? {} : { ciphers: profile.tls.ciphers }),
        ...(profile.tls.ciphersuites === undefined ? {} : { ciphersuites: profile.tls.ciphersuites }),
        ...(profile.tls.groups === undefined ? {} : { groups: profile.tls.groups }),
        certProfile: profile.tls.certProfile,
        verify: (peer) => verifyPeer(profile.trust, peer),
      })
    },
    catch: (error) =>
      new AttemptFailed({
        reason: {
          tag: "Credentials",
          retry: "never",
          message: error instanceof OpenSslError ? error.message : `preparing TLS: ${String(error)}`,
        },
        established: false,
      }),
  })
