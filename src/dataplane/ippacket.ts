/** What coalescing needs to know of an IP packet. One object is reused for all: nothing is allocated per packet. */
import type { Region } from "../linux/index.ts"
import { ACK, PSH, TCP, UDP } from "./vnet.ts"

export class IpPacket {
  memory!: Region
  /** Where the packet begins in the memory, and its length. */
  at = 0
  length = 0
  isIpv6 = false
  /** TCP or UDP. */
  protocol = 0
  /** From the beginning of the packet: where TCP or UDP begins, and its payload. */
  transport = 0
  payload = 0
  /** May be one of several that are delivered as one: nothing in its headers is lost by that. */
  isMergeable = false
  /** TCP with PSH: nothing may follow it in one piece. */
  isPushed = false

  /** False: not a whole TCP or UDP packet, or one whose ports are not where they usually are (IPv6 extension headers). */
  parse(memory: Region, at: number, length: number): boolean {
    this.memory = memory
    this.at = at
    this.length = length
    if (length < 28) return false
    const version = memory.bytes[at]! >> 4
    if (version === 4 ? !this.parseIpv4() : version !== 6 || !this.parseIpv6()) return false
    return this.protocol === TCP ? this.parseTcp() : this.protocol === UDP && this.parseUdp()
  }

  /** Bytes of TCP or UDP payload. */
  get size(): number {
    return this.length - this.payload
  }

  private parseIpv4(): boolean {
    const { view } = this.memory
    this.isIpv6 = false
    this.transport = (view.getUint8(this.at) & 15) * 4
    this.protocol = view.getUint8(this.at + 9)
    const isFragment = (view.getUint16(this.at + 6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0
    return this.transport >= 20 && view.getUint16(this.at + 2) === this.length && !isFragment
  }

  private parseIpv6(): boolean {
    const { view } = this.memory
    this.isIpv6 = true
    this.transport = 40
    this.protocol = view.getUint8(this.at + 6)
    return view.getUint16(this.at + 4) + 40 === this.length
  }

  private parseTcp(): boolean {
    const { view } = this.memory
    if (this.transport + 20 > this.length) return false
    const tcp = this.at + this.transport
    const offset = view.getUint8(tcp + 12)
    const flags = view.getUint8(tcp + 13)
    this.payload = this.transport + (offset >> 4) * 4
    if (offset < 0x50 || this.payload > this.length) return false
    this.isPushed = (flags & PSH) !== 0
    // Options of IP would be in each segment; ECE, CWR and the reserved bits are about one segment.
    this.isMergeable = this.hasPlainIp && (flags & ~PSH) === ACK && (offset & 15) === 0 && this.payload < this.length
    return true
  }

  private parseUdp(): boolean {
    const { view } = this.memory
    this.payload = this.transport + 8
    if (this.payload > this.length) return false
    const udp = this.at + this.transport
    if (view.getUint16(udp + 4) !== this.length - this.transport) return false
    this.isPushed = false
    // Without a checksum nobody could tell whether the bytes are right.
    this.isMergeable = this.hasPlainIp && view.getUint16(udp + 6) !== 0 && this.payload < this.length
    return true
  }

  private get hasPlainIp(): boolean {
    return this.transport === (this.isIpv6 ? 40 : 20)
  }
}

const MORE_FRAGMENTS = 0x2000
const FRAGMENT_OFFSET = 0x1fff
