/**
 * Settings to `Profile`: every default filled in, everything that contradicts itself reported. Reporting goes on after the first
 * error, so that all errors of a file are seen at once.
 */
import { Contents, type ReadFile } from "./content.ts"
import { Diagnostics, quote, wordOf } from "./diagnostic.ts"
import { type DirectiveName, rowOf } from "./directives.ts"
import { credentialsOf, identityOf, requireProof } from "./identity.ts"
import { type Inspection, inspectIdentity, inspectTrust } from "./inspection.ts"
import {
  authOf,
  compressionOf,
  dataCiphersOf,
  fallbackOf,
  statedCipherOf,
  staticCipherOf,
  tlsOf,
} from "./negotiation.ts"
import { keepaliveOptions, networkOptions } from "./options.ts"
import type { PlainRemote, Profile, Remote, StaticKeyProfile, TlsProfile } from "./profile.ts"
import { directionOf, remotesOf } from "./remotes.ts"
import { type Setting, Settings } from "./settings.ts"
import { requireTrust, trustOf } from "./trust.ts"

/**
 * Undefined, or a profile that must not be used, when `report` has errors. `complete`: the whole file has been read, so that what
 * is missing is really missing.
 */
export const buildProfile = (
  given: Settings,
  { read, inspection }: { readonly read: ReadFile; readonly inspection?: Inspection },
  complete: boolean,
  report: Diagnostics,
): Profile | undefined => {
  const settings = withEnvironment(given, report)
  const contents = new Contents(read, settings.last("cd")?.values[0], report)
  const [remote, ...remotes] = remotesOf(settings, contents, report, complete)
  const common = commonOf(settings, report)
  if (settings.has("secret")) {
    const own = staticKeyOf(settings, contents, report)
    return remote && own && { ...common, ...own, remotes: [unwrapped(remote), ...remotes.map(unwrapped)] }
  }
  const own = tlsProfileOf(settings, contents, complete, report)
  if (inspection !== undefined && own !== undefined) {
    inspectTrust(inspection, own.trust, settings, report)
    inspectIdentity(inspection, own.identity, settings, report)
  }
  return remote && own && { ...common, ...own, remotes: [remote, ...remotes] }
}

const commonOf = (settings: Settings, report: Diagnostics) => {
  const [replayPackets, replaySeconds = 15] = settings.values("replay-window")
  const retryMax = settings.values("connect-retry-max")[0]
  checkPings(settings, report)
  return {
    device: deviceOf(settings, report),
    remoteRandom: settings.has("remote-random"),
    remoteRandomHostname: settings.has("remote-random-hostname"),
    connectRetryMax: retryMax === 0 ? undefined : retryMax,
    resolvRetry: settings.values("resolv-retry")[0],
    socket: {
      sendBuffer: sizeOf(settings.last("sndbuf")),
      receiveBuffer: sizeOf(settings.last("rcvbuf")),
      mark: settings.last("mark")?.values[0],
      bindDevice: settings.last("bind-dev")?.values[0],
      passTos: settings.has("passtos"),
    },
    auth: authOf(settings, report),
    compression: compressionOf(settings, report),
    replayWindow: { packets: replayPackets, seconds: replaySeconds },
    timers: {
      handWindow: settings.values("hand-window")[0],
      tranWindow: settings.values("tran-window")[0],
      tlsTimeout: settings.values("tls-timeout")[0],
      ...renegotiation(settings, report),
      renegBytes: settings.values("reneg-bytes")[0],
      renegPackets: settings.values("reneg-pkts")[0],
    },
    keepalive: keepaliveOptions(settings),
    network: networkOptions(settings, true, report),
    ifconfigNoexec: settings.has("ifconfig-noexec"),
    routeNoexec: settings.has("route-noexec"),
    routeNopull: settings.has("route-nopull"),
    allowPullFqdn: settings.has("allow-pull-fqdn"),
    allowRecursiveRouting: settings.has("allow-recursive-routing"),
    pullFilters: settings.all("pull-filter").map(({ values: [action, prefix] }) => ({ action, prefix })),
    peerInfo: peerInfoOf(settings),
    authRetry: settings.values("auth-retry")[0],
    persistTun: settings.has("persist-tun"),
    verb: settings.values("verb")[0],
  }
}

type Own<P extends Profile> = P extends Profile ? Omit<P, keyof ReturnType<typeof commonOf> | "remotes"> : never

const tlsProfileOf = (
  settings: Settings,
  contents: Contents,
  complete: boolean,
  report: Diagnostics,
): Own<TlsProfile> | undefined => {
  const identity = identityOf(settings, contents, report)
  const credentials = credentialsOf(settings, contents, report)
  const trust = trustOf(settings, contents, report)
  if (complete) requireMode(settings, report)
  if (complete) requireTrust(settings, report)
  if (complete) requireProof(settings, report)
  const [cipher, ...ciphers] = dataCiphersOf(settings, report)
  const tls = tlsOf(settings, report)
  const dataCiphersFallback = fallbackOf(settings, report)
  if (cipher === undefined) return undefined
  const own = {
    mode: "tls" as const,
    trust,
    identity,
    tls,
    dataCiphers: [cipher, ...ciphers] as const,
    dataCiphersFallback,
    cipher: statedCipherOf(settings),
  }
  const pull = settings.has("client") || settings.has("pull")
  return pull ? { ...own, pull, credentials } : { ...own, pull, credentials: undefined }
}

const staticKeyOf = (
  settings: Settings,
  contents: Contents,
  report: Diagnostics,
): Own<StaticKeyProfile> | undefined => {
  const secret = settings.last("secret")!
  for (const place of [settings, ...settings.all("connection").flatMap(({ inner }) => inner?.settings ?? [])]) {
    for (const name of place.names()) {
      const other = tlsOnly.has(name) ? place.last(name) : undefined
      if (other === undefined) continue
      // A time or a count that holds anyway contradicts nothing.
      if (typeof other.values[0] === "number" && isSame(rowOf(name).default, other.values)) continue
      report.error(
        other,
        `"${name}" and "secret" (line ${secret.line}) cannot both be given: a static key needs no TLS`,
      )
    }
  }
  report.warning(
    secret,
    "a static key has no forward secrecy: whoever gets it can read all traffic, also that of the past",
    "tls-client with certificates at both ends",
  )
  const key = contents.staticKey(secret, settings)
  const cipher = staticCipherOf(settings, report)
  const direction = directionOf(settings, "secret", report)
  if (direction === undefined) {
    const message = "without a direction both ends send with the same key: packets can be sent back to who sent them"
    report.warning(secret, message, "key-direction 0 at one end and 1 at the other")
  }
  return key && cipher && { mode: "static-key", pull: false, staticKey: { key, direction }, cipher }
}

/** What is wrapped is the control channel, and a static key has none; that both were given has been said. */
const unwrapped = (remote: Remote): PlainRemote => ({ ...remote, controlWrapping: { _tag: "Plain" } })

/** `setenv` lines that stand for directives. */
const withEnvironment = (settings: Settings, report: Diagnostics): Settings => {
  const implied = new Settings()
  for (const setting of settings.all("setenv")) {
    const [name, value, extra] = setting.values
    if (extra !== undefined)
      report.error(wordOf(setting, 3), `setenv: unexpected ${quote(extra)}`, "put the value in quotes")
    if (name === "GENERIC_CONFIG")
      report.error(setting, "this is a generic profile without servers", "get the profile of a user")
    else if (name === "PUSH_PEER_INFO") implied.add({ ...setting, name: "push-peer-info", values: [] })
    else if (
      name === "SERVER_POLL_TIMEOUT" &&
      settings.last("server-poll-timeout") === undefined &&
      /^[1-9][0-9]{0,8}$/.test(value ?? "")
    )
      implied.add({ ...setting, name: "server-poll-timeout", values: [Number(value)] })
    else if (!isPeerVariable(name) && name !== "FORWARD_COMPATIBLE" && name !== "CLIENT_CERT")
      report.info(setting, `${quote(`setenv ${name}`)} has no effect here: no scripts are run`)
  }
  return implied.names().length === 0 ? settings : settings.with(implied)
}

const deviceOf = (settings: Settings, report: Diagnostics): Profile["device"] => {
  const dev = settings.last("dev")
  const type = settings.last("dev-type")
  const [name] = settings.values("dev")
  const isTap = type === undefined ? name.startsWith("tap") : type.values[0] === "tap"
  if (dev !== undefined && name === "null") {
    report.error(wordOf(dev, 1), "the device null is not supported", "use `dev tun`")
  } else if (dev !== undefined && type === undefined && !isTap && !name.startsWith("tun")) {
    report.error(wordOf(dev, 1), `dev: the type of the device ${quote(name)} is not known`, "add a line: dev-type tun")
  }
  return { type: isTap ? "tap" : "tun", name }
}

const requireMode = (settings: Settings, report: Diagnostics): void => {
  if (!settings.mentions("client") && !settings.mentions("tls-client"))
    report.error(Diagnostics.wholeFile, "the file does not say that this is a client", "add a line: client")
}

const peerInfoOf = (settings: Settings): Profile["peerInfo"] => {
  const variables = new Map<string, string>()
  for (const {
    values: [name, value = ""],
  } of settings.all("setenv"))
    if (isPeerVariable(name)) variables.set(name, value)
  return { push: settings.has("push-peer-info"), variables: [...variables] }
}

const renegotiation = (settings: Settings, report: Diagnostics) => {
  const [renegSec, renegSecMinimum] = settings.values("reneg-sec")
  if (renegSecMinimum !== undefined && renegSecMinimum > renegSec)
    report.error(
      wordOf(settings.last("reneg-sec")!, 2),
      `reneg-sec: the minimum ${renegSecMinimum} is more than ${renegSec}`,
    )
  return { renegSec, renegSecMinimum }
}

const checkPings = (settings: Settings, report: Diagnostics): void => {
  const keepalive = settings.last("keepalive")
  if (keepalive !== undefined && keepalive.values[1] < 2 * keepalive.values[0]) {
    report.error(
      keepalive,
      "keepalive: the timeout must be at least twice the interval",
      "a usual pair is: keepalive 10 60",
    )
  }
  for (const name of ["ping", "ping-restart", "ping-exit"] as const) {
    const other = settings.last(name)
    // 0 is what holds without it, so that OpenVPN takes no offence.
    if (keepalive === undefined || other === undefined || other.values[0] === 0) continue
    const message = `"keepalive" and "${name}" (line ${other.line}) cannot both be given`
    report.error(keepalive, message, "remove one of them")
  }
  const restart = settings.last("ping-restart")
  const exit = settings.last("ping-exit")
  if (restart === undefined || exit === undefined) return
  const [first, second] = restart.line < exit.line ? [restart, exit] : [exit, restart]
  report.warning(
    second,
    `"${second.name}" takes the place of "${first.name}" (line ${first.line}): there is one such timer`,
  )
}

/** 0 leaves the size to the kernel. */
const sizeOf = (setting: Setting<readonly [number]> | undefined): number | undefined => setting?.values[0] || undefined

const isPeerVariable = (name: string): boolean => /^(UV|IV)_[A-Za-z0-9_]{1,64}$/.test(name)

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** What makes no sense where nothing is negotiated. */
const tlsOnly: ReadonlySet<DirectiveName> = new Set([
  "ca",
  "cert",
  "key",
  "pkcs12",
  "tls-auth",
  "tls-crypt",
  "tls-crypt-v2",
  "auth-user-pass",
  "peer-fingerprint",
  "verify-hash",
  "crl-verify",
  "remote-cert-tls",
  "remote-cert-ku",
  "remote-cert-eku",
  "ns-cert-type",
  "verify-x509-name",
  "tls-cipher",
  "tls-ciphersuites",
  "tls-cert-profile",
  "tls-timeout",
  "hand-window",
  "tran-window",
  "reneg-sec",
  "reneg-bytes",
  "reneg-pkts",
  "push-peer-info",
])
