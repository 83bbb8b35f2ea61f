/** Wires a `Session` for one attempt: the TLS context with its trust, the credentials, the options of the file. */
import { readdirSync, readFileSync } from "node:fs"
import { release } from "node:os"
import { Clock, Effect, Redacted } from "effect"
import type { Profile, Remote, ServerTrust, TlsProfile } from "../config/index.ts"
import { crypto, dottedOid, OpenSslError, opensslVersion, random, readPkcs12, TlsContext } from "../openssl/index.ts"
import {
  type PeerCertificate,
  type PeerRefusal,
  Session,
  type SessionContract,
  StaticKeySession,
  verifyPeer,
} from "../protocol/index.ts"
import { version } from "../version.ts"
import { Credentials } from "./credentials.ts"
import { AttemptFailed } from "./errors.ts"
import type { Address } from "./resolve.ts"

/** The TLS context lives as long as the scope. `device`: of the way to the server. */
export const openSession = Effect.fnUntraced(function* (
  profile: Profile,
  remote: Remote,
  address: Address,
  device: string | undefined,
) {
  const unixTime = yield* Clock.currentTimeMillis
  const session: SessionContract =
    profile.mode === "tls"
      ? yield* openTlsSession(profile, remote, address, Math.floor(unixTime / 1000), device)
      : new StaticKeySession({ profile, remote, outerFamily: address.family, unixTime: laterThanBefore(unixTime) })
  return session
})

/** Also when the clock was set back: the peer takes nothing under a static key that seems older than what it had. */
const laterThanBefore = (unixTime: number): number => {
  latest = Math.max(unixTime, latest + 1)
  return latest
}
let latest = 0

const openTlsSession = Effect.fnUntraced(function* (
  profile: TlsProfile,
  remote: Remote,
  address: Address,
  unixTime: number,
  device: string | undefined,
) {
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
    deviceType: profile.device.type,
    transport: remote.transport,
    outerFamily: address.family,
    wrapping: remote.controlWrapping,
    auth: profile.auth,
    tls,
    crypto,
    random,
    unixTime,
    pull: profile.pull,
    pushPolicy: {
      pullFilters: profile.pullFilters,
      routeNopull: profile.routeNopull,
      allowPullFqdn: profile.allowPullFqdn,
    },
    dataCiphers: profile.dataCiphers,
    dataCiphersFallback: profile.dataCiphersFallback,
    cipher: profile.cipher,
    compression: profile.compression,
    login,
    tunMtu: remote.tunMtu,
    occMtu: remote.occMtu,
    fragment: remote.fragment,
    maxPacketSize: remote.maxPacketSize,
    peerInfo: profile.peerInfo,
    timers: profile.timers,
    connectTimeoutSeconds: remote.connectTimeout,
    explicitExitNotify: remote.explicitExitNotify,
    versions: {
      version: `Culvert ${version}`,
      platform: "linux",
      hardwareAddress: device && hardwareAddressOf(device),
      ssl: opensslVersion(),
      platformVersion: release(),
    },
  })
})

/** Undefined where nobody knows: it is no reason to stay away. */
const hardwareAddressOf = (device: string): string | undefined => {
  try {
    return readFileSync(`/sys/class/net/${device}/address`, "utf8").trim()
  } catch {
    return undefined
  }
}

const tlsContext = (profile: TlsProfile, passphrase: Redacted.Redacted<string> | undefined) =>
  Effect.try({
    try: () => {
      const { revoked } = profile.trust
      return TlsContext.create({
        ...proofs(profile, passphrase),
        ...(revoked?._tag === "List" ? { revocations: revoked.pem } : {}),
        minimum: profile.tls.minimum,
        ...(profile.tls.maximum === undefined ? {} : { maximum: profile.tls.maximum }),
        ...(profile.tls.ciphers === undefined ? {} : { ciphers: profile.tls.ciphers }),
        ...(profile.tls.ciphersuites === undefined ? {} : { ciphersuites: profile.tls.ciphersuites }),
        ...(profile.tls.groups === undefined ? {} : { groups: profile.tls.groups }),
        certProfile: profile.tls.certProfile,
        verify: verifier(profile.trust),
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

/** Our certificate and key, and the authorities that we trust: those of a PKCS#12 file where there is no `ca`. */
const proofs = ({ identity, trust }: TlsProfile, mounted: Redacted.Redacted<string> | undefined) => {
  if (identity === undefined) return { ca: trust.ca, certificate: undefined, key: undefined }
  const given = identity.passphrase ?? mounted
  const passphrase = given && Redacted.value(given)
  if (identity._tag === "Pem")
    return { ca: trust.ca, certificate: identity.certificate, key: Redacted.value(identity.key), passphrase }
  const { certificate, key, others } = readPkcs12(Redacted.value(identity.bytes), passphrase)
  const chain = identity.chain ?? ""
  if (trust.ca !== undefined) return { ca: trust.ca, certificate: certificate + others + chain, key }
  if (others === "" && trust.fingerprints.length === 0)
    throw new OpenSslError("pkcs12: there is no authority in it, and neither ca nor peer-fingerprint is given")
  return { ca: others === "" ? undefined : others, certificate: certificate + chain, key }
}

const verifier = (trust: ServerTrust): ((peer: PeerCertificate) => PeerRefusal | undefined) => {
  const remoteCertEku = trust.remoteCertEku && dottedOid(trust.remoteCertEku)
  if (trust.remoteCertEku !== undefined && remoteCertEku === undefined)
    throw new OpenSslError(`remote-cert-eku: "${trust.remoteCertEku}" is neither an OID nor a name that OpenSSL knows`)
  const [field, ...fields] = trust.x509UsernameFields
  const x509UsernameFields = [usernameField(field), ...fields.map(usernameField)] as const
  return (peer) => verifyRevocation(trust, peer) ?? verifyPeer({ ...trust, remoteCertEku, x509UsernameFields }, peer)
}

/** `serialNumber` is the certificate's, not a field of its subject. */
const usernameField = (field: string): string => {
  if (field.startsWith("ext:") || field === "serialNumber") return field
  const oid = dottedOid(field)
  if (oid === undefined) throw new OpenSslError(`x509-username-field: OpenSSL knows no field "${field}"`)
  return oid
}

/** `crl-verify DIRECTORY dir`. A directory that cannot be read must not make a revoked certificate good. */
const verifyRevocation = ({ revoked }: ServerTrust, peer: PeerCertificate): PeerRefusal | undefined => {
  if (revoked?._tag !== "Directory") return undefined
  try {
    const names = readdirSync(revoked.path)
    const serials = [peer.serial, ...peer.issuers.map(({ serial }) => serial)]
    if (!serials.some((serial) => names.includes(serial))) return undefined
    return { check: "chain", message: "crl-verify: the certificate, or one above it, is revoked" }
  } catch (error) {
    const code = (error as { readonly code?: string }).code ?? "unreadable"
    return { check: "chain", message: `crl-verify: reading ${revoked.path}: ${code}` }
  }
}
