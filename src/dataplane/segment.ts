/**
 * Cuts what the tun gave into IP packets as they go over the wire: TCP and UDP segments with headers of their own (what the
 * kernel's `tcp_gso_segment` and `__udp_gso_segment` make), and finished checksums.
 *
 * A packet is copied once, from the place where the tun was read to the place where it is sealed and sent from. Its checksum
 * has to be computed here anyway, in a pass over the bytes that copies them for nothing.
 */
import type { Arena, Region } from "../linux/index.ts"
import { type Checksums, folded, swapped } from "./checksum.ts"
import { Drop } from "./drop.ts"
import { CWR, FIN, GSO_ECN, Gso, LARGEST_TUN_READ, NEEDS_CSUM, PSH, VNET_HEADER, Vnet } from "./vnet.ts"

export class Segmenter {
  /** Where a virtio header and its packet are put for `take`. */
  readonly source: Region
  private readonly checksums: Checksums
  private gso = 0
  private count = 0
  private needsChecksum = false
  /** From the beginning of the packet: where TCP or UDP begins, where its payload begins, and where the packet ends. */
  private transport = 0
  private payload = 0
  private end = 0
  private checksumAt = 0
  private segmentSize = 0
  private isIpv6 = false
  /** Sums of the headers without the fields that differ from segment to segment. */
  private ipSum = 0
  private transportSum = 0
  private identification = 0
  private sequence = 0
  private flags = 0

  /** Both of one arena. */
  constructor(arena: Arena, checksums: Checksums) {
    this.source = arena.allocate(LARGEST_TUN_READ)
    this.checksums = checksums
  }

  /** The packets in the `length` bytes of `source`, or a drop reason when the header does not fit the packet. */
  take(length: number): number {
    const { view } = this.source
    this.end = length - VNET_HEADER
    if (this.end < 1) return Drop.offload
    this.gso = view.getUint8(Vnet.gsoType) & ~GSO_ECN
    this.count = 1
    this.needsChecksum = (view.getUint8(Vnet.flags) & NEEDS_CSUM) !== 0
    this.transport = view.getUint16(Vnet.checksumStart, true)
    this.checksumAt = this.transport + view.getUint16(Vnet.checksumOffset, true)
    if (this.needsChecksum && this.checksumAt + 2 > this.end) return Drop.offload
    if (this.gso === Gso.none) return 1
    if (!this.needsChecksum) return Drop.offload
    this.segmentSize = view.getUint16(Vnet.segmentSize, true)
    const isFit = this.gso === Gso.udp ? this.takeUdp() : this.takeTcp()
    if (!isFit || !this.takeIp()) return Drop.offload
    this.count = Math.max(1, Math.ceil((this.end - this.payload) / this.segmentSize))
    return this.count
  }

  /** Writes packet `index` of those that `take` counted to `at` in `to`, a region of the same arena; its length. */
  lay(index: number, to: Region, at: number): number {
    return this.gso === Gso.none ? this.layWhole(to, at) : this.laySegment(index, to, at)
  }

  /** Of what `take` counted: bytes of the largest packet, and of all together. */
  get largest(): number {
    return this.gso === Gso.none ? this.end : Math.min(this.end, this.payload + this.segmentSize)
  }

  get total(): number {
    if (this.gso === Gso.none) return this.end
    return this.end + (this.count - 1) * this.payload
  }

  private takeTcp(): boolean {
    const { view } = this.source
    const tcp = VNET_HEADER + this.transport
    if ((this.gso !== Gso.tcp4 && this.gso !== Gso.tcp6) || this.transport + 20 > this.end) return false
    const headerLength = (view.getUint8(tcp + 12) >> 4) * 4
    this.payload = this.transport + headerLength
    if (headerLength < 20 || this.payload > this.end || this.segmentSize === 0) return false
    this.sequence = view.getUint32(tcp + 4)
    this.flags = view.getUint8(tcp + 13)
    // The checksum field has the pseudo-header in it, with the length of the whole.
    this.transportSum =
      this.checksums.sum(this.source.offset + tcp, headerLength) +
      (0xffff ^ swapped(this.end - this.transport)) -
      (view.getUint16(tcp + 4, true) + view.getUint16(tcp + 6, true) + view.getUint16(tcp + 12, true))
    return true
  }

  private takeUdp(): boolean {
    const { view } = this.source
    const udp = VNET_HEADER + this.transport
    this.payload = this.transport + 8
    if (this.payload > this.end || this.segmentSize === 0) return false
    this.transportSum =
      view.getUint16(udp, true) +
      view.getUint16(udp + 2, true) +
      view.getUint16(udp + 6, true) +
      (0xffff ^ view.getUint16(udp + 4, true))
    return true
  }

  private takeIp(): boolean {
    const { view } = this.source
    const version = view.getUint8(VNET_HEADER) >> 4
    this.isIpv6 = version === 6
    if (this.isIpv6) return this.transport >= 40
    const headerLength = (view.getUint8(VNET_HEADER) & 15) * 4
    if (version !== 4 || headerLength < 20 || headerLength > this.transport) return false
    this.identification = view.getUint16(VNET_HEADER + 4)
    this.ipSum =
      this.checksums.sum(this.source.offset + VNET_HEADER, headerLength) -
      view.getUint16(VNET_HEADER + 2, true) -
      view.getUint16(VNET_HEADER + 4, true) -
      view.getUint16(VNET_HEADER + 10, true)
    return true
  }

  private layWhole(to: Region, at: number): number {
    const from = this.source.offset + VNET_HEADER
    const { end, transport } = this
    if (!this.needsChecksum) {
      this.checksums.copy(to.offset + at, from, end)
      return end
    }
    this.checksums.copy(to.offset + at, from, transport)
    const sum = this.checksums.copy(to.offset + at + transport, from + transport, end - transport)
    to.view.setUint16(at + this.checksumAt, finished(sum), true)
    return end
  }

  private laySegment(index: number, to: Region, at: number): number {
    const { payload, transport, segmentSize, checksums } = this
    const from = this.source.offset + VNET_HEADER
    const skipped = index * segmentSize
    const length = Math.min(segmentSize, this.end - payload - skipped)
    checksums.copy(to.offset + at, from, payload)
    const sum = folded(checksums.copy(to.offset + at + payload, from + payload + skipped, length))
    this.writeIp(index, to.view, at, payload + length)
    if (this.gso === Gso.udp) this.writeUdp(to.view, at + transport, length, sum)
    else this.writeTcp(to.view, at + transport, skipped, length, sum)
    return payload + length
  }

  private writeIp(index: number, view: DataView, at: number, length: number): void {
    if (this.isIpv6) {
      view.setUint16(at + 4, length - 40)
      return
    }
    const identification = (this.identification + index) & 0xffff
    view.setUint16(at + 2, length)
    view.setUint16(at + 4, identification)
    view.setUint16(at + 10, ~folded(this.ipSum + swapped(length) + swapped(identification)), true)
  }

  private writeTcp(view: DataView, at: number, skipped: number, length: number, sum: number): void {
    let { flags } = this
    if (skipped > 0) flags &= ~CWR
    if (this.payload + skipped + length < this.end) flags &= ~(FIN | PSH)
    view.setUint32(at + 4, this.sequence + skipped)
    view.setUint8(at + 13, flags)
    const varying = view.getUint16(at + 4, true) + view.getUint16(at + 6, true) + view.getUint16(at + 12, true)
    const ownLength = swapped(this.payload - this.transport + length)
    view.setUint16(at + 16, ~folded(this.transportSum + varying + ownLength + sum), true)
  }

  private writeUdp(view: DataView, at: number, length: number, sum: number): void {
    view.setUint16(at + 4, 8 + length)
    // The length stands in the header and in the pseudo-header.
    view.setUint16(at + 6, finished(this.transportSum + 2 * swapped(8 + length) + sum), true)
  }
}

/** A checksum of 0 means "none" to UDP; the other zero means the same to everybody. */
function finished(sum: number): number {
  return ~folded(sum) & 0xffff || 0xffff
}
