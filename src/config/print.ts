/**
 * A `Profile` as text that parses back to an equal one: every file in a block, every value that is not the default on its own line.
 * What differs between servers stands in `<connection>` blocks, what they share outside.
 */
import * as Redacted from "effect/Redacted"
import { type DirectiveName, directives, rowOf, type ValuesOf } from "./directives.ts"
import { quoteWord } from "./lexer.ts"
import type { KeepaliveOptions, NetworkOptions, Profile, Remote } from "./profile.ts"
import { defaultMssfix } from "./remotes.ts"
import { writeStaticKey } from "./static-key.ts"

/** Without `secrets` a comment stands in the place of keys, user name and password. */
export const print = (profile: Profile, options: { readonly secrets?: boolean } = {}): string => {
  const shown = options.secrets ?? false
  const { tls, timers, replayWindow, peerInfo } = profile
  const lines = [
    ...line(profile.pull ? "client" : "tls-client"),
    ...line("dev", profile.device.name),
    ...(profile.device.name.startsWith("tun") ? [] : line("dev-type", "tun")),
    ...servers(profile.remotes, shown),
    ...flag("remote-random", profile.remoteRandom),
    ...setting("connect-retry-max", profile.connectRetryMax),
    ...setting("resolv-retry", profile.resolvRetry),
    ...setting("hand-window", timers.handWindow),
    ...setting("tls-timeout", timers.tlsTimeout),
    ...setting("tran-window", timers.tranWindow),
    ...setting("reneg-sec", timers.renegSec),
    ...setting("reneg-bytes", timers.renegBytes),
    ...setting("reneg-pkts", timers.renegPackets),
    ...keepalive(profile.keepalive),
    ...network(profile.network),
    ...flag("route-nopull", profile.routeNopull),
    ...profile.pullFilters.flatMap(({ action, prefix }) => line("pull-filter", action, prefix)),
    ...flag("persist-tun", profile.persistTun),
    ...setting("auth-retry", profile.authRetry),
    ...setting("data-ciphers", profile.dataCiphers.join(":")),
    ...(profile.dataCiphersFallback === undefined ? [] : line("data-ciphers-fallback", profile.dataCiphersFallback)),
    ...setting("auth", profile.auth),
    ...setting("replay-window", replayWindow.packets, replayWindow.seconds),
    ...setting("tls-version-min", tls.minimum),
    ...(tls.maximum === undefined ? [] : line("tls-version-max", tls.maximum)),
    ...(tls.ciphers === undefined ? [] : line("tls-cipher", tls.ciphers)),
    ...(tls.ciphersuites === undefined ? [] : line("tls-ciphersuites", tls.ciphersuites)),
    ...(tls.groups === undefined ? [] : line("tls-groups", tls.groups)),
    ...setting("tls-cert-profile", tls.certProfile),
    ...flag("push-peer-info", peerInfo.push),
    ...peerInfo.variables.flatMap(([name, value]) => line("setenv", name, value)),
    ...setting("verb", profile.verb),
    ...trust(profile.trust),
    ...proofs(profile, shown),
  ]
  return `${lines.join("\n")}\n`
}

/** One line, its words written by their grammars. */
const line = <N extends DirectiveName>(name: N, ...values: ValuesOf<N>): ReadonlyArray<string> => {
  const { required, optional, rest } = rowOf(name).takes
  const grammars = [...required, ...optional]
  const words = (values as ReadonlyArray<unknown>).map((value, index) => (grammars[index] ?? rest!).write(value))
  return [[name, ...words.map(quoteWord)].join(" ")]
}

/** The same, unless it says what holds anyway. */
const setting = <N extends DirectiveName>(name: N, ...values: ValuesOf<N>): ReadonlyArray<string> => {
  const row = directives[name]
  return "default" in row && JSON.stringify(row.default) === JSON.stringify(values) ? [] : line(name, ...values)
}

const flag = (name: DirectiveName, on: boolean): ReadonlyArray<string> => (on ? [name] : [])

const block = (name: DirectiveName, content: ReadonlyArray<string>): ReadonlyArray<string> => [
  `<${name}>`,
  ...content,
  `</${name}>`,
]

const secretBlock = (name: DirectiveName, content: ReadonlyArray<string>, shown: boolean): ReadonlyArray<string> =>
  shown ? block(name, content) : [`# <${name}> is not shown`]

const servers = (remotes: Profile["remotes"], shown: boolean): ReadonlyArray<string> => {
  const parts = remotes.map(partsOfRemote)
  const shared = partNames.filter((name) => parts.every((part) => part[name].join("\n") === parts[0]![name].join("\n")))
  const own = partNames.filter((name) => !shared.includes(name))
  // Compared with their secrets, printed without.
  const visible = shown
    ? parts
    : remotes.map((remote) => ({ ...partsOfRemote(remote), wrapping: wrapping(remote, false) }))
  return [
    ...shared.flatMap((name) => visible[0]![name]),
    ...remotes.flatMap((remote, index) =>
      own.length === 0
        ? address(remote)
        : block("connection", [...address(remote), ...own.flatMap((name) => visible[index]![name])]),
    ),
  ]
}

const address = ({ host, port, transport, family }: Remote): ReadonlyArray<string> => {
  const version = family === "ipv4" ? "4" : family === "ipv6" ? "6" : ""
  return line("remote", host, port, transport === "udp" ? `udp${version}` : `tcp${version}-client`)
}

/** Everything but the address, in parts that either all servers share or each has its own. */
const partsOfRemote = (remote: Remote) => ({
  local: [
    ...(remote.local?.address === undefined ? [] : line("local", remote.local.address)),
    ...(remote.local === undefined ? [] : line("lport", remote.local.port ?? 0)),
  ],
  float: flag("float", remote.float),
  timeout: setting("server-poll-timeout", remote.connectTimeout),
  retry: setting("connect-retry", remote.connectRetry.wait, remote.connectRetry.maximum),
  exit: remote.explicitExitNotify === undefined ? [] : line("explicit-exit-notify", remote.explicitExitNotify),
  mtu: setting("tun-mtu", remote.tunMtu),
  packet: setting("max-packet-size", remote.maxPacketSize),
  mssfix: mssfix(remote),
  wrapping: wrapping(remote, true),
})

const partNames = ["local", "float", "timeout", "retry", "exit", "mtu", "packet", "mssfix", "wrapping"] as const

const mssfix = ({ mssfix, tunMtu, maxPacketSize }: Remote): ReadonlyArray<string> => {
  const implied = defaultMssfix(
    tunMtu,
    setting("max-packet-size", maxPacketSize).length > 0 ? maxPacketSize : undefined,
  )
  if (JSON.stringify(mssfix) === JSON.stringify(implied)) return []
  if (mssfix === "off") return line("mssfix", 0)
  return mssfix.counts === "payload" ? line("mssfix", mssfix.size) : line("mssfix", mssfix.size, mssfix.counts)
}

const wrapping = ({ controlWrapping }: Remote, shown: boolean): ReadonlyArray<string> => {
  switch (controlWrapping._tag) {
    case "Plain":
      return []
    case "TlsAuth": {
      const key = secretBlock("tls-auth", writeStaticKey(Redacted.value(controlWrapping.key)), shown)
      if (controlWrapping.direction === undefined) return key
      return [...line("key-direction", controlWrapping.direction === 0 ? "0" : "1"), ...key]
    }
    case "TlsCrypt":
      return secretBlock("tls-crypt", writeStaticKey(Redacted.value(controlWrapping.key)), shown)
  }
}

const keepalive = ({
  ping,
  pingRestart,
  pingExit,
  inactive,
  sessionTimeout,
}: KeepaliveOptions): ReadonlyArray<string> => [
  ...(ping === undefined ? [] : line("ping", ping)),
  ...(pingRestart === undefined ? [] : line("ping-restart", pingRestart)),
  ...(pingExit === undefined ? [] : line("ping-exit", pingExit)),
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
    ...(options.routeMetric === undefined ? [] : line("route-metric", options.routeMetric)),
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
    ...options.dhcpOptions.flatMap(({ type, value }) => line("dhcp-option", type, ...(value === "" ? [] : [value]))),
  ]
}

const trust = ({ ca, fingerprints, remoteCertTls, verifyX509Name }: Profile["trust"]): ReadonlyArray<string> => [
  ...(remoteCertTls === undefined ? [] : line("remote-cert-tls", remoteCertTls)),
  ...(verifyX509Name === undefined ? [] : line("verify-x509-name", verifyX509Name.value, verifyX509Name.form)),
  ...fingerprints.flatMap((fingerprint) => line("peer-fingerprint", fingerprint)),
  ...(ca === undefined ? [] : block("ca", ca.trimEnd().split("\n"))),
]

const proofs = ({ identity, credentials }: Profile, shown: boolean): ReadonlyArray<string> => [
  ...(identity === undefined
    ? []
    : [
        ...block("cert", identity.certificate.trimEnd().split("\n")),
        ...secretBlock("key", Redacted.value(identity.key).trimEnd().split("\n"), shown),
      ]),
  ...(credentials?._tag === "Ask" ? line("auth-user-pass") : []),
  ...(credentials?._tag === "Given"
    ? secretBlock("auth-user-pass", [credentials.username, Redacted.value(credentials.password)], shown)
    : []),
  ...(identity === undefined && credentials === undefined ? line("setenv", "CLIENT_CERT", "0") : []),
]
