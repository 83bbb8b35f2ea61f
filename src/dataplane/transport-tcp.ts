/**
 * Packets over one TCP connection, each with its length (u16, network order) in front. A corrupt stream cannot be
 * resumed, so bad framing and a packet that is not authentic end the transport.
 */
import {
  type Arena,
  closeFd,
  EAGAIN,
  EINTR,
  errno,
  errnoName,
  POLLIN,
  POLLOUT,
  type Region,
  receiveBytes,
  sendBytes,
  socketError,
} from "../linux/index.ts"
import { Counter, type Counters } from "./counters.ts"
import { Drop } from "./drop.ts"
import { FrameQueue } from "./framequeue.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"

export class TcpTransport implements Transport {
  isOpen = false
  private fd = -1
  private readonly counters: Counters
  /** Bytes [inHead, inTail) were received and not taken yet: less than one frame between two calls. */
  private readonly incoming: Region
  private inHead = 0
  private inTail = 0
  private readonly outgoing: FrameQueue

  constructor(arena: Arena, counters: Counters) {
    this.counters = counters
    this.incoming = arena.allocate(INCOMING_SIZE)
    this.outgoing = new FrameQueue(arena, OUTGOING_SIZE)
  }

  open(fd: number): void {
    this.fd = fd
    this.isOpen = false
    this.inHead = 0
    this.inTail = 0
    this.outgoing.clear()
  }

  get interest(): number {
    if (!this.isOpen) return POLLOUT
    return this.outgoing.length > 0 ? POLLIN | POLLOUT : POLLIN
  }

  get start(): number {
    return this.outgoing.tail + PREFIX
  }

  get isReady(): boolean {
    return this.outgoing.length <= OUTGOING_BOUND
  }

  reserve(): Region | undefined {
    return this.outgoing.makeRoom(PREFIX + LARGEST_PACKET) ? this.outgoing.region : undefined
  }

  commit(length: number): void {
    this.outgoing.region.view.setUint16(this.outgoing.tail, length)
    this.outgoing.append(PREFIX + length)
    this.counters.add(Counter.transportWritePackets, 1)
    this.counters.add(Counter.transportWriteBytes, PREFIX + length)
  }

  flush(): string | undefined {
    if (!this.isOpen) return undefined
    const { outgoing } = this
    while (outgoing.piece > 0) {
      const { head, piece } = outgoing
      const sent = sendBytes(this.fd, outgoing.region.at(head, piece), piece)
      if (sent < 0) {
        const reason = errno()
        if (reason === EAGAIN) return undefined
        if (reason === EINTR) continue
        return `send: ${errnoName(reason)}`
      }
      outgoing.take(sent)
    }
    return undefined
  }

  transmit(packet: Uint8Array): string | undefined {
    if (packet.length > LARGEST_PACKET) {
      this.counters.drop(Drop.tooLarge)
      return undefined
    }
    if (!this.outgoing.makeRoom(PREFIX + packet.length)) {
      this.counters.drop(Drop.transportBusy)
      return undefined
    }
    this.outgoing.region.bytes.set(packet, this.outgoing.tail + PREFIX)
    this.commit(packet.length)
    return this.flush()
  }

  writable(): string | undefined {
    if (!this.isOpen) {
      const reason = socketError(this.fd)
      if (reason !== 0) return `connect: ${errnoName(reason)}`
      this.isOpen = true
    }
    return this.flush()
  }

  receive(sink: PacketSink): string | undefined {
    const space = this.incoming.length - this.inTail
    const count = receiveBytes(this.fd, this.incoming.at(this.inTail, space), space)
    if (count === 0) return "recv: the server closed the connection"
    if (count < 0) {
      const reason = errno()
      return reason === EAGAIN || reason === EINTR ? undefined : `recv: ${errnoName(reason)}`
    }
    this.inTail += count
    this.counters.add(Counter.transportReadBytes, count)
    const failure = this.takeFrames(sink)
    sink.flush()
    this.makeSpace()
    return failure
  }

  /** The kernel sizes it by the path. */
  keepBuffer(): void {}

  /** A connection has two fixed ends. */
  roam(): void {}

  close(): void {
    if (this.fd < 0) return
    this.flush()
    closeFd(this.fd)
    this.fd = -1
    this.isOpen = false
  }

  private takeFrames(sink: PacketSink): string | undefined {
    while (this.inTail - this.inHead >= PREFIX) {
      const length = this.incoming.view.getUint16(this.inHead)
      if (length === 0 || length > LARGEST_FRAME)
        return `framing: a packet of ${length} bytes, so the stream is corrupt`
      if (this.inTail - this.inHead < PREFIX + length) break
      const start = this.inHead + PREFIX
      this.inHead = start + length
      this.counters.add(Counter.transportReadPackets, 1)
      if (sink.receive(this.incoming, start, length) === Drop.authentication)
        return "data packet: wrong authentication tag, so the stream is corrupt"
    }
    return undefined
  }

  /** For one frame of any size behind what was not taken yet. */
  private makeSpace(): void {
    if (this.inHead === this.inTail) {
      this.inHead = 0
      this.inTail = 0
    } else if (this.incoming.length - this.inHead < PREFIX + LARGEST_FRAME) {
      this.incoming.bytes.copyWithin(0, this.inHead, this.inTail)
      this.inTail -= this.inHead
      this.inHead = 0
    }
  }
}

const PREFIX = 2
/** At least one frame more than `LARGEST_FRAME`; also the bound of the work of one turn. */
const INCOMING_SIZE = 256 * 1024
const OUTGOING_SIZE = 512 * 1024
/** With more than this unsent the tun is not read. */
const OUTGOING_BOUND = 128 * 1024
/**
 * Enough for jumbo frames (tun-mtu 9000), and less than any two letters read as a length: what answers with text, such as
 * an HTTP or SSH server, is recognised at once.
 */
const LARGEST_FRAME = 16_384
