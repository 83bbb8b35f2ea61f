/** Sizes in bytes: the MSS that keeps sealed packets below `mssfix`, and the payload of control packets. */
import type { Remote, Transport } from "../config/profile.ts"
import { packetIdLength, tagLength } from "./datachannel.ts"
import { bodyOverhead, headLength } from "./packet.ts"

/**
 * TCP MSS for inner SYN packets, by inner family; 0 is off. `peerId`: DATA_V2 is used.
 * Reference values for `mssfix 1492 mtu` with AEAD and a peer id: UDP over IPv4 1400, UDP over IPv6 1380, TCP over IPv4 1386.
 */
export const mssFor = (
  mssfix: Remote["mssfix"],
  tunMtu: number,
  transport: Transport,
  outerFamily: "ipv4" | "ipv6",
  peerId: boolean,
): { readonly ipv4: number; readonly ipv6: number } => {
  if (mssfix === "off" || mssfix.size === 0) return { ipv4: 0, ipv6: 0 }
  const inner = mssfix.size - outerBytes(mssfix.counts, transport, outerFamily, peerId)
  // What exceeds the tun MTU cannot come through, whatever the file allows.
  const limit = Math.max(Math.min(inner, tunMtu), smallestInner)
  return { ipv4: limit - innerHeader.ipv4, ipv6: limit - innerHeader.ipv6 }
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

const outerBytes = (
  counts: "mtu" | "payload" | "fixed",
  transport: Transport,
  outerFamily: "ipv4" | "ipv6",
  peerId: boolean,
): number => {
  const sealed = (peerId ? 4 : 1) + packetIdLength + tagLength
  switch (counts) {
    case "fixed":
      return 0
    case "payload":
      return sealed + (transport === "tcp" ? tcpFraming : 0)
    case "mtu":
      return sealed + outerHeader(transport, outerFamily)
  }
}

const outerHeader = (transport: Transport, family: "ipv4" | "ipv6"): number =>
  (family === "ipv4" ? 20 : 40) + (transport === "udp" ? 8 : 20 + tcpFraming)

/** The length before each packet on a stream. */
const tcpFraming = 2

/** IP and TCP header without options. */
const innerHeader = { ipv4: 40, ipv6: 60 } as const

/** Keeps an absurd `mssfix` from turning the clamp into nonsense: IPv4's least MTU and a little. */
const smallestInner = 128

/** `max-packet-size` may be as low as 154; progress matters more than the limit then. */
export const smallestPayload = 16
