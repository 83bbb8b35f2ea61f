/** Sizes in bytes: the MSS that keeps sealed packets below `mssfix`, and the payload of control packets. */

import { digestLength } from "../config/ciphers.ts"
import type { Remote, Transport } from "../config/profile.ts"
import { epochIdLength, isCbc, longPacketIdLength, packetIdLength, tagLength } from "./datachannel.ts"
import type { DataKey } from "./output.ts"
import { bodyOverhead, headLength } from "./packet.ts"

/** What of a data key decides about sizes. */
export type DataFormat = Pick<
  DataKey,
  "cipher" | "digest" | "peerId" | "epoch" | "compression" | "staticKey" | "fragmentSize"
> & {
  /** What is sealed is a frame, whose header the MTU does not count. */
  readonly isEthernet?: boolean
}

/**
 * TCP MSS for inner SYN packets, by inner family; 0 is off.
 * Reference values for `mssfix 1492 mtu` with a peer id: AEAD over UDP and IPv4 1400, over IPv6 1380, over TCP and IPv4 1386;
 * CBC over UDP and IPv4 with SHA256 1363, with SHA1 1379.
 */
export const mssFor = (
  mssfix: Remote["mssfix"],
  tunMtu: number,
  transport: Transport,
  outerFamily: "ipv4" | "ipv6",
  format: DataFormat,
): { readonly ipv4: number; readonly ipv6: number } => {
  if (mssfix === "off" || mssfix.size === 0) return { ipv4: 0, ipv6: 0 }
  const inner =
    mssfix.counts === "fixed"
      ? mssfix.size
      : innerSize(mssfix.size - outerBytes(mssfix.counts, transport, outerFamily), format)
  // What exceeds the tun MTU cannot come through, whatever the file allows.
  const limit = Math.max(Math.min(inner, tunMtu), smallestInner)
  return { ipv4: limit - innerHeader.ipv4, ipv6: limit - innerHeader.ipv6 }
}

/** The largest inner packet that needs no cutting on a path which carries packets of `path` bytes. */
export const mtuFor = (path: number, transport: Transport, outerFamily: "ipv4" | "ipv6", format: DataFormat): number =>
  Math.max(innerSize(path - outerHeader(transport, outerFamily), format), smallestInner)

/** The key with the size of the pieces that `fragment` asks for: they are as large as this key's format lets them be. */
export const withFragments = (key: DataKey, fragment: Remote["fragment"], outerFamily: "ipv4" | "ipv6"): DataKey => {
  if (fragment === undefined) return key
  const limit = fragment.size - outerBytes(fragment.counts, "udp", outerFamily)
  const size = payloadSize(limit, key) - fragmentHeader
  // The head of a piece counts sizes in fours.
  return { ...key, fragmentSize: Math.max(size - (size % 4), leastFragment) }
}

/**
 * The most TLS bytes one control packet carries so that its datagram stays within `max-packet-size`, which counts IP and UDP
 * (TCP) headers. Room for four acknowledgements is always kept, because a retransmission may carry more than the original.
 */
export const controlPayloadLimit = (
  maxPacketSize: number,
  transport: Transport,
  outerFamily: "ipv4" | "ipv6",
  wrapOverhead: number,
): number => {
  const fixed = outerHeader(transport, outerFamily) + headLength + bodyOverhead(4) + wrapOverhead
  return Math.max(maxPacketSize - fixed, smallestPayload)
}

const outerBytes = (counts: "mtu" | "payload", transport: Transport, outerFamily: "ipv4" | "ipv6"): number => {
  if (counts === "mtu") return outerHeader(transport, outerFamily)
  return transport === "tcp" ? tcpFraming : 0
}

/** The largest packet whose sealed form has at most `size` bytes. */
const innerSize = (size: number, format: DataFormat): number => {
  const { compression, fragmentSize } = format
  const framing = compression === undefined || compression.form === "stub-v2" ? 0 : 1
  const frameHeader = format.isEthernet === true ? ethernetHeader : 0
  return payloadSize(size, format) - framing - frameHeader - (fragmentSize === undefined ? 0 : fragmentHeader)
}

/** What a packet of at most `size` bytes carries, framings included. */
const payloadSize = (size: number, { cipher, digest, peerId, epoch, staticKey }: DataFormat): number => {
  const head = staticKey !== undefined ? 0 : peerId === undefined ? 1 : 4
  if (!isCbc(cipher)) return size - head - (epoch === true ? epochIdLength : packetIdLength) - tagLength
  const room = size - head - (digest === undefined ? 0 : digestLength[digest]) - cbcBlock
  // Padding takes at least one byte.
  const id = staticKey === undefined ? packetIdLength : longPacketIdLength
  return Math.floor(room / cbcBlock) * cbcBlock - 1 - id
}

const outerHeader = (transport: Transport, family: "ipv4" | "ipv6"): number =>
  (family === "ipv4" ? 20 : 40) + (transport === "udp" ? 8 : 20 + tcpFraming)

/** Also the length of an initialisation vector. */
const cbcBlock = 16

/** The length before each packet on a stream. */
const tcpFraming = 2

/** In front of every packet, also of one that is whole. */
export const fragmentHeader = 4

/** Progress matters more than a limit below what the packet's own head takes. */
const leastFragment = 64

/** Two addresses and a type; a VLAN's tag comes on top, as in OpenVPN. */
const ethernetHeader = 14

/** IP and TCP header without options. */
const innerHeader = { ipv4: 40, ipv6: 60 } as const

/** Keeps an absurd `mssfix` from turning the clamp into nonsense: IPv4's least MTU and a little. */
const smallestInner = 128

/** `max-packet-size` may be as low as 154; progress matters more than the limit then. */
export const smallestPayload = 16
