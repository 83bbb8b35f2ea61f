/**
 * What stands in front of each datagram between us and the relay of a SOCKS 5 proxy (RFC 1928, section 7). Numbers are in
 * network order.
 *
 *     reserved 2 (0) | fragment 1 (0) | address type 1 | address 4, 16, or 1 + its length | port 2
 */
import type { Region } from "../linux/index.ts"
import { Drop } from "./drop.ts"

/** With a name of 255 bytes. */
export const LARGEST_SOCKS_HEADER = 4 + 256 + 2

/**
 * The bytes of the header of a datagram of `length` bytes at `at`, or a drop reason. Who is named in it does not matter: that a
 * packet is the server's is for its seal to prove. Datagrams in pieces, which nobody sends, are dropped.
 */
export function socksHeaderLength({ bytes }: Region, at: number, length: number): number {
  if (length < 5) return Drop.short
  if (bytes[at] !== 0 || bytes[at + 1] !== 0 || bytes[at + 2] !== 0) return Drop.malformed
  const type = bytes[at + 3]
  const address = type === IPV4 ? 4 : type === IPV6 ? 16 : type === NAME ? 1 + bytes[at + 4]! : 0
  if (address === 0) return Drop.malformed
  const header = 4 + address + 2
  return length < header ? Drop.short : header
}

const IPV4 = 1
const NAME = 3
const IPV6 = 4
