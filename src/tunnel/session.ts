/** Wires a `Session` for one attempt: the TLS context with its trust, the credentials, the options of the file. */
import { Clock, Effect, Redacted, Result } from "effect"
import type { Profile, Remote } from "../config/index.ts"
import { crypto, OpenSslError, random, TlsContext } from "../openssl/index.ts"
import { Session, verifyPeer } from "../protocol/index.ts"
import { version } from "../version.ts"
import { Credentials } from "./credentials.ts"
import { AttemptFailed } from "./errors.ts"
import type { Address } from "./resolve.ts"

/** The TLS context lives as long as the scope. */
export const openSession = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  const credentials = yield* Credentials
  const first = credentials.read(profile)
  if (Result.isFailure(first)) {
    return yield* new AttemptFailed({
      reason: { tag: "Credentials", retry: "same", message: first.failure },
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
    // Read again for every handshake: a rotated Secret is seen at the next one.
    credentials: () => Result.getOrElse(credentials.read(profile), () => undefined),
    tunMtu: remote.tunMtu,
    maxPacketSize: remote.maxPacketSize,
    peerInfo: profile.peerInfo,
    timers: profile.timers,
    connectTimeoutSeconds: remote.connectTimeout,
    explicitExitNotify: remote.explicitExitNotify,
    versions: { version: `Culvert ${version}`, platform: "linux" },
  })
})

const tlsContext = (profile: Profile, passphrase: Redacted.Redacted<string> | undefined) =>
  Effect.try({
    try: () =>
      TlsContext.create({
        ca: profile.trust.ca,
        certificate: profile.identity?.certificate,
        key: profile.identity === undefined ? undefined : Redacted.value(profile.identity.key),
        ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) }),
        minimum: profile.tls.minimum,
        ...(profile.tls.maximum === undefined ? {} : { maximum: profile.tls.maximum }),
        ...(profile.tls.ciphers === undefined ? {} : { ciphers: profile.tls.ciphers }),
        ...(profile.tls.ciphersuites === undefined ? {} : { ciphersuites: profile.tls.ciphersuites }),
        ...(profile.tls.groups === undefined ? {} : { groups: profile.tls.groups }),
        certProfile: profile.tls.certProfile,
        verify: (peer) => verifyPeer(profile.trust, peer),
      }),
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
