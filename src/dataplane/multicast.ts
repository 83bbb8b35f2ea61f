/** Packets to many are no conversation: a server sends them to every client, whether anybody there listens or not. */

/** Whether the IP packet of `length` bytes at `at` goes to a multicast address, or to 255.255.255.255. */
export function isToMany(bytes: Uint8Array, at: number, length: number): boolean {
  switch (bytes[at]! >> 4) {
    case 4:
      return length >= 20 && bytes[at + 16]! >= 224
    case 6:
      return length >= 40 && bytes[at + 24]! === 0xff
    default:
      return false
  }
}
