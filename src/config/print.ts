/**
 * A `Profile` as text that parses back to an equal one: every file in a block, every value that is not the default on its own line.
 */
import * as Redacted from "effect/Redacted"
import { encodeBase64 } from "./base64.ts"
import { dnsLines } from "./dns.ts"
import { servers } from "./print-remotes.ts"
import type {
  Compression,
  KeepaliveOptions,
  NetworkOptions,
  Profile,
  StaticChallenge,
  StaticKeyProfile,
  TlsProfile,
} from "./profile.ts"
import { writeStaticKey } from "./static-key.ts"
import { withColons } from "./values.ts"
import { block, fileLine, flag, line, secretBlock, setting } from "./written.ts"

/** Without `secrets` a comment stands in the place of keys, user name and password. */
export const print = (profile: Profile, options: { readonly secrets?: boolean } = {}): string => {
  const shown = options.secrets ?? false
  const { timers, replayWindow, peerInfo, device, socket } = profile
  const lines = [
    ...(profile.mode === "tls" ? line(profile.pull ? "client" : "tls-client") : []),
    ...line("dev", device.name),
    ...(device.name.startsWith(device.type) ? [] : line("dev-type", device.type)),
    ...servers(profile, shown),
    ...flag("remote-random", profile.remoteRandom),
    ...flag("remote-random-hostname", profile.remoteRandomHostname),
    ...setting("connect-retry-max", profile.connectRetryMax),
    ...setting("resolv-retry", profile.resolvRetry),
    ...(socket.sendBuffer === undefined ? [] : line("sndbuf", socket.sendBuffer)),
    ...(socket.receiveBuffer === undefined ? [] : line("rcvbuf", socket.receiveBuffer)),
    ...(socket.mark === undefined ? [] : line("mark", socket.mark)),
    ...(socket.bindDevice === undefined ? [] : line("bind-dev", socket.bindDevice)),
    ...flag("passtos", socket.passTos),
    ...setting("hand-window", timers.handWindow),
    ...setting("tls-timeout", timers.tlsTimeout),
    ...setting("tran-window", timers.tranWindow),
    ...setting("reneg-sec", timers.renegSec, ...(timers.renegSecMinimum === undefined ? [] : [timers.renegSecMinimum])),
    ...setting("reneg-bytes", timers.renegBytes),
    ...setting("reneg-pkts", timers.renegPackets),
    ...keepalive(profile.keepalive),
    ...network(profile.network),
    ...flag("ifconfig-noexec", profile.ifconfigNoexec),
    ...flag("route-noexec", profile.routeNoexec),
    ...flag("route-nopull", profile.routeNopull),
    ...flag("allow-pull-fqdn", profile.allowPullFqdn),
    ...flag("allow-recursive-routing", profile.allowRecursiveRouting),
    ...profile.pullFilters.flatMap(({ action, prefix }) => line("pull-filter", action, prefix)),
    ...flag("persist-tun", profile.persistTun),
    ...setting("auth-retry", profile.authRetry),
    ...setting("auth", profile.auth),
    ...(profile.compression === undefined ? [] : compression(profile.compression)),
    ...setting("replay-window", replayWindow.packets, replayWindow.seconds),
    ...flag("push-peer-info", peerInfo.push),
    ...peerInfo.variables.flatMap(([name, value]) => line("setenv", name, value)),
    ...setting("verb", profile.verb),
    ...(profile.mode === "tls" ? [...negotiation(profile), ...trust(profile.trust), ...proofs(profile, shown)] : []),
    ...(profile.mode === "static-key" ? staticKey(profile, shown) : []),
  ]
  return `${lines.join("\n")}\n`
}

const keepalive = ({ ping, silence, inactive, sessionTimeout }: KeepaliveOptions): ReadonlyArray<string> => [
  ...(ping === undefined ? [] : line("ping", ping)),
  ...(silence === undefined ? [] : line(`ping-${silence.then}`, silence.seconds)),
  ...(inactive === undefined ? [] : line("inactive", inactive.seconds, inactive.bytes)),
  ...(sessionTimeout === undefined ? [] : line("session-timeout", sessionTimeout)),
]

const network = (options: NetworkOptions): ReadonlyArray<string> => {
  const { ifconfig, ifconfigIpv6 } = options
  return [
    ...(options.topology === undefined ? [] : line("topology", options.topology)),
    ...(ifconfig === undefined ? [] : line("ifconfig", ifconfig.local, ifconfig.second)),
    ...(ifconfigIpv6 === undefined
      ? []
      : line("ifconfig-ipv6", { address: ifconfigIpv6.local, prefix: ifconfigIpv6.prefix }, ifconfigIpv6.remote)),
    ...(options.routeGateway === undefined ? [] : line("route-gateway", options.routeGateway)),
    ...(options.routeIpv6Gateway === undefined ? [] : line("route-ipv6-gateway", options.routeIpv6Gateway)),
    ...(options.routeMetric === undefined ? [] : line("route-metric", options.routeMetric)),
    ...(options.routeDelay === undefined ? [] : line("route-delay", options.routeDelay)),
    ...options.routes.flatMap(({ network, prefix, gateway, metric }) =>
      gateway === undefined && metric === undefined
        ? line("route", network, prefix)
        : line("route", network, prefix, gateway, metric),
    ),
    ...options.routesIpv6.flatMap(({ network, prefix, gateway, metric }) =>
      gateway === undefined && metric === undefined
        ? line("route-ipv6", { address: network, prefix })
        : line("route-ipv6", { address: network, prefix }, gateway, metric),
    ),
    ...(options.redirectGateway === undefined ? [] : line("redirect-gateway", ...options.redirectGateway)),
    ...(options.redirectPrivate === undefined ? [] : line("redirect-private", ...options.redirectPrivate)),
    ...flag("block-ipv6", options.blockIpv6),
    ...dnsLines(options.dns).flatMap((words) => line("dns", ...words)),
    ...options.dhcpOptions.flatMap(({ type, value }) => line("dhcp-option", type, ...(value === "" ? [] : [value]))),
  ]
}

const compression = ({ framing, allow }: Compression): ReadonlyArray<string> => [
  ...(framing === "lzo-off" ? line("comp-lzo", "no") : line("compress", framing)),
  ...(allow === "no" ? line("allow-compression", "no") : []),
]

const negotiation = ({ tls, cipher, dataCiphers, dataCiphersFallback }: TlsProfile): ReadonlyArray<string> => [
  ...setting("data-ciphers", dataCiphers.join(":")),
  ...(cipher === undefined ? [] : line("cipher", cipher)),
  ...(dataCiphersFallback === undefined ? [] : line("data-ciphers-fallback", dataCiphersFallback)),
  ...setting("tls-version-min", tls.minimum),
  ...(tls.maximum === undefined ? [] : line("tls-version-max", tls.maximum)),
  ...(tls.ciphers === undefined ? [] : line("tls-cipher", tls.ciphers)),
  ...(tls.ciphersuites === undefined ? [] : line("tls-ciphersuites", tls.ciphersuites)),
  ...(tls.groups === undefined ? [] : line("tls-groups", tls.groups)),
  ...setting("tls-cert-profile", tls.certProfile),
]

const trust = (trust: TlsProfile["trust"]): ReadonlyArray<string> => {
  const { ca, fingerprints, issuerFingerprints, revoked, verifyX509Name } = trust
  const [field, ...fields] = trust.x509UsernameFields
  return [
    ...(trust.remoteCertTls === undefined ? [] : line("remote-cert-tls", trust.remoteCertTls)),
    ...(trust.remoteCertKu === undefined ? [] : line("remote-cert-ku", ...trust.remoteCertKu)),
    ...(trust.remoteCertEku === undefined ? [] : line("remote-cert-eku", trust.remoteCertEku)),
    ...(trust.nsCertType === undefined ? [] : line("ns-cert-type", trust.nsCertType)),
    ...(verifyX509Name === undefined ? [] : line("verify-x509-name", verifyX509Name.value, verifyX509Name.form)),
    ...(field === "CN" && fields.length === 0 ? [] : line("x509-username-field", field, ...fields)),
    ...fingerprints.flatMap((fingerprint) => line("peer-fingerprint", fingerprint)),
    ...(issuerFingerprints === undefined ? [] : issuers(issuerFingerprints)),
    ...(revoked?._tag === "Directory" ? fileLine("crl-verify", revoked.path, "dir") : []),
    ...(revoked?._tag === "List" ? block("crl-verify", linesOf(revoked.pem)) : []),
    ...(ca === undefined ? [] : block("ca", linesOf(ca))),
  ]
}

/** A block is SHA-256. */
const issuers = ({ digest, values }: NonNullable<TlsProfile["trust"]["issuerFingerprints"]>): ReadonlyArray<string> =>
  digest === "SHA256" ? block("verify-hash", values.map(withColons)) : line("verify-hash", values[0], digest)

const proofs = (profile: TlsProfile, shown: boolean): ReadonlyArray<string> => {
  const { identity, credentials } = profile
  return [
    ...(identity === undefined ? [] : certificate(identity, shown)),
    ...(credentials?._tag === "Ask" && credentials.username === undefined ? line("auth-user-pass") : []),
    ...(credentials?._tag === "Ask" && credentials.username !== undefined
      ? secretBlock("auth-user-pass", [credentials.username], shown)
      : []),
    ...(credentials?._tag === "File" ? [...fileLine("auth-user-pass", credentials.path), ...line("auth-nocache")] : []),
    ...(credentials?._tag === "Given"
      ? secretBlock("auth-user-pass", [credentials.username, Redacted.value(credentials.password)], shown)
      : []),
    ...(credentials?.challenge === undefined ? [] : challenge(credentials.challenge)),
    ...(identity === undefined && credentials === undefined ? line("setenv", "CLIENT_CERT", "0") : []),
  ]
}

const challenge = ({ text, echo, form }: StaticChallenge): ReadonlyArray<string> =>
  form === "scrv1"
    ? line("static-challenge", text, echo ? "1" : "0")
    : line("static-challenge", text, echo ? "1" : "0", form)

const certificate = (identity: NonNullable<TlsProfile["identity"]>, shown: boolean): ReadonlyArray<string> => {
  const passphrase =
    identity.passphrase === undefined ? [] : secretBlock("askpass", [Redacted.value(identity.passphrase)], shown)
  switch (identity._tag) {
    case "Pem":
      return [
        ...block("cert", linesOf(identity.certificate)),
        ...secretBlock("key", linesOf(Redacted.value(identity.key)), shown),
        ...passphrase,
      ]
    case "Pkcs12":
      return [
        ...secretBlock("pkcs12", encodeBase64(Redacted.value(identity.bytes)).match(/.{1,64}/g) ?? [], shown),
        ...(identity.chain === undefined ? [] : block("extra-certs", linesOf(identity.chain))),
        ...passphrase,
      ]
  }
}

const staticKey = ({ staticKey, cipher }: StaticKeyProfile, shown: boolean): ReadonlyArray<string> => [
  ...line("cipher", cipher),
  ...(staticKey.direction === undefined ? [] : line("key-direction", staticKey.direction === 0 ? "0" : "1")),
  ...secretBlock("secret", writeStaticKey(Redacted.value(staticKey.key)), shown),
]

const linesOf = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n")
