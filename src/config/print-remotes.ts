/** The servers of a profile as text. */
import * as Redacted from "effect/Redacted"
import type { Profile, ProxyLogin, ProxyServer, Remote } from "./profile.ts"
import { defaultMssfix } from "./sizes.ts"
import { writeClientKey, writeStaticKey } from "./static-key.ts"
import { block, flag, line, secretBlock, setting } from "./written.ts"

/** What differs between servers stands in `<connection>` blocks, what they share outside. */
export const servers = ({ remotes, pull }: Profile, shown: boolean): ReadonlyArray<string> => {
  const parts = remotes.map((remote) => partsOfRemote(remote, pull, true))
  const shared = partNames.filter((name) => parts.every((part) => part[name].join("\n") === parts[0]![name].join("\n")))
  const own = partNames.filter((name) => !shared.includes(name))
  // Compared with their secrets, printed without.
  const visible = shown ? parts : remotes.map((remote) => partsOfRemote(remote, pull, false))
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
const partsOfRemote = (remote: Remote, pull: boolean, shown: boolean) => ({
  proxy: remote.proxy === undefined ? [] : proxy(remote.proxy, shown),
  local: [
    ...(remote.local?.address === undefined ? [] : line("local", remote.local.address)),
    ...(remote.local === undefined ? [] : line("lport", remote.local.port ?? 0)),
    // A peer over UDP has a port otherwise.
    ...flag("nobind", remote.local === undefined && !pull && remote.transport === "udp"),
  ],
  float: flag("float", remote.float),
  timeout: setting("server-poll-timeout", remote.connectTimeout),
  retry: setting("connect-retry", remote.connectRetry.wait, remote.connectRetry.maximum),
  exit: remote.explicitExitNotify === undefined ? [] : line("explicit-exit-notify", remote.explicitExitNotify),
  mtu: remote.occMtu === undefined ? setting("tun-mtu", remote.tunMtu) : line("tun-mtu", remote.tunMtu, remote.occMtu),
  packet: setting("max-packet-size", remote.maxPacketSize),
  mssfix: mssfix(remote),
  fragment:
    remote.fragment === undefined
      ? []
      : remote.fragment.counts === "mtu"
        ? line("fragment", remote.fragment.size, "mtu")
        : line("fragment", remote.fragment.size),
  wrapping: wrapping(remote, shown),
})

const partNames = [
  "proxy",
  "local",
  "float",
  "timeout",
  "retry",
  "exit",
  "mtu",
  "packet",
  "mssfix",
  "fragment",
  "wrapping",
] as const

const proxy = (proxy: ProxyServer, shown: boolean): ReadonlyArray<string> => {
  const { host, port } = proxy
  switch (proxy._tag) {
    case "Socks":
      return [
        ...(proxy.login?._tag === "Ask" ? line("socks-proxy", host, port, "stdin") : line("socks-proxy", host, port)),
        ...(proxy.login?._tag === "Given" ? login("socks-proxy-user-pass", proxy.login, shown) : []),
      ]
    case "Http": {
      const { authentication, version, userAgent, headers } = proxy
      return [
        ...httpProxy(proxy),
        ...(version === "1.0" ? [] : line("http-proxy-option", "VERSION", version)),
        ...(userAgent === undefined ? [] : line("http-proxy-option", "AGENT", userAgent)),
        ...headers.flatMap(([name, value]) => line("http-proxy-option", "CUSTOM-HEADER", name, value)),
        ...(authentication?.login._tag === "Given" ? login("http-proxy-user-pass", authentication.login, shown) : []),
      ]
    }
  }
}

const login = (
  name: "http-proxy-user-pass" | "socks-proxy-user-pass",
  { username, password }: Extract<ProxyLogin, { _tag: "Given" }>,
  shown: boolean,
): ReadonlyArray<string> => secretBlock(name, [username, Redacted.value(password)], shown)

const httpProxy = ({ host, port, authentication }: Extract<ProxyServer, { _tag: "Http" }>): ReadonlyArray<string> => {
  if (authentication === undefined) return line("http-proxy", host, port)
  switch (authentication.method) {
    case "any":
      return line("http-proxy", host, port, "auto")
    case "any-but-basic":
      return line("http-proxy", host, port, "auto-nct")
    case "basic":
      return line("http-proxy", host, port, "stdin", "basic")
  }
}

const mssfix = ({ mssfix, tunMtu, fragment, maxPacketSize }: Remote): ReadonlyArray<string> => {
  const isGiven = setting("max-packet-size", maxPacketSize).length > 0
  const implied = defaultMssfix({ tunMtu, fragment, maxPacketSize: isGiven ? maxPacketSize : undefined })
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
    case "TlsCryptV2":
      return secretBlock("tls-crypt-v2", writeClientKey(controlWrapping), shown)
  }
}
