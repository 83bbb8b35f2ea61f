/**
 * The two descriptions of itself that a client sends with key method 2: the options string, which servers compare with their
 * own only to warn, and the peer info, which says what the server may choose.
 */
import type { Compression, ControlWrapping, DataCipher, DigestName, Transport } from "../config/profile.ts"
import { digestLength } from "./wrap.ts"

export interface OptionsStringFacts {
  readonly transport: Transport
  readonly tunMtu: number
  readonly auth: DigestName
  readonly wrapping: ControlWrapping
  /** `comp-lzo` in the string: any framing of compression. */
  readonly compression: Compression | undefined
}

/** As OpenVPN 2.6 composes it for a client that negotiates its cipher. */
export const optionsString = ({ transport, tunMtu, auth, wrapping, compression }: OptionsStringFacts): string => {
  const framed = compression !== undefined
  // 2.6 reckons with opcode, packet id and one 16-byte IV for a cipher that is not known yet.
  const linkMtu = tunMtu + 21 + digestLength[auth] + (transport === "tcp" ? 2 : 0) + (framed ? 1 : 0)
  const tlsAuth = wrapping._tag === "TlsAuth"
  const fields = [
    "V4",
    "dev-type tun",
    `link-mtu ${linkMtu}`,
    `tun-mtu ${tunMtu}`,
    `proto ${transport === "udp" ? "UDPv4" : "TCPv4_CLIENT"}`,
    ...(framed ? ["comp-lzo"] : []),
    ...(tlsAuth && wrapping.direction !== undefined ? [`keydir ${wrapping.direction}`] : []),
    `auth ${auth}`,
    "keysize 128",
    ...(tlsAuth ? ["tls-auth"] : []),
    "key-method 2",
    "tls-client",
  ]
  return fields.join(",")
}

/** The value of one field of the peer's options string, "" for a bare word, undefined when it is absent. */
export const optionsField = (options: string, name: string): string | undefined => {
  for (const field of options.split(",")) {
    if (field === name) return ""
    if (field.startsWith(`${name} `)) return field.slice(name.length + 1)
  }
  return undefined
}

/** Who we are, for IV_VER, IV_PLAT and, with `push-peer-info`, IV_PLAT_VER and IV_SSL. */
export interface Versions {
  readonly version: string
  readonly platform: string
  readonly platformVersion?: string
  readonly ssl?: string
}

export interface PeerInfoFacts {
  readonly versions: Versions
  readonly dataCiphers: ReadonlyArray<DataCipher>
  readonly pull: boolean
  readonly tunMtu: number
  /** `push-peer-info`: tell more than the server needs. */
  readonly push: boolean
  readonly compression: Compression | undefined
  /** A code is at hand for a question in mid-login (CR_TEXT). */
  readonly answersQuestions: boolean
  /** From `setenv`: UV_* goes only with `push`, IV_* always. */
  readonly variables: ReadonlyArray<readonly [string, string]>
}

/** Lines `KEY=VALUE`. Only what works is announced: the server acts on it. */
export const peerInfo = (facts: PeerInfoFacts): string => {
  const { versions, dataCiphers, push } = facts
  const own: Array<readonly [string, string | undefined]> = [
    ["IV_VER", versions.version],
    ["IV_PLAT", versions.platform],
    ["IV_TCPNL", "1"],
    ["IV_MTU", String(Math.max(maxTunMtu, facts.tunMtu))],
    ["IV_NCP", dataCiphers.includes("AES-128-GCM") && dataCiphers.includes("AES-256-GCM") ? "2" : undefined],
    ["IV_CIPHERS", dataCiphers.join(":")],
    ["IV_PROTO", String(protocolBits(facts.pull))],
    ...(facts.compression?.allow === "asym" ? decompressors : []),
    ["IV_LZO_STUB", "1"],
    ["IV_COMP_STUB", "1"],
    ["IV_COMP_STUBv2", "1"],
    ["IV_PLAT_VER", push ? versions.platformVersion : undefined],
    ["IV_SSL", push ? versions.ssl : undefined],
    ...(facts.answersQuestions ? [["IV_SSO", "crtext"] as const] : []),
  ]
  const variables = facts.variables.filter(
    ([name]) => (name.startsWith("IV_") || (push && name.startsWith("UV_"))) && !own.some(([taken]) => taken === name),
  )
  return [...own, ...variables]
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${singleLine(value!)}\n`)
    .join("")
}

/** OpenVPN's `tun-mtu-max`: the largest tun MTU that a server may push. */
export const maxTunMtu = 1600

const decompressors: ReadonlyArray<readonly [string, string]> = [
  ["IV_LZ4", "1"],
  ["IV_LZ4v2", "1"],
  ["IV_LZO", "1"],
]

/** A line break inside a value would start a line of its own. */
const singleLine = (value: string): string => value.replace(/[\0\r\n]/g, "_")

/** The value of one line of the other side's peer info. */
export const peerInfoValue = (peerInfo: string, name: string): string | undefined =>
  peerInfo
    .split("\n")
    .find((line) => line.startsWith(`${name}=`))
    ?.slice(name.length + 1)

/** Without `pull` the two sides settle by these bits, and by IV_CIPHERS, what a server would push otherwise. */
const protocolBits = (pull: boolean): number =>
  pull ? pullBits : ivProto.dataV2 | ivProto.tlsKeyExport | ivProto.negotiateP2p

/** Bits of IV_PROTO. */
export const ivProto = {
  dataV2: 2,
  requestPush: 4,
  tlsKeyExport: 8,
  authPendingKeyword: 16,
  negotiateP2p: 32,
  exitNotify: 128,
  authFailTemporary: 256,
  dynamicTlsCrypt: 512,
  dataEpoch: 1024,
  pushUpdate: 4096,
} as const

const pullBits =
  ivProto.dataV2 |
  ivProto.requestPush |
  ivProto.tlsKeyExport |
  ivProto.authPendingKeyword |
  ivProto.exitNotify |
  ivProto.authFailTemporary |
  ivProto.dynamicTlsCrypt |
  ivProto.dataEpoch |
  ivProto.pushUpdate
