/** The servers of a profile: `remote` lines and `<connection>` blocks, each with everything that applies to it. */
import { isIpv4 } from "./address.ts"
import type { Contents } from "./content.ts"
import { Diagnostics, quote, wordOf } from "./diagnostic.ts"
import type { ControlWrapping, Remote } from "./profile.ts"
import { datagramProxyOf, proxyOf } from "./proxy.ts"
import type { Setting, Settings } from "./settings.ts"
import { sizesOf } from "./sizes.ts"

/** At least one, or none after a complaint. */
export const remotesOf = (
  settings: Settings,
  contents: Contents,
  report: Diagnostics,
  complete: boolean,
): ReadonlyArray<Remote> => {
  const blocks = settings.all("connection")
  const lines = settings.all("remote")
  // Also without any remote, so that what is wrong with the key is said.
  const direction = directionOf(settings, "tls-auth", report)
  const wrapping = wrappingOf(settings, direction, contents)
  const build = builder(kindOf(settings), contents, report)
  const remotes =
    blocks.length === 0
      ? lines.map((remote) => build(remote, settings, wrapping))
      : blocks.flatMap((block) => fromBlock(block, settings, { wrapping, direction }, build, contents, report))
  if (blocks.length > 0) {
    for (const line of lines) report.warning(line, `"remote" has no effect outside of the <connection> blocks`)
  } else if (lines.length === 0 && complete && !settings.mentions("remote") && !settings.mentions("connection")) {
    report.error(Diagnostics.wholeFile, "no server is given", "add a line such as: remote vpn.example.com 1194 udp")
  }
  const force = settings.last("proto-force")
  const transport = force?.values[0].startsWith("tcp") ? "tcp" : "udp"
  const chosen = force === undefined ? remotes : remotes.filter((remote) => remote.transport === transport)
  if (force !== undefined && chosen.length === 0 && remotes.length > 0)
    report.error(force, `no server has the transport of "proto-force ${transport}"`)
  return chosen
}

/**
 * What stands above a block applies where the block says nothing. Only the wrapping of control packets applies wherever it stands,
 * as in OpenVPN 2.6.
 */
const fromBlock = (
  block: Setting,
  settings: Settings,
  outer: { readonly wrapping: ControlWrapping; readonly direction: 0 | 1 | undefined },
  build: Build,
  contents: Contents,
  report: Diagnostics,
): ReadonlyArray<Remote> => {
  const { settings: inner, below } = block.inner!
  const view = settings.upTo(below)
  const [remote, second] = inner.all("remote")
  if (second !== undefined) report.error(second, `a <connection> block has one "remote"`)
  if (remote === undefined) {
    if (!inner.mentions("remote")) report.error(block, `the <connection> block has no "remote"`)
    return []
  }
  // As most blocks do: nothing but the remote is its own.
  if (inner.size === 1) return [build(remote, view, outer.wrapping)]
  const direction = directionOf(inner, "tls-auth", report)
  const wrapping = wrappings.some((name) => inner.has(name))
    ? wrappingOf(inner, direction ?? outer.direction, contents)
    : outer.wrapping._tag === "TlsAuth"
      ? { ...outer.wrapping, direction: direction ?? outer.direction }
      : outer.wrapping
  return [build(remote, inner.within(view), wrapping)]
}

type Build = (
  remote: Setting<readonly [string, number?, Protocol?]>,
  scope: Settings,
  controlWrapping: ControlWrapping,
) => Remote

/** What a scope says is derived once for the servers that follow each other in it: a file may have very many. */
const builder = (kind: Kind, contents: Contents, report: Diagnostics): Build => {
  const defaults = ofTheLast(defaultsOf)
  const stream = ofTheLast((scope) => streamOf(scope, kind, contents, report))
  const datagrams = ofTheLast((scope) => datagramsOf(scope, kind, contents, report))
  return (remote, scope, controlWrapping) => {
    const [host, ownPort, ownProtocol] = remote.values
    const written = ownProtocol ?? defaults(scope).protocol
    const own = {
      host,
      port: ownPort ?? defaults(scope).port,
      family: familyOf(written, remote, report),
      controlWrapping,
    }
    const built = written.startsWith("tcp") ? { ...own, ...stream(scope) } : { ...own, ...datagrams(scope) }
    if (built.local?.address === host && built.local.port === built.port)
      report.error(
        scope.last("local")!,
        "the server's address and port are our own",
        "is this line meant for the server?",
      )
    return built
  }
}

const ofTheLast = <A>(derive: (scope: Settings) => A): ((scope: Settings) => A) => {
  let last: { readonly scope: Settings; readonly derived: A } | undefined
  return (scope) => {
    if (last?.scope !== scope) last = { scope, derived: derive(scope) }
    return last.derived
  }
}

/** What holds where a `remote` does not say it. */
const defaultsOf = (scope: Settings) => ({
  protocol: scope.values("proto")[0],
  port: scope.lastOf("port", "rport")?.values[0] ?? scope.values("port")[0],
})

const streamOf = (scope: Settings, kind: Kind, contents: Contents, report: Diagnostics) => {
  reportDatagramOnly(scope, report)
  return {
    ...endpointOf(scope, false),
    ...sizesOf(scope, "tcp", kind.isStatic, report),
    transport: "tcp",
    proxy: proxyOf(scope, contents, report),
    float: false,
    explicitExitNotify: undefined,
    fragment: undefined,
  } as const
}

const datagramsOf = (scope: Settings, kind: Kind, contents: Contents, report: Diagnostics) => {
  const proxy = datagramProxyOf(scope, contents, report)
  const float = scope.last("float")
  if (float !== undefined && proxy !== undefined)
    report.info(float, `"float" has no effect through a proxy, which is where all packets come from`)
  return {
    ...endpointOf(scope, kind.isPeer),
    ...sizesOf(scope, "udp", kind.isStatic, report),
    transport: "udp" as const,
    proxy,
    float: float !== undefined && proxy === undefined,
    explicitExitNotify: exitNotifyOf(scope),
  }
}

const endpointOf = (scope: Settings, isBound: boolean) => {
  const [wait, maximum = 300] = scope.values("connect-retry")
  return {
    local: localOf(scope, isBound),
    connectTimeout: scope.values("server-poll-timeout")[0],
    connectRetry: { wait, maximum: Math.max(wait, maximum) },
    maxPacketSize: scope.values("max-packet-size")[0],
  }
}

const familyOf = (
  written: Protocol,
  remote: Setting<readonly [string, ...unknown[]]>,
  report: Diagnostics,
): Remote["family"] => {
  const family = written.includes("4") ? "ipv4" : written.includes("6") ? "ipv6" : "any"
  const [host] = remote.values
  const other = family === "ipv4" ? host.includes(":") : family === "ipv6" && isIpv4(host)
  if (other)
    report.warning(
      wordOf(remote, 1),
      `${quote(host)} is never reached with ${written}, which is for the other address family`,
    )
  return family
}

/** Which port the other side sends to or expects, and how large packets are, differs. */
interface Kind {
  readonly isStatic: boolean
  /** One of two equal ends: nothing is pulled from a server. */
  readonly isPeer: boolean
}

const kindOf = (settings: Settings): Kind => ({
  isStatic: settings.has("secret"),
  isPeer: !settings.has("client") && !settings.has("pull"),
})

/**
 * A client's socket is bound only when the file asks for it, one of two peers over UDP unless the file says `nobind`: the other one
 * may know it by its port. The port is that of `lport`, else of `port`, else 1194.
 */
const localOf = (scope: Settings, isBound: boolean): Remote["local"] => {
  const address = scope.last("local")?.values[0]
  const bind = scope.has("bind") || (isBound && !scope.has("nobind"))
  const lport = scope.last("lport")?.values[0]
  if (address === undefined && lport === undefined && !bind) return undefined
  const port = lport ?? scope.values("port")[0]
  return address === undefined && port === 0 ? undefined : { address, port: port === 0 ? undefined : port }
}

/** 0 is not at all. */
const exitNotifyOf = (scope: Settings): number | undefined => {
  const setting = scope.last("explicit-exit-notify")
  return setting && ((setting.values[0] ?? 1) || undefined)
}

const reportDatagramOnly = (scope: Settings, report: Diagnostics): void => {
  const notify = scope.last("explicit-exit-notify")
  const float = scope.last("float")
  const fragment = scope.last("fragment")
  if (float !== undefined) report.info(float, `"float" has no effect over TCP: a connection has two fixed ends`)
  if (notify !== undefined)
    report.info(notify, `"explicit-exit-notify" has no effect over TCP: closing the connection tells the server`)
  if (fragment !== undefined)
    report.error(fragment, `"fragment" is for UDP only, and the server is reached over TCP`, "remove the line")
}

const wrappings = ["tls-auth", "tls-crypt", "tls-crypt-v2"] as const

const wrappingOf = (scope: Settings, direction: 0 | 1 | undefined, contents: Contents): ControlWrapping => {
  const tlsCrypt = scope.last("tls-crypt")
  const tlsCryptV2 = scope.last("tls-crypt-v2")
  const tlsAuth = scope.last("tls-auth")
  // With both, which is a conflict already reported, either will do.
  if (tlsCrypt !== undefined) {
    const key = contents.staticKey(tlsCrypt, scope)
    return key === undefined ? { _tag: "Plain" } : { _tag: "TlsCrypt", key }
  }
  if (tlsCryptV2 !== undefined) {
    const keys = contents.clientKey(tlsCryptV2, scope)
    return keys === undefined ? { _tag: "Plain" } : { _tag: "TlsCryptV2", ...keys }
  }
  if (tlsAuth === undefined) return { _tag: "Plain" }
  const key = contents.staticKey(tlsAuth, scope)
  return key === undefined ? { _tag: "Plain" } : { _tag: "TlsAuth", key, direction }
}

/** `key-direction` and the second word of `tls-auth` and `secret` say the same thing. */
export const directionOf = (scope: Settings, key: "tls-auth" | "secret", report: Diagnostics): 0 | 1 | undefined => {
  const alone = scope.last("key-direction")
  const withKey = scope.all(key).findLast((setting) => setting.values[0] !== undefined)
  const value = alone?.values[0] ?? withKey?.values[0]
  if (alone !== undefined && withKey !== undefined && alone.values[0] !== withKey.values[0]) {
    const [first, second] = alone.line < withKey.line ? [alone, withKey] : [withKey, alone]
    report.error(
      second,
      `"${second.name}" and "${first.name}" (line ${first.line}) give different directions`,
      "remove one of them",
    )
  }
  return value === undefined ? undefined : value === "0" ? 0 : 1
}

type Protocol = "udp" | "udp4" | "udp6" | "tcp" | "tcp4" | "tcp6" | "tcp-client" | "tcp4-client" | "tcp6-client"
