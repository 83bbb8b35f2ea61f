/** Sizes of a connection: `tun-mtu` or `link-mtu`, `mssfix` and `fragment`, with what OpenVPN 2.6 makes of those that are not given. */
import { cbcCipher, digest } from "./ciphers.ts"
import type { Diagnostics } from "./diagnostic.ts"
import type { DigestName, Remote } from "./profile.ts"
import type { Settings } from "./settings.ts"

export type Sizes = Pick<Remote, "tunMtu" | "mssfix" | "fragment">

/** `isStatic`: with a static key, whose packets are built otherwise. */
export const sizesOf = (
  scope: Settings,
  transport: Remote["transport"],
  isStatic: boolean,
  report: Diagnostics,
): Sizes => {
  const fragment = transport === "udp" ? fragmentOf(scope) : undefined
  const tunMtu = tunMtuOf(scope, transport, isStatic, report)
  const given = scope.last("mssfix")
  const maxPacketSize = given === undefined ? scope.last("max-packet-size")?.values[0] : undefined
  const [size, counts = "payload"] = given?.values ?? []
  if (size !== undefined) return { tunMtu, fragment, mssfix: size === 0 ? "off" : { size, counts } }
  // `link-mtu` alone asks for no clamp.
  const isOff = scope.last("link-mtu") !== undefined && fragment === undefined && maxPacketSize === undefined
  return { tunMtu, fragment, mssfix: isOff ? "off" : defaultMssfix({ tunMtu, fragment, maxPacketSize }) }
}

/** What `mssfix` comes to when no size is given. The maximum packet size counts only when it is given itself. */
export const defaultMssfix = ({
  tunMtu,
  fragment,
  maxPacketSize,
}: Pick<Remote, "tunMtu" | "fragment"> & { readonly maxPacketSize: number | undefined }): Remote["mssfix"] => {
  const size = maxPacketSize ?? fragment?.size
  if (size !== undefined) return { size, counts: "mtu" }
  return tunMtu === 1500 ? { size: 1492, counts: "mtu" } : { size: tunMtu, counts: "fixed" }
}

const fragmentOf = (scope: Settings): Remote["fragment"] => {
  const setting = scope.last("fragment")
  if (setting === undefined) return undefined
  const [size, counts = "payload"] = setting.values
  return { size, counts }
}

const tunMtuOf = (scope: Settings, transport: Remote["transport"], isStatic: boolean, report: Diagnostics): number => {
  const link = scope.last("link-mtu")
  if (link === undefined) return scope.values("tun-mtu")[0]
  const tunMtu = link.values[0] - linkOverhead(scope, transport, isStatic)
  if (tunMtu >= least) return tunMtu
  report.error(link, `link-mtu ${link.values[0]} leaves ${tunMtu} bytes for packets in the tunnel, ${least} are needed`)
  return least
}

/** As OpenVPN reckons when it does not know yet what will be negotiated: `cipher` and `data-ciphers-fallback` tell. */
const linkOverhead = (scope: Settings, transport: Remote["transport"], isStatic: boolean): number => {
  const hash = digestLength[digest(scope.values("auth")[0]) ?? "SHA1"]
  const cipher = scope.lastOf("cipher", "data-ciphers-fallback")?.values[0]
  const isCbc = isStatic || (cipher !== undefined && cbcCipher(cipher) !== undefined)
  const head = isStatic ? 0 : 1
  return head + hash + (isCbc ? vectorAndPadding : packetId) + (transport === "tcp" ? frameLength : 0)
}

const digestLength: Readonly<Record<DigestName, number>> = {
  MD5: 16,
  SHA1: 20,
  SHA224: 28,
  SHA256: 32,
  SHA384: 48,
  SHA512: 64,
}
const vectorAndPadding = 32
const packetId = 4
/** The length before each packet on a stream. */
const frameLength = 2
const least = 100
