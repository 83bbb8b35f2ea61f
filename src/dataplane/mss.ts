/**
 * The MSS clamp (`mssfix`): TCP's SYN packets carry how large a segment may be; lowering that keeps whole segments inside
 * one datagram of the tunnel. Only ever lowered, in IPv4 and in IPv6 without extension headers, as OpenVPN does.
 */

/**
 * Lowers the MSS option of a SYN in the IP packet of `length` bytes at `start` to `ipv4` or `ipv6` (bytes, 0: leave it) and
 * updates the TCP checksum. Anything else, and anything malformed, stays as it is. True when the packet was changed.
 */
export function clampMss(bytes: Uint8Array, start: number, length: number, ipv4: number, ipv6: number): boolean {
  if (length < 1) return false
  switch (bytes[start]! >> 4) {
    case 4:
      return ipv4 > 0 && clampIpv4(bytes, start, length, ipv4)
    case 6:
      return ipv6 > 0 && clampIpv6(bytes, start, length, ipv6)
    default:
      return false
  }
}

/** The same for an Ethernet frame, with up to two VLAN tags. */
export function clampFrameMss(bytes: Uint8Array, start: number, length: number, ipv4: number, ipv6: number): boolean {
  for (let at = ETHERTYPE; at <= ETHERTYPE + 2 * VLAN_TAG && at + 2 <= length; at += VLAN_TAG) {
    const type = uint16(bytes, start + at)
    if (type === IPV4 || type === IPV6) return clampMss(bytes, start + at + 2, length - at - 2, ipv4, ipv6)
    if (type !== VLAN && type !== SERVICE_VLAN) return false
  }
  return false
}

function clampIpv4(bytes: Uint8Array, start: number, length: number, limit: number): boolean {
  if (length < 20 || bytes[start + 9] !== TCP) return false
  const headerLength = (bytes[start]! & 15) * 4
  const totalLength = uint16(bytes, start + 2)
  const fragmentOffset = uint16(bytes, start + 6) & 0x1fff
  if (headerLength < 20 || totalLength > length || fragmentOffset !== 0) return false
  return clampTcp(bytes, start + headerLength, totalLength - headerLength, limit)
}

function clampIpv6(bytes: Uint8Array, start: number, length: number, limit: number): boolean {
  if (length < 40 || bytes[start + 6] !== TCP) return false
  const payloadLength = uint16(bytes, start + 4)
  if (40 + payloadLength > length) return false
  return clampTcp(bytes, start + 40, payloadLength, limit)
}

function clampTcp(bytes: Uint8Array, tcp: number, length: number, limit: number): boolean {
  if (length < 20 || (bytes[tcp + 13]! & SYN) === 0) return false
  const headerLength = (bytes[tcp + 12]! >> 4) * 4
  if (headerLength < 20 || headerLength > length) return false
  const end = tcp + headerLength
  let changed = false
  let option = tcp + 20
  while (option < end) {
    const kind = bytes[option]!
    if (kind === OPTION_END) break
    if (kind === OPTION_NOP) {
      option++
      continue
    }
    const optionLength = option + 1 < end ? bytes[option + 1]! : 0
    if (optionLength < 2 || option + optionLength > end) break
    if (kind === OPTION_MSS && optionLength === 4 && uint16(bytes, option + 2) > limit) {
      lower(bytes, tcp, option + 2, limit)
      changed = true
    }
    option += optionLength
  }
  return changed
}

/** Writes `limit` at `at` and updates the checksum for the difference (RFC 1624). */
function lower(bytes: Uint8Array, tcp: number, at: number, limit: number): void {
  const before = uint16(bytes, at)
  bytes[at] = limit >> 8
  bytes[at + 1] = limit & 0xff
  // A value at an odd offset adds its bytes to the other halves of the words they fall into.
  const isOdd = ((at - tcp) & 1) === 1
  const removed = isOdd ? swap(before) : before
  const added = isOdd ? swap(limit) : limit
  const checksum = tcp + 16
  let sum = (~uint16(bytes, checksum) & 0xffff) + (~removed & 0xffff) + added
  sum = (sum & 0xffff) + (sum >> 16)
  sum = (sum & 0xffff) + (sum >> 16)
  const updated = ~sum & 0xffff
  bytes[checksum] = updated >> 8
  bytes[checksum + 1] = updated & 0xff
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

function swap(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8)
}

/** Behind both addresses of a frame; a VLAN tag takes its place and has one of its own behind it. */
const ETHERTYPE = 12
const VLAN_TAG = 4
const IPV4 = 0x0800
const IPV6 = 0x86dd
const VLAN = 0x8100
const SERVICE_VLAN = 0x88a8

const TCP = 6
const SYN = 0x02
const OPTION_END = 0
const OPTION_NOP = 1
const OPTION_MSS = 2
