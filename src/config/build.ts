/**
 * Settings to `Profile`: every default filled in, everything that contradicts itself reported. Reporting goes on after the first
 * error, so that all errors of a file are seen at once.
 */
import * as Redacted from "effect/Redacted"
import { cipherEntries, dataCipher, defaultDataCiphers, digest } from "./ciphers.ts"
import { Contents, type ReadFile } from "./content.ts"
import { type Diagnostics, quote } from "./diagnostic.ts"
import { keepaliveOptions, networkOptions } from "./options.ts"
import type { Credentials, DataCipher, DigestName, Identity, Profile, ServerTrust, TlsVersion } from "./profile.ts"
import { remotesOf } from "./remotes.ts"
import { Settings } from "./settings.ts"

/**
 * Undefined, or a profile that must not be used, when `report` has errors. `complete`: the whole file has been read, so that what
 * is missing is really missing.
 */
export const buildProfile = (
  given: Settings,
  read: ReadFile,
  complete: boolean,
  report: Diagnostics,
): Profile | undefined => {
  const settings = withEnvironment(given, report)
  const contents = new Contents(read, settings.last("cd")?.values[0], report)
  const device = deviceOf(settings, report)
  const [firstRemote, ...otherRemotes] = remotesOf(settings, contents, report, complete)
  const identity = identityOf(settings, contents, report)
  const credentials = credentialsOf(settings, contents, report)
  const trust = trustOf(settings, contents, report)
  if (complete) requireMode(settings, report)
  if (complete) requireTrust(settings, report)
  if (complete) requireProof(settings, report)
  const dataCiphers = dataCiphersOf(settings, report)
  const [replayPackets, replaySeconds = 15] = settings.values("replay-window")
  const retryMax = settings.values("connect-retry-max")[0]
  checkPings(settings, report)
  const profile = {
    device,
    remoteRandom: settings.has("remote-random"),
    connectRetryMax: retryMax === 0 ? undefined : retryMax,
    resolvRetry: settings.values("resolv-retry")[0],
    pull: settings.has("client") || settings.has("pull"),
    trust,
    identity,
    credentials,
    authRetry: settings.values("auth-retry")[0],
    tls: tlsOf(settings, report),
    auth: authOf(settings, report),
    dataCiphersFallback: fallbackOf(settings, report),
    replayWindow: { packets: replayPackets, seconds: replaySeconds },
    timers: {
      handWindow: settings.values("hand-window")[0],
      tranWindow: settings.values("tran-window")[0],
      tlsTimeout: settings.values("tls-timeout")[0],
      renegSec: settings.values("reneg-sec")[0],
      renegBytes: settings.values("reneg-bytes")[0],
      renegPackets: settings.values("reneg-pkts")[0],
    },
    keepalive: keepaliveOptions(settings),
    network: networkOptions(settings, true, report),
    routeNopull: settings.has("route-nopull"),
    pullFilters: settings.all("pull-filter").map(({ values: [action, prefix] }) => ({ action, prefix })),
    peerInfo: peerInfoOf(settings),
    persistTun: settings.has("persist-tun"),
    verb: settings.values("verb")[0],
  }
  const [firstCipher, ...otherCiphers] = dataCiphers
  if (firstRemote === undefined || firstCipher === undefined) return undefined
  return { ...profile, remotes: [firstRemote, ...otherRemotes], dataCiphers: [firstCipher, ...otherCiphers] }
}

/** `setenv` lines that stand for directives. */
const withEnvironment = (settings: Settings, report: Diagnostics): Settings => {
  const implied = new Settings()
  for (const setting of settings.all("setenv")) {
    const [name, value, extra] = setting.values
    if (extra !== undefined) report.error(setting, `setenv: unexpected ${quote(extra)}`, "put the value in quotes")
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
  return settings.with(implied)
}

const deviceOf = (settings: Settings, report: Diagnostics): Profile["device"] => {
  const dev = settings.last("dev")
  const type = settings.last("dev-type")
  const [name] = settings.values("dev")
  const isTap = type === undefined ? name.startsWith("tap") : type.values[0] === "tap"
  if (isTap) {
    report.error((type ?? dev)!, "tap devices are not supported", "use `dev tun` where the server does as well")
  } else if (dev !== undefined && name === "null") {
    report.error(dev, "the device null is not supported", "use `dev tun`")
  } else if (dev !== undefined && type === undefined && !name.startsWith("tun")) {
    report.error(dev, `dev: the type of the device ${quote(name)} is not known`, "add a line: dev-type tun")
  }
  return { type: "tun", name }
}

const requireMode = (settings: Settings, report: Diagnostics): void => {
  if (!settings.mentions("client") && !settings.mentions("tls-client"))
    report.error(top, "the file does not say that this is a client", "add a line: client")
}

const trustOf = (settings: Settings, contents: Contents, report: Diagnostics): ServerTrust => {
  const ca = settings.last("ca")
  const name = settings.last("verify-x509-name")?.values
  const trust = {
    ca: ca && contents.certificates(ca, settings),
    fingerprints: [...new Set(settings.all("peer-fingerprint").map(({ values: [fingerprint] }) => fingerprint))],
    remoteCertTls: settings.last("remote-cert-tls")?.values[0],
    verifyX509Name: name && { form: name[1] ?? "subject", value: name[0] },
  }
  if (
    ca !== undefined &&
    trust.fingerprints.length === 0 &&
    !settings.mentions("remote-cert-tls") &&
    name === undefined
  ) {
    report.warning(
      ca,
      "any certificate that leads to this authority can pass as the server",
      "add a line: remote-cert-tls server",
    )
  }
  return trust
}

const requireTrust = (settings: Settings, report: Diagnostics): void => {
  if (settings.mentions("ca") || settings.mentions("peer-fingerprint")) return
  report.error(
    top,
    "nothing says which server to trust: there is neither ca nor peer-fingerprint",
    "put the certificate of the server's authority into a block <ca>, or its own fingerprint into a line: peer-fingerprint SHA256",
  )
}

const identityOf = (settings: Settings, contents: Contents, report: Diagnostics): Identity | undefined => {
  const cert = settings.last("cert")
  const key = settings.last("key")
  const extra = settings.last("extra-certs")
  const certificate = cert && contents.certificates(cert, settings)
  const privateKey = key && contents.privateKey(key, settings)
  const chain = extra && contents.certificates(extra, settings)
  if (cert !== undefined && !settings.mentions("key")) report.error(cert, `"cert" needs "key" as well`)
  if (key !== undefined && !settings.mentions("cert")) report.error(key, `"key" needs "cert" as well`)
  if (extra !== undefined && !settings.mentions("cert")) report.error(extra, `"extra-certs" needs "cert" as well`)
  if (key !== undefined && privateKey?.encrypted) {
    report.info(
      key,
      "the private key is encrypted: its passphrase is needed at start",
      "or decrypt it: openssl pkey -in FILE -out NEW",
    )
  }
  if (certificate === undefined || privateKey === undefined) return undefined
  return { certificate: certificate + (chain ?? ""), key: Redacted.make(privateKey.pem) }
}

const credentialsOf = (settings: Settings, contents: Contents, report: Diagnostics): Credentials | undefined => {
  const setting = settings.last("auth-user-pass")
  if (setting === undefined) return undefined
  if (!settings.mentions("client") && !settings.mentions("pull"))
    report.error(setting, `"auth-user-pass" needs "pull"`, "add a line: client")
  if (setting.content === undefined) return { _tag: "Ask" }
  const given = contents.credentials(setting, settings)
  return given && { _tag: "Given", username: given.username, password: Redacted.make(given.password) }
}

const requireProof = (settings: Settings, report: Diagnostics): void => {
  const withoutCertificate = settings
    .all("setenv")
    .some(({ values: [name, value] }) => name === "CLIENT_CERT" && value === "0")
  const proofs = ["cert", "key", "auth-user-pass", "pkcs12"] as const
  if (withoutCertificate || proofs.some((name) => settings.mentions(name))) return
  report.error(
    top,
    "nothing proves to the server who we are: there is neither a certificate nor auth-user-pass",
    "add the blocks <cert> and <key>, or a line: auth-user-pass",
  )
}

const tlsOf = (settings: Settings, report: Diagnostics): Profile["tls"] => {
  const [minimum] = settings.values("tls-version-min")
  const highest = settings.last("tls-version-max")
  const maximum = highest?.values[0]
  if (highest !== undefined && maximum !== undefined && Number(maximum) < Number(minimum)) {
    const lowest = settings.last("tls-version-min")
    const where = lowest === undefined ? "the default" : `line ${lowest.line}`
    report.error(highest, `tls-version-max ${maximum} is below tls-version-min ${minimum} (${where})`)
  }
  return {
    minimum: minimum satisfies TlsVersion,
    maximum,
    ciphers: settings.last("tls-cipher")?.values[0],
    ciphersuites: settings.last("tls-ciphersuites")?.values[0],
    groups: settings.last("tls-groups")?.values[0],
    certProfile: settings.values("tls-cert-profile")[0],
  }
}

const authOf = (settings: Settings, report: Diagnostics): DigestName => {
  const setting = settings.last("auth")
  const [name] = settings.values("auth")
  if (setting !== undefined && name.toLowerCase() === "none") {
    const wrapped = settings.has("tls-auth") || settings.all("connection").some(({ inner }) => inner?.has("tls-auth"))
    if (wrapped) report.error(setting, `"auth none" leaves "tls-auth" without a digest`)
    else report.info(setting, `"auth none" has no effect here: data packets are authenticated by their cipher`)
    return "SHA1"
  }
  const known = digest(name)
  if (setting !== undefined && known === undefined) {
    report.error(
      setting,
      `auth: the digest ${quote(name)} is not supported`,
      "MD5, SHA1, SHA224, SHA256, SHA384 and SHA512 are",
    )
  }
  return known ?? "SHA1"
}

const dataCiphersOf = (settings: Settings, report: Diagnostics): ReadonlyArray<DataCipher> => {
  const setting = settings.last("data-ciphers")
  const ciphers = new Set<DataCipher>()
  for (const entry of cipherEntries(settings.values("data-ciphers")[0])) {
    if (entry.tag === "offered") ciphers.add(entry.cipher)
    else if (setting === undefined) continue
    else if (entry.tag === "unsupported")
      report.warning(setting, `data-ciphers: ${entry.name} is not supported yet and not offered`)
    else if (entry.optional) report.info(setting, `data-ciphers: ${quote(entry.name)} is unknown and not offered`)
    else
      report.error(
        setting,
        `data-ciphers: the cipher ${quote(entry.name)} is unknown`,
        `"?" before its name leaves it out`,
      )
  }
  if (setting !== undefined && ciphers.size === 0) {
    report.error(
      setting,
      "data-ciphers: no cipher is left to offer",
      `at least one of ${defaultDataCiphers.join(", ")} is needed`,
    )
  }
  const cipher = settings.last("cipher")
  if (
    cipher !== undefined &&
    ciphers.size > 0 &&
    ![...ciphers].some((name) => name === cipher.values[0].toUpperCase())
  ) {
    const offered = [...ciphers].join(":")
    report.warning(
      cipher,
      `cipher ${quote(cipher.values[0])} is not used: the server chooses from data-ciphers (${offered})`,
    )
  }
  return [...ciphers]
}

const fallbackOf = (settings: Settings, report: Diagnostics): DataCipher | undefined => {
  const setting = settings.last("data-ciphers-fallback")
  if (setting === undefined) return undefined
  const [name] = setting.values
  const cipher = dataCipher(name)
  if (cipher === undefined) {
    report.warning(
      setting,
      `data-ciphers-fallback: ${quote(name)} is not supported yet: a server must negotiate the cipher`,
    )
  }
  return cipher
}

const peerInfoOf = (settings: Settings): Profile["peerInfo"] => {
  const variables = new Map<string, string>()
  for (const {
    values: [name, value = ""],
  } of settings.all("setenv"))
    if (isPeerVariable(name)) variables.set(name, value)
  return { push: settings.has("push-peer-info"), variables: [...variables] }
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
  const restart = settings.last("ping-restart")
  const exit = settings.last("ping-exit")
  if (restart === undefined || exit === undefined) return
  const [first, second] = restart.line < exit.line ? [restart, exit] : [exit, restart]
  report.warning(
    second,
    `"${second.name}" takes the place of "${first.name}" (line ${first.line}): there is one such timer`,
  )
}

const isPeerVariable = (name: string): boolean => /^(UV|IV)_[A-Za-z0-9_]{1,64}$/.test(name)

/** Where complaints about something missing are put. */
const top = { line: 1, column: 1 }
