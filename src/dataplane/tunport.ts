/** The tun as the hot path sees it: one read, one write, and which offloads it has. */
import {
  EAGAIN,
  EBADF,
  EBADFD,
  EINVAL,
  EIO,
  ENOBUFS,
  errno,
  errnoName,
  type Region,
  readFd,
  setTunOffload,
  TunOffload,
  tunFormat,
  writeFd,
} from "../linux/index.ts"
import { Counter, type Counters } from "./counters.ts"
import { Drop } from "./drop.ts"
import type { Offloads } from "./offload.ts"
import { VNET_HEADER } from "./vnet.ts"

export class TunPort {
  /** -1 while there is none. */
  fd = -1
  /** Packets have a virtio header in front, in both directions. */
  hasHeader = false
  /** Packets are Ethernet frames. */
  isEthernet = false
  /** TCP, UDP: packets may be read in the large, and written so. */
  tso = false
  uso = false
  private readonly counters: Counters
  private readonly offloads: Offloads
  private readonly lost: (message: string) => void

  /** `lost` is called, once, when the tun became unusable. */
  constructor(counters: Counters, offloads: Offloads, lost: (message: string) => void) {
    this.counters = counters
    this.offloads = offloads
    this.lost = lost
  }

  /** Bytes in front of the IP packet: those of an Ethernet frame without tags, or none. */
  get frameHeader(): number {
    return this.isEthernet ? ETHERNET_HEADER : 0
  }

  attach(fd: number): void {
    this.fd = fd
    const { hasHeader, isEthernet } = tunFormat(fd)
    this.hasHeader = hasHeader
    this.isEthernet = isEthernet
    const tso = this.offloads.isWanted("tso") ? TunOffload.tso4 | TunOffload.tso6 : 0
    const uso = this.offloads.isWanted("uso") ? TunOffload.uso4 | TunOffload.uso6 : 0
    this.uso = uso !== 0 && this.request(uso | tso)
    this.tso = tso !== 0 && (this.uso || this.request(tso))
    this.offloads.report("tso", this.tso, "the device does not take it")
    this.offloads.report("uso", this.uso, "the device does not take it (Linux 6.2 does)")
  }

  /** The device is left as one without offloads: it may outlive us. */
  detach(): void {
    if (this.hasHeader) setTunOffload(this.fd, 0)
    this.fd = -1
    this.hasHeader = false
    this.isEthernet = false
    this.tso = false
    this.uso = false
  }

  /** Reports that the tun is unusable, and forgets it. */
  lose(message: string): void {
    if (this.fd < 0) return
    this.fd = -1
    this.lost(message)
  }

  /** One read of at most `space` bytes to `at`: a virtio header, if it has any, and a packet. 0: there was nothing. */
  read(memory: Region, at: number, space: number): number {
    const length = readFd(this.fd, memory.at(at, space), space)
    if (length > 0) return length
    const reason = length === 0 ? 0 : errno()
    if (length === 0) this.lose("end of file")
    // A deleted device answers EBADFD; one that is only down has nothing to read.
    else if (reason === EBADFD || reason === EBADF) this.lose(`read: ${errnoName(reason)}`)
    return 0
  }

  /** Writes one packet; 0, or the drop reason. The ten bytes in front of `at` may be overwritten. */
  write(memory: Region, at: number, length: number): number {
    if (!this.hasHeader) return this.put(memory, at, length, 1, length)
    const header = at - VNET_HEADER
    memory.view.setUint32(header, 0)
    memory.view.setUint32(header + 4, 0)
    memory.view.setUint16(header + 8, 0)
    return this.put(memory, header, VNET_HEADER + length, 1, length)
  }

  /** Writes what begins with a virtio header at `at`; `packets` of `bytes` together are counted. 0, or the drop reason. */
  put(memory: Region, at: number, length: number, packets: number, bytes: number): number {
    if (this.fd < 0) return Drop.noTun
    if (writeFd(this.fd, memory.at(at, length), length) < 0) return this.refused(errno(), packets)
    this.counters.add(Counter.tunWritePackets, packets)
    this.counters.add(Counter.tunWriteBytes, bytes)
    return 0
  }

  /** The kernel does not take what was put together: not from now on. */
  giveUpOffload(name: "tso" | "uso", reason: string): void {
    this[name] = false
    this.offloads.report(name, false, reason)
  }

  private request(offload: number): boolean {
    return this.hasHeader && setTunOffload(this.fd, offload | TunOffload.checksum)
  }

  private refused(reason: number, packets: number): number {
    if (reason === EAGAIN || reason === ENOBUFS) return Drop.tunBusy
    if (reason === EIO) return Drop.tunDown
    if (reason === EINVAL && packets > 1) return Drop.offload
    if (reason === EBADFD || reason === EBADF) this.lose(`write: ${errnoName(reason)}`)
    return Drop.tunRefused
  }
}

const ETHERNET_HEADER = 14
