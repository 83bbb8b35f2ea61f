/** `passtos`: what a packet says of the precedence that it wants. */

/**
 * The DSCP of the IP packet of `length` bytes at `at`, in its place in the octet of type of service (traffic class); 0 when it is
 * none. Without the two bits of congestion notification (RFC 6040): an outer mark would be lost where the tunnel ends.
 */
export function dscpOf(bytes: Uint8Array, at: number, length: number): number {
  if (length < LEAST) return 0
  switch (bytes[at]! >> 4) {
    case 4:
      return bytes[at + 1]! & DSCP
    case 6:
      return ((bytes[at]! << 4) | (bytes[at + 1]! >> 4)) & DSCP
    default:
      return 0
  }
}

const LEAST = 20
const DSCP = 0xfc
