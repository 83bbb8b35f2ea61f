/**
 * Packets of one TCP or UDP flow on their way to become one: the first where it was opened, from the second on all of them
 * in a buffer of the flow's own, headers once and payloads behind each other.
 *
 * A packet is only taken when the kernel, cutting the whole again, would make exactly the same packets of it, checksums
 * included: those are verified here, because the whole gets a new one, which would hide what was damaged before the tunnel.
 */
import type { Arena, Region } from "../linux/index.ts"
import { type Checksums, folded, swapped } from "./checksum.ts"
import type { IpPacket } from "./ippacket.ts"
import { Gso, NEEDS_CSUM, PSH, TCP, UDP, VNET_HEADER, Vnet } from "./vnet.ts"

export class Flow {
  packets = 0
  /** Of the packets together, as they came. */
  bytes = 0
  /** Of what is written: the headers once, and the payloads. */
  length = 0
  /** Where the first packet is: in the memory it was opened in, or behind the virtio header in `buffer`. */
  memory: Region
  at = 0
  isTcp = false
  /** Nothing continues it: a short or a pushed packet is the last one, and so is one before another that does not fit. */
  isComplete = false
  /** A virtio header, and the packet that is being put together. */
  readonly buffer: Region
  private readonly checksums: Checksums
  private isIpv6 = false
  private transport = 0
  private payload = 0
  private segmentSize = 0
  private nextSequence = 0
  private nextIdentification = 0
  private isPushed = false
  /** Of the pseudo-header without the length. */
  private pseudoSum = 0

  constructor(arena: Arena, checksums: Checksums) {
    this.buffer = arena.allocate(VNET_HEADER + LARGEST_IP)
    this.memory = this.buffer
    this.checksums = checksums
  }

  /** Whether `packet` has the addresses, ports and protocol of this flow. */
  owns(packet: IpPacket): boolean {
    if (this.isIpv6 !== packet.isIpv6 || this.isTcp !== (packet.protocol === TCP)) return false
    const { view } = this.memory
    const other = packet.memory.view
    if (view.getUint32(this.at + this.transport) !== other.getUint32(packet.at + packet.transport)) return false
    const end = this.isIpv6 ? 40 : 20
    for (let i = this.isIpv6 ? 8 : 12; i < end; i += 4)
      if (view.getUint32(this.at + i) !== other.getUint32(packet.at + i)) return false
    return true
  }

  /** Starts with `packet`, which is mergeable and stays where it is until the flow is written or gets a second one. */
  begin(packet: IpPacket): void {
    const { memory, at } = packet
    this.packets = 1
    this.bytes = packet.length
    this.length = packet.length
    this.memory = memory
    this.at = at
    this.isTcp = packet.protocol === TCP
    this.isIpv6 = packet.isIpv6
    this.transport = packet.transport
    this.payload = packet.payload
    this.segmentSize = packet.size
    this.isPushed = packet.isPushed
    this.isComplete = packet.isPushed
    if (this.isTcp) this.nextSequence = (memory.view.getUint32(at + packet.transport + 4) + packet.size) >>> 0
    if (!packet.isIpv6) this.nextIdentification = (memory.view.getUint16(at + 4) + 1) & 0xffff
  }

  /** Adds `packet`, which this flow owns, behind the others; false: it does not continue them, and so nothing does. */
  join(packet: IpPacket): boolean {
    const isJoined = this.append(packet)
    if (!isJoined) this.isComplete = true
    return isJoined
  }

  private append(packet: IpPacket): boolean {
    if (!packet.isMergeable || this.isComplete || !this.continues(packet)) return false
    if (this.packets === 1 && !this.gather()) return false
    const { transport, payload, size } = packet
    const from = packet.memory.offset + packet.at
    if (!this.isIpv6 && folded(this.checksums.sum(from, 20)) !== 0xffff) return false
    const headerSum = this.checksums.sum(from + transport, payload - transport)
    const end = this.buffer.offset + VNET_HEADER + this.length
    const payloadSum = folded(this.checksums.copy(end, from + payload, size))
    if (!this.isIntact(headerSum + payloadSum, packet.length - transport)) return false
    this.packets++
    this.bytes += packet.length
    this.length += size
    this.nextSequence = (this.nextSequence + size) >>> 0
    this.nextIdentification = (this.nextIdentification + 1) & 0xffff
    this.isPushed = packet.isPushed
    this.isComplete = packet.isPushed || size < this.segmentSize || (!this.isTcp && this.packets === MOST_DATAGRAMS)
    return true
  }

  /** Completes the headers of more than one packet. */
  finish(): void {
    const { view } = this.buffer
    const ip = VNET_HEADER
    const transport = ip + this.transport
    const transportLength = this.length - this.transport
    if (this.isIpv6) view.setUint16(ip + 4, this.length - 40)
    else {
      view.setUint16(ip + 2, this.length)
      view.setUint16(ip + 10, 0)
      view.setUint16(ip + 10, ~folded(this.checksums.sum(this.buffer.offset + ip, 20)), true)
    }
    if (this.isTcp && this.isPushed) view.setUint8(transport + 13, view.getUint8(transport + 13) | PSH)
    if (!this.isTcp) view.setUint16(transport + 4, transportLength)
    const checksumOffset = this.isTcp ? 16 : 6
    view.setUint16(transport + checksumOffset, folded(this.pseudoSum + swapped(transportLength)), true)
    view.setUint8(Vnet.flags, NEEDS_CSUM)
    view.setUint8(Vnet.gsoType, !this.isTcp ? Gso.udp : this.isIpv6 ? Gso.tcp6 : Gso.tcp4)
    view.setUint16(Vnet.headerLength, this.payload, true)
    view.setUint16(Vnet.segmentSize, this.segmentSize, true)
    view.setUint16(Vnet.checksumStart, this.transport, true)
    view.setUint16(Vnet.checksumOffset, checksumOffset, true)
  }

  private continues(packet: IpPacket): boolean {
    const { size } = packet
    if (size > this.segmentSize || this.length + size > LARGEST_IP || packet.payload !== this.payload) return false
    return this.continuesIp(packet) && (!this.isTcp || this.continuesTcp(packet))
  }

  private continuesIp({ memory, at }: IpPacket): boolean {
    const mine = this.memory.view
    const other = memory.view
    // Version, traffic class and flow label; hop limit.
    if (this.isIpv6)
      return mine.getUint32(this.at) === other.getUint32(at) && mine.getUint8(this.at + 7) === other.getUint8(at + 7)
    // Version, header length and type of service; don't-fragment; time to live.
    return (
      mine.getUint16(this.at) === other.getUint16(at) &&
      other.getUint16(at + 4) === this.nextIdentification &&
      mine.getUint16(this.at + 6) === other.getUint16(at + 6) &&
      mine.getUint8(this.at + 8) === other.getUint8(at + 8)
    )
  }

  private continuesTcp(packet: IpPacket): boolean {
    const mine = this.memory.view
    const other = packet.memory.view
    const a = this.at + this.transport
    const b = packet.at + packet.transport
    if (other.getUint32(b + 4) !== this.nextSequence) return false
    // Acknowledgement; window; urgent pointer.
    if (mine.getUint32(a + 8) !== other.getUint32(b + 8)) return false
    if (mine.getUint16(a + 14) !== other.getUint16(b + 14)) return false
    if (mine.getUint16(a + 18) !== other.getUint16(b + 18)) return false
    const options = this.payload - this.transport
    for (let i = 20; i < options; i += 4) if (mine.getUint32(a + i) !== other.getUint32(b + i)) return false
    return true
  }

  /** Copies the first packet into the buffer, if it is intact. */
  private gather(): boolean {
    const from = this.memory.offset + this.at
    const to = this.buffer.offset + VNET_HEADER
    const { transport, length } = this
    const headerSum = this.checksums.copy(to, from, transport)
    if (!this.isIpv6 && folded(headerSum) !== 0xffff) return false
    const addresses = this.isIpv6 ? 8 : 12
    this.pseudoSum = this.checksums.sum(from + addresses, transport - addresses) + swapped(this.isTcp ? TCP : UDP)
    const sum = this.checksums.copy(to + transport, from + transport, length - transport)
    if (!this.isIntact(folded(sum), length - transport)) return false
    this.memory = this.buffer
    this.at = VNET_HEADER
    return true
  }

  private isIntact(sum: number, transportLength: number): boolean {
    return folded(this.pseudoSum + swapped(transportLength) + sum) === 0xffff
  }
}

/** Bytes of the largest IPv4 packet. */
const LARGEST_IP = 65_535
/** What older kernels take. */
const MOST_DATAGRAMS = 64
