/** Sizes of a connection: `tun-mtu` or `link-mtu`, `mssfix` and `fragment`, with what OpenVPN 2.6 makes of those that are not given. */
import { dataCipher, digest, digestLength } from "./ciphers.ts"
import type { Diagnostics } from "./diagnostic.ts"
import type { Remote } from "./profile.ts"
import type { Settings } from "./settings.ts"

export type Sizes = Pick<Remote, "tunMtu" | "occMtu" | "mssfix" | "fragment">

/** `isStatic`: with a static key, whose packets are built otherwise. */
export const sizesOf = (
  scope: Settings,
  transport: Remote["transport"],
  isStatic: boolean,
  report: Diagnostics,
): Sizes => {
  const fragment = transport === "udp" ? fragmentOf(scope) : undefined
  const tunMtu = tunMtuOf(scope, transport, isStatic, report)
  const own = { tunMtu, occMtu: scope.last("tun-mtu")?.values[1], fragment }
  const given = scope.last("mssfix")
  const maxPacketSize = given === undefined ? scope.last("max-packet-size")?.values[0] : undefined
  const [size, counts = "payload"] = given?.values ?? []
  if (size !== undefined) return { ...own, mssfix: size === 0 ? "off" : { size, counts } }
  // `link-mtu` alone asks for no clamp.
  const isOff = scope.last("link-mtu") !== undefined && fragment === undefined && maxPacketSize === undefined
  return { ...own, mssfix: isOff ? "off" : defaultMssfix({ tunMtu, fragment, maxPacketSize }) }
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
  const name = scope.lastOf("cipher", "data-ciphers-fallback")?.values[0]
  const cipher = name === undefined ? undefined : dataCipher(name)
  const hash = digestLength[digest(scope.values("auth")[0]) ?? "SHA1"]
  const opcode = isStatic ? 0 : 1
  const frame = transport === "tcp" ? frameLength : 0
  if (isStatic || cipher?.endsWith("-CBC")) return opcode + vectorAndPadding + hash + frame
  if (cipher === undefined) return opcode + packetId + hash + frame
  return opcode + packetId + nonce + (cipher.endsWith("-GCM") ? block : 1) + tag + frame
}
const block = 16
const vectorAndPadding = 2 * block
const nonce = 12
const tag = 16
const packetId = 4
/** The length before each packet on a stream. */
const frameLength = 2
const least = 100
