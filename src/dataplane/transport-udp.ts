/**
 * Packets as datagrams of one connected UDP socket. What is sent stands behind each other in one region; datagrams of one
 * size are one message to the kernel (UDP_SEGMENT), and what it received may be so as well (UDP_GRO).
 */
import {
  type Arena,
  closeFd,
  connectAnew,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EDESTADDRREQ,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENOTSOCK,
  enableGro,
  errno,
  errnoName,
  monotonicMilliseconds,
  POLLIN,
  POLLOUT,
  peerOf,
  ReceiveBatch,
  type Region,
  sendBytes,
  socketError,
} from "../linux/index.ts"
import { Backlog } from "./backlog.ts"
import { Counter, type Counters } from "./counters.ts"
import { Drop } from "./drop.ts"
import { MessageQueue } from "./messages.ts"
import type { Offloads } from "./offload.ts"
import { LARGEST_SOCKS_HEADER, socksHeaderLength } from "./socks.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"

/** Memory that is in use within one call only, so that all transports share it. */
export class UdpBuffers {
  readonly incoming: ReceiveBatch
  readonly control: Region

  constructor(arena: Arena) {
    this.incoming = new ReceiveBatch(arena, BATCH, SLOT_SIZE)
    this.control = arena.allocate(LARGEST_SOCKS_HEADER + LARGEST_PACKET)
  }
}

export class UdpTransport implements Transport {
  readonly isOpen = true
  trafficClass = 0
  private fd = -1
  private readonly counters: Counters
  private readonly offloads: Offloads
  private readonly onError: (reason: number) => void
  private readonly incoming: ReceiveBatch
  private readonly outgoing: MessageQueue
  private readonly backlog = new Backlog()
  private readonly control: Region
  /** The kernel's send buffer is full. */
  private isBlocked = false
  /** The message at the head of the queue is refused as one: its datagrams are sent by themselves. */
  private isSplitting = false
  /** Where the socket leads to. */
  private peer: Uint8Array | undefined = undefined
  /** ms; the last try to send from another address. */
  private roamed = 0
  /** Of a proxy's relay; empty: there is none. */
  private header: Uint8Array = none

  /** `onError`: for each error that is survived. */
  constructor(
    arena: Arena,
    counters: Counters,
    offloads: Offloads,
    onError: (reason: number) => void,
    buffers = new UdpBuffers(arena),
  ) {
    this.counters = counters
    this.offloads = offloads
    this.onError = onError
    this.incoming = buffers.incoming
    this.outgoing = new MessageQueue(arena, LARGEST_SOCKS_HEADER + LARGEST_PACKET)
    this.control = buffers.control
  }

  open(fd: number, header: Uint8Array = none, keepsBuffer = false): void {
    this.fd = fd
    this.peer = peerOf(fd)
    this.roamed = 0
    this.header = header
    this.outgoing.clear()
    this.isBlocked = false
    this.isSplitting = false
    this.trafficClass = 0
    this.backlog.open(fd, keepsBuffer)
    const isWanted = this.offloads.isWanted("udp-segment")
    this.outgoing.segmentLimit = isWanted ? Number.POSITIVE_INFINITY : 0
    this.offloads.report("udp-segment", isWanted, "")
    const hasGro = this.offloads.isWanted("udp-gro") && enableGro(fd)
    this.offloads.report("udp-gro", hasGro, "the kernel does not take it (Linux 5.0 does)")
  }

  keepBuffer(): void {
    this.backlog.keep()
  }

  get interest(): number {
    return this.isBlocked ? POLLIN | POLLOUT : POLLIN
  }

  get isReady(): boolean {
    return !this.isBlocked
  }

  get start(): number {
    return this.outgoing.tail + this.header.length
  }

  reserve(): Region | undefined {
    return this.outgoing.hasRoom ? this.outgoing.region : undefined
  }

  commit(length: number): void {
    const { outgoing, header } = this
    if (header.length > 0) outgoing.region.bytes.set(header, outgoing.tail)
    outgoing.append(header.length + length, this.trafficClass)
  }

  flush(): string | undefined {
    const { outgoing } = this
    let hasRetried = false
    let isCutShort = false
    while (!outgoing.isEmpty) {
      const progress = this.isSplitting ? this.sendOne() : outgoing.send(this.fd)
      if (progress >= 0) {
        if (!this.isSplitting) this.wrote(progress)
        hasRetried = false
        // What stopped sendmmsg after its first message it keeps to itself: here nothing that stays, so most likely ICMP's word.
        if (isCutShort) this.onError(EMSGSIZE)
        isCutShort = !this.isSplitting && !outgoing.isEmpty
        continue
      }
      isCutShort = false
      const reason = errno()
      if (reason === EAGAIN) {
        this.isBlocked = true
        return undefined
      }
      if (isAboutSource(reason) && this.tryRoam()) continue
      const isRefusal = outgoing.isHeadSegmented && !this.isSplitting && isAboutSegments(reason)
      if (isFatal(reason) && !isRefusal) return `sendmmsg: ${errnoName(reason)}`
      if (reason === EINTR) continue
      // The error may be one that an earlier datagram left behind (ICMP), with this one not even tried.
      if (!hasRetried) {
        if (!isRefusal) this.survive(reason)
        hasRetried = true
        continue
      }
      hasRetried = false
      if (isRefusal) this.split(reason)
      else this.dropHead()
    }
    outgoing.clear()
    this.isBlocked = false
    return undefined
  }

  transmit(packet: Uint8Array): string | undefined {
    const { control, header } = this
    const length = header.length + packet.length
    if (packet.length > LARGEST_PACKET) {
      this.counters.drop(Drop.tooLarge)
      return undefined
    }
    control.bytes.set(header)
    control.bytes.set(packet, header.length)
    for (let attempt = 0; attempt < 2; attempt++) {
      if (sendBytes(this.fd, control.at(0, length), length) >= 0) {
        this.count(1, length)
        return undefined
      }
      const reason = errno()
      if (isAboutSource(reason) && this.tryRoam()) continue
      if (isFatal(reason)) return `send: ${errnoName(reason)}`
      if (reason === EAGAIN) {
        this.counters.drop(Drop.transportBusy)
        return undefined
      }
      this.survive(reason)
    }
    this.counters.drop(Drop.transportError)
    return undefined
  }

  writable(): string | undefined {
    return this.flush()
  }

  receive(sink: PacketSink): string | undefined {
    const before = this.counters.values[Counter.transportReadBytes]!
    let count = BATCH
    for (let round = 0; round < ROUNDS && count === BATCH; round++) {
      count = this.incoming.receive(this.fd)
      if (count < 0) return this.receiveFailed(errno())
      for (let i = 0; i < count; i++) this.deliver(i, sink)
      sink.flush()
    }
    this.backlog.found(this.counters.values[Counter.transportReadBytes]! - before, count < BATCH)
    return undefined
  }

  close(): void {
    if (this.fd < 0) return
    this.flush()
    closeFd(this.fd)
    this.fd = -1
  }

  roam(to = this.peer): void {
    this.peer = to
    if (to !== undefined) connectAnew(this.fd, to)
  }

  /** After an error that may come from a local address that is gone. True: worth another try at once. */
  private tryRoam(): boolean {
    const now = monotonicMilliseconds()
    if (this.peer === undefined || now - this.roamed < ROAM_INTERVAL) return false
    this.roamed = now
    return connectAnew(this.fd, this.peer)
  }

  private deliver(index: number, sink: PacketSink): void {
    const slot = this.incoming.slots[index]!
    const total = this.incoming.received(index)
    const size = this.incoming.segmentSize(index) || total
    let packets = 0
    let at = 0
    do {
      const length = Math.min(size, total - at)
      if (this.header.length === 0) sink.receive(slot, at, length)
      else this.unwrap(slot, at, length, sink)
      packets++
      at += size
    } while (at < total)
    this.counters.add(Counter.transportReadPackets, packets)
    this.counters.add(Counter.transportReadBytes, total)
  }

  private unwrap(slot: Region, at: number, length: number, sink: PacketSink): void {
    const header = socksHeaderLength(slot, at, length)
    if (header < 0) this.counters.drop(header)
    else sink.receive(slot, at + header, length - header)
  }

  private receiveFailed(reason: number): string | undefined {
    if (isFatal(reason)) return `recvmmsg: ${errnoName(reason)}`
    if (reason === EAGAIN) {
      // Woken by an error that recvmmsg does not report: taking it keeps poll from returning at once for ever.
      const waiting = socketError(this.fd)
      if (waiting !== 0) this.survive(waiting)
    } else if (reason !== EINTR) this.survive(reason)
    return undefined
  }

  private survive(reason: number): void {
    this.counters.add(Counter.transportErrors, 1)
    this.onError(reason)
  }

  /** The first datagram of the head alone; -1 as `send`. */
  private sendOne(): number {
    const { outgoing } = this
    const length = outgoing.headSize
    if (sendBytes(this.fd, outgoing.region.at(outgoing.headAt, length), length) < 0) return -1
    this.count(1, length)
    this.takeOne()
    return 0
  }

  private takeOne(): void {
    if (this.outgoing.takeDatagram()) this.isSplitting = false
  }

  private dropHead(): void {
    this.counters.drop(Drop.transportError)
    this.takeOne()
  }

  /**
   * EIO: the device cannot compute checksums, so nothing is sent together any more. The other errors come from a path whose
   * packets are smaller than these datagrams: smaller ones may go together still, until they are refused as well, which is no news.
   */
  private split(reason: number): void {
    const { outgoing } = this
    this.isSplitting = true
    const size = outgoing.headSize
    const isNews = reason === EIO || outgoing.segmentLimit === Number.POSITIVE_INFINITY
    outgoing.segmentLimit = reason === EIO ? 0 : Math.min(outgoing.segmentLimit, size)
    if (reason !== EIO) this.onError(EMSGSIZE)
    const which = reason === EIO ? "" : ` for datagrams of ${size} bytes`
    if (isNews) this.offloads.report("udp-segment", false, `sendmmsg: ${errnoName(reason)}${which}`)
  }

  private wrote(messages: number): void {
    for (let i = 0; i < messages; i++) {
      this.count(this.outgoing.headDatagrams, this.outgoing.headLength)
      this.outgoing.takeMessage()
    }
  }

  private count(packets: number, bytes: number): void {
    this.counters.add(Counter.transportWritePackets, packets)
    this.counters.add(Counter.transportWriteBytes, bytes)
  }
}

/** Errors of the descriptor. All others are about one datagram or about the network, which may come back. */
function isFatal(reason: number): boolean {
  return reason === EBADF || reason === ENOTSOCK || reason === EFAULT
}

/** Linux refuses to send from an address that is no longer there; a socket that found no way then leads nowhere. */
function isAboutSource(reason: number): boolean {
  return reason === EINVAL || reason === EADDRNOTAVAIL || reason === EDESTADDRREQ
}

function isAboutSegments(reason: number): boolean {
  return reason === EIO || reason === EINVAL || reason === EMSGSIZE
}

const none = new Uint8Array(0)

/** Messages per system call, and calls per turn. */
const BATCH = 16
/** ms between two looks for another local address after errors. */
const ROAM_INTERVAL = 1000
const ROUNDS = 2
/** The most that the kernel delivers as one message. */
const SLOT_SIZE = 65_536
