/**
 * The two descriptions of itself that a client sends with key method 2: the options string, which servers compare with their
 * own only to warn, and the peer info, which says what the server may choose.
 */

import { digestLength } from "../config/ciphers.ts"
import type {
  Compression,
  ControlWrapping,
  DataCipher,
  DigestName,
  Profile,
  Remote,
  StaticKeyProfile,
  Transport,
} from "../config/profile.ts"
import { cipherKeyLength, isCbc, longPacketIdLength, packetIdLength, tagLength } from "./datachannel.ts"

export interface OptionsStringFacts {
  readonly deviceType: Profile["device"]["type"]
  readonly transport: Transport
  readonly tunMtu: number
  /** What is said in its place; undefined: the same. */
  readonly occMtu?: number | undefined
  readonly auth: DigestName
  /** `cipher` as the file has it, and what is offered. */
  readonly cipher?: DataCipher | undefined
  readonly dataCiphers: ReadonlyArray<DataCipher>
  readonly wrapping: ControlWrapping
  /** `comp-lzo` in the string: any framing of compression. */
  readonly compression: Compression | undefined
  readonly fragment?: Remote["fragment"]
}

/** As OpenVPN 2.6 composes it for a client that negotiates its cipher. */
export const optionsString = (facts: OptionsStringFacts): string => {
  const { deviceType, transport, tunMtu, auth, cipher, dataCiphers, wrapping } = facts
  const authenticates = cipher !== undefined && !isCbc(cipher)
  const linkMtu = tunMtu + frameLength[deviceType] + encryptionLength(facts) + framingLength(facts)
  const tlsAuth = wrapping._tag === "TlsAuth"
  const fields = [
    "V4",
    `dev-type ${deviceType}`,
    `link-mtu ${linkMtu}`,
    `tun-mtu ${facts.occMtu ?? tunMtu}`,
    `proto ${transport === "udp" ? "UDPv4" : "TCPv4_CLIENT"}`,
    ...framings(facts),
    ...(tlsAuth && wrapping.direction !== undefined ? [`keydir ${wrapping.direction}`] : []),
    ...(cipher !== undefined && dataCiphers.includes(cipher) ? [`cipher ${cipher}`] : []),
    `auth ${authenticates ? "[null-digest]" : auth}`,
    `keysize ${cipher === undefined ? 128 : 8 * cipherKeyLength[cipher]}`,
    ...(tlsAuth ? ["tls-auth"] : []),
    "key-method 2",
    "tls-client",
  ]
  return fields.join(",")
}

/** As 2.6 reckons: opcode, packet id, initialisation vector, the most that padding takes, and digest or tag. */
const encryptionLength = ({ cipher, auth }: OptionsStringFacts): number => {
  const head = 1 + packetIdLength
  // Blowfish, which is what a file without `cipher` means.
  if (cipher === undefined) return head + 8 + 8 + digestLength[auth]
  if (isCbc(cipher)) return head + 2 * cbcBlock + digestLength[auth]
  return head + 12 + (cipher === "CHACHA20-POLY1305" ? 1 : cbcBlock) + tagLength
}

/** What OpenVPN allows for the head of a frame (`tun-mtu-extra`). */
const frameLength = { tun: 0, tap: 32 } as const

export interface StaticKeyFacts {
  readonly remote: Pick<Remote, "transport" | "tunMtu" | "occMtu" | "fragment">
  readonly profile: Pick<StaticKeyProfile, "device" | "staticKey" | "cipher" | "auth" | "compression" | "network">
}

/** With a static key: what we say of ourselves, and what the peer should say, which is the same from its end. */
export const staticKeyOptionsString = ({ remote, profile }: StaticKeyFacts, whose: "ours" | "theirs"): string => {
  const { transport, tunMtu, occMtu = tunMtu, fragment } = remote
  const { device, auth, cipher, compression, staticKey } = profile
  const facts = { transport, compression, fragment }
  // With an initialisation vector and the most that padding may take.
  const encryption = 2 * cbcBlock + digestLength[auth] + longPacketIdLength
  const linkMtu = tunMtu + frameLength[device.type] + encryption + framingLength(facts)
  const addresses = addressesOf(profile, whose)
  const direction =
    staticKey.direction === undefined || whose === "ours" ? staticKey.direction : 1 - staticKey.direction
  const fields = [
    "V4",
    `dev-type ${device.type}`,
    `link-mtu ${linkMtu}`,
    `tun-mtu ${occMtu}`,
    `proto ${transport === "udp" ? "UDPv4" : whose === "ours" ? "TCPv4_CLIENT" : "TCPv4_SERVER"}`,
    ...(addresses === undefined ? [] : [`ifconfig ${addresses}`]),
    ...framings(facts),
    ...(direction === undefined ? [] : [`keydir ${direction}`]),
    `cipher ${cipher}`,
    `auth ${auth}`,
    `keysize ${8 * cipherKeyLength[cipher]}`,
    "secret",
  ]
  return fields.join(",")
}

/** The network, or point to point the other end's address before the own one. */
const addressesOf = ({ device, network }: StaticKeyFacts["profile"], whose: "ours" | "theirs"): string | undefined => {
  const { ifconfig, topology } = network
  if (ifconfig === undefined) return undefined
  const { local, second } = ifconfig
  if (device.type === "tun" && topology !== "subnet")
    return whose === "ours" ? `${second} ${local}` : `${local} ${second}`
  const mask = second.split(".").map(Number)
  const base = local.split(".").map((part, index) => Number(part) & (mask[index] ?? 0))
  return `${base.join(".")} ${second}`
}

/** What the other side says otherwise than it should, a sentence for each field; the version of the string aside. */
export const differingOptions = (expected: string, actual: string): ReadonlyArray<string> => {
  const wanted = expected.split(",").slice(1)
  const given = actual.split(",").slice(1)
  const nameOf = (field: string) => field.split(" ")[0]!
  return [
    ...wanted
      .filter((field) => !given.includes(field))
      .map((field) => {
        const other = given.find((text) => nameOf(text) === nameOf(field))
        return other === undefined ? `it does not have "${field}"` : `it has "${other}" for "${field}"`
      }),
    ...given
      .filter((field) => !wanted.some((text) => nameOf(text) === nameOf(field)))
      .map((field) => `it has "${field}", we do not`),
  ]
}

type Framings = Pick<OptionsStringFacts, "transport" | "compression" | "fragment">

const framings = ({ compression, fragment }: Framings): ReadonlyArray<string> => [
  ...(compression === undefined ? [] : ["comp-lzo"]),
  ...(fragment === undefined ? [] : ["mtu-dynamic"]),
]

/** What a frame of a stream, the byte of a compression and a fragment's header add to `link-mtu`. */
const framingLength = ({ transport, compression, fragment }: Framings): number => {
  const hasByte = compression !== undefined && compression.framing !== "stub-v2" && compression.framing !== "lz4-v2"
  return (transport === "tcp" ? 2 : 0) + (hasByte ? 1 : 0) + (fragment === undefined ? 0 : 4)
}

const cbcBlock = 16

/** The value of one field of the peer's options string, "" for a bare word, undefined when it is absent. */
export const optionsField = (options: string, name: string): string | undefined => {
  for (const field of options.split(",")) {
    if (field === name) return ""
    if (field.startsWith(`${name} `)) return field.slice(name.length + 1)
  }
  return undefined
}

/** Who we are: IV_VER, IV_PLAT and, with `push-peer-info`, IV_HWADDR, IV_SSL and IV_PLAT_VER. */
export interface Versions {
  readonly version: string
  readonly platform: string
  /** Of the device that the server is reached by. */
  readonly hardwareAddress?: string | undefined
  readonly ssl?: string
  readonly platformVersion?: string
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
  /** From `setenv`: UV_* goes only with `push`, IV_* with `pull` as well. */
  readonly variables: ReadonlyArray<readonly [string, string]>
}

/**
 * Lines `KEY=VALUE`, in OpenVPN 2.6's order. Only what works is announced: the server acts on it. Without `pull` it is what the two
 * sides need to settle between them, unless `push-peer-info` says more.
 */
export const peerInfo = (facts: PeerInfoFacts): string => {
  const { dataCiphers, pull, push } = facts
  const negotiated: ReadonlyArray<Line> = [
    ["IV_CIPHERS", dataCiphers.join(":")],
    ["IV_PROTO", String(pull ? pullBits : p2pBits)],
  ]
  const own = (pull || push ? described(facts, negotiated) : negotiated).filter(([, value]) => value !== undefined)
  const variables = facts.variables.filter(
    ([name]) =>
      ((pull && name.startsWith("IV_")) || (push && /^[IU]V_/.test(name))) && !own.some(([taken]) => taken === name),
  )
  return [...own, ...variables].map(([name, value]) => `${name}=${singleLine(value!)}\n`).join("")
}

type Line = readonly [name: string, value: string | undefined]

const described = (facts: PeerInfoFacts, negotiated: ReadonlyArray<Line>): ReadonlyArray<Line> => {
  const { versions, dataCiphers, push } = facts
  return [
    ["IV_VER", versions.version],
    ["IV_PLAT", versions.platform],
    ["IV_TCPNL", "1"],
    ["IV_MTU", String(Math.max(maxTunMtu, facts.tunMtu))],
    ["IV_NCP", dataCiphers.includes("AES-128-GCM") && dataCiphers.includes("AES-256-GCM") ? "2" : undefined],
    ...negotiated,
    ...(facts.compression?.allow === "asym" ? decompressors : [["IV_LZO_STUB", "1"] as const]),
    ["IV_COMP_STUB", "1"],
    ["IV_COMP_STUBv2", "1"],
    ["IV_HWADDR", push ? versions.hardwareAddress : undefined],
    ["IV_SSL", push ? versions.ssl : undefined],
    ["IV_PLAT_VER", push ? versions.platformVersion : undefined],
    ["IV_SSO", facts.answersQuestions ? "crtext" : undefined],
  ]
}

/** OpenVPN's `tun-mtu-max`: the largest tun MTU that a server may push. */
export const maxTunMtu = 1600

const decompressors: ReadonlyArray<Line> = [
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
  /** `dns` as OpenVPN 2.7 has it. */
  dnsOption: 2048,
  pushUpdate: 4096,
} as const

/** Without `pull` the two sides settle by these, and by IV_CIPHERS, what a server would push otherwise. */
const p2pBits =
  ivProto.dataV2 | ivProto.tlsKeyExport | ivProto.negotiateP2p | ivProto.exitNotify | ivProto.dynamicTlsCrypt

const pullBits =
  ivProto.dataV2 |
  ivProto.requestPush |
  ivProto.tlsKeyExport |
  ivProto.authPendingKeyword |
  ivProto.exitNotify |
  ivProto.authFailTemporary |
  ivProto.dynamicTlsCrypt |
  ivProto.dataEpoch |
  ivProto.dnsOption |
  ivProto.pushUpdate
