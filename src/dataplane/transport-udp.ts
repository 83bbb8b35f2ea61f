/** Packets as datagrams of one connected UDP socket, received and sent in batches. */
import {
  type Arena,
  closeFd,
  DatagramBatch,
  EAGAIN,
  EBADF,
  EFAULT,
  EINTR,
  EINVAL,
  ENOTSOCK,
  errno,
  errnoName,
  POLLIN,
  POLLOUT,
  type Region,
  socketError,
} from "../linux/index.ts"
import { Counter, type Counters } from "./counters.ts"
import { Drop } from "./drop.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"

export class UdpTransport implements Transport {
  readonly isOpen = true
  readonly start = 0
  private fd = -1
  private readonly counters: Counters
  private readonly incoming: DatagramBatch
  private readonly outgoing: DatagramBatch
  private readonly control: DatagramBatch
  /** Outgoing slots [sent, queued) wait to be sent. */
  private sent = 0
  private queued = 0
  /** The kernel's send buffer is full. */
  private isBlocked = false

  constructor(arena: Arena, counters: Counters) {
    this.counters = counters
    this.incoming = new DatagramBatch(arena, BATCH, LARGEST_PACKET)
    this.outgoing = new DatagramBatch(arena, BATCH, LARGEST_PACKET)
    this.control = new DatagramBatch(arena, 1, LARGEST_PACKET)
  }

  open(fd: number): void {
    this.fd = fd
  }

  get interest(): number {
    return this.isBlocked ? POLLIN | POLLOUT : POLLIN
  }

  reserve(): Region | undefined {
    return this.isBlocked ? undefined : this.outgoing.slots[this.queued]
  }

  commit(length: number): void {
    this.outgoing.setLength(this.queued, length)
    this.queued++
  }

  flush(): string | undefined {
    let hasRetried = false
    while (this.sent < this.queued) {
      const count = this.outgoing.send(this.fd, this.sent, this.queued)
      if (count > 0) {
        for (let i = this.sent; i < this.sent + count; i++) this.wrote(this.outgoing.length(i))
        this.sent += count
        hasRetried = false
        continue
      }
      const reason = errno()
      if (reason === EAGAIN) {
        this.isBlocked = true
        return undefined
      }
      if (isFatal(reason)) return `sendmmsg: ${errnoName(reason)}`
      if (reason === EINTR) continue
      this.counters.add(Counter.transportErrors, 1)
      // The error may be one that an earlier datagram left behind (ICMP), with this one not even tried.
      if (!hasRetried) {
        hasRetried = true
        continue
      }
      this.counters.drop(Drop.transportError)
      this.sent++
      hasRetried = false
    }
    this.sent = 0
    this.queued = 0
    this.isBlocked = false
    return undefined
  }

  transmit(packet: Uint8Array): string | undefined {
    if (packet.length > LARGEST_PACKET) {
      this.counters.drop(Drop.tooLarge)
      return undefined
    }
    this.control.slots[0]!.bytes.set(packet)
    this.control.setLength(0, packet.length)
    for (let attempt = 0; attempt < 2; attempt++) {
      if (this.control.send(this.fd, 0, 1) === 1) {
        this.wrote(packet.length)
        return undefined
      }
      const reason = errno()
      if (isFatal(reason)) return `sendmmsg: ${errnoName(reason)}`
      if (reason === EAGAIN) {
        this.counters.drop(Drop.transportBusy)
        return undefined
      }
      this.counters.add(Counter.transportErrors, 1)
    }
    this.counters.drop(Drop.transportError)
    return undefined
  }

  writable(): string | undefined {
    return this.flush()
  }

  receive(sink: PacketSink): string | undefined {
    for (let round = 0; round < ROUNDS; round++) {
      const count = this.incoming.receive(this.fd)
      if (count < 0) return this.receiveFailed(errno())
      for (let i = 0; i < count; i++) {
        const length = this.incoming.received(i)
        this.counters.add(Counter.transportReadPackets, 1)
        this.counters.add(Counter.transportReadBytes, length)
        sink.receive(this.incoming.slots[i]!, 0, length)
      }
      if (count < BATCH) return undefined
    }
    return undefined
  }

  close(): void {
    if (this.fd < 0) return
    this.flush()
    closeFd(this.fd)
    this.fd = -1
    this.sent = 0
    this.queued = 0
    this.isBlocked = false
  }

  private receiveFailed(reason: number): string | undefined {
    if (isFatal(reason)) return `recvmmsg: ${errnoName(reason)}`
    if (reason === EAGAIN) {
      // Woken by an error that recvmmsg does not report: taking it keeps poll from returning at once for ever.
      if (socketError(this.fd) !== 0) this.counters.add(Counter.transportErrors, 1)
    } else if (reason !== EINTR) this.counters.add(Counter.transportErrors, 1)
    return undefined
  }

  private wrote(length: number): void {
    this.counters.add(Counter.transportWritePackets, 1)
    this.counters.add(Counter.transportWriteBytes, length)
  }
}

/** Errors of the descriptor. All others are about one datagram or about the network, which may come back. */
function isFatal(reason: number): boolean {
  return reason === EBADF || reason === ENOTSOCK || reason === EFAULT || reason === EINVAL
}

/** Datagrams per system call, and calls per turn. */
const BATCH = 32
const ROUNDS = 2
