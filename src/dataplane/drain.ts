/**
 * Which packets from the tun keep going through an older link: those of connections that began with an address of it. Some
 * servers take such a packet from nowhere else.
 */
import type { Region } from "../linux/index.ts"
import type { Link } from "./link.ts"

export class Drain {
  readonly link: Link
  private readonly ipv4: Uint32Array
  /** Four words each. */
  private readonly ipv6: Uint32Array
  /** ms; 0: the link can take packets. */
  private blockedSince = 0

  /** `addresses`: 4 or 16 bytes each, in network order. */
  constructor(link: Link, addresses: ReadonlyArray<Uint8Array>) {
    this.link = link
    this.ipv4 = words(addresses.filter(({ length }) => length === 4))
    this.ipv6 = words(addresses.filter(({ length }) => length === 16))
  }

  /** Whether packets for the link have to wait in the tun, and with them all others. Not for ever: the link may be dead. */
  isBlocking(now: number): boolean {
    if (this.link.transport.isReady) this.blockedSince = 0
    else if (this.blockedSince === 0) this.blockedSince = now
    return this.blockedSince !== 0 && now - this.blockedSince < PATIENCE
  }

  /** Whether the source of the IP packet of `length` bytes at `at` is one of the addresses. */
  owns({ view }: Region, at: number, length: number): boolean {
    if (length < 20) return false
    const version = view.getUint8(at) >> 4
    if (version === 4) return this.ipv4.includes(view.getUint32(at + 12))
    return version === 6 && length >= 40 && this.ownsIpv6(view, at + 8)
  }

  private ownsIpv6(view: DataView, at: number): boolean {
    const { ipv6 } = this
    for (let i = 0; i < ipv6.length; i += 4) {
      const isSame =
        ipv6[i] === view.getUint32(at) &&
        ipv6[i + 1] === view.getUint32(at + 4) &&
        ipv6[i + 2] === view.getUint32(at + 8) &&
        ipv6[i + 3] === view.getUint32(at + 12)
      if (isSame) return true
    }
    return false
  }
}

function words(addresses: ReadonlyArray<Uint8Array>): Uint32Array {
  return Uint32Array.from(
    addresses.flatMap((address) => {
      const view = new DataView(address.buffer, address.byteOffset, address.length)
      return Array.from({ length: address.length / 4 }, (_, i) => view.getUint32(i * 4))
    }),
  )
}

/** ms */
const PATIENCE = 1000
