/**
 * recvmmsg(2) and sendmmsg(2) for connected sockets, with the kernel's segmentation: one message may hold many datagrams of
 * equal size, of which the last may be shorter (UDP_SEGMENT, UDP_GRO). The structs are filled once, at construction; a call
 * only writes and reads what changes.
 */
import { type Arena, type Region, scratch } from "./arena.ts"
import { libc } from "./libc.ts"

/** Messages that are received, each into a slot of its own. */
export class ReceiveBatch {
  /** Each of `slotSize` bytes. */
  readonly slots: ReadonlyArray<Region>
  private readonly headers: MessageHeaders
  /** Messages of the last call: only their headers were changed. */
  private filled: number

  constructor(arena: Arena, count: number, slotSize: number) {
    this.headers = new MessageHeaders(arena, count, 1)
    this.slots = Array.from({ length: count }, () => arena.allocate(slotSize + SLOT_SPREAD, 64))
    this.slots.forEach((slot, index) => {
      this.headers.point(index, slot.at(0, slotSize), slotSize)
    })
    this.filled = count
  }

  /** Fills slots from the first on; the number of messages, or -1 with the reason in `errno()`. */
  receive(fd: number): number {
    for (let i = 0; i < this.filled; i++) this.headers.setControlLength(i, CONTROL_SIZE)
    const count = libc.recvmmsg(fd, this.headers.address, this.slots.length, MSG_DONTWAIT, 0)
    this.filled = Math.max(0, count)
    return count
  }

  /** The bytes that the last `receive` put into slot `index`. */
  received(index: number): number {
    return this.headers.length(index)
  }

  /** The size of the datagrams in slot `index`, of which the last may be shorter; 0: it is one datagram. */
  segmentSize(index: number): number {
    return this.headers.control(index, UDP_GRO)
  }
}

/** Messages that are sent, all from one region. */
export class SendBatch {
  readonly count: number
  private readonly region: Region
  private readonly headers: MessageHeaders

  constructor(arena: Arena, count: number, region: Region) {
    this.count = count
    this.region = region
    this.headers = new MessageHeaders(arena, count, 3)
  }

  /**
   * Message `index` is `length` bytes at `offset`, as datagrams of `segmentSize` bytes, or as one when that is 0. They have
   * this traffic class (the octet of IPv4's type of service as well); 0: the socket's.
   */
  set(index: number, offset: number, length: number, segmentSize: number, trafficClass = 0): void {
    this.headers.point(index, this.region.at(offset, length), length)
    let controls = 0
    if (segmentSize !== 0) this.headers.setControl(index, controls++, SOL_UDP, UDP_SEGMENT, 2, segmentSize)
    // The kernel takes of these two the one that is for its socket's family.
    if (trafficClass !== 0) {
      this.headers.setControl(index, controls++, SOL_IP, IP_TOS, 4, trafficClass)
      this.headers.setControl(index, controls++, SOL_IPV6, IPV6_TCLASS, 4, trafficClass)
    }
    this.headers.setControlLength(index, controls * CONTROL_SIZE)
  }

  /** Sends the messages `from` to `to` (exclusive); the number that went, or -1 with the reason for the first in `errno()`. */
  send(fd: number, from: number, to: number): number {
    return libc.sendmmsg(fd, this.headers.at(from, to), to - from, MSG_DONTWAIT | MSG_NOSIGNAL)
  }
}

/** The largest message with segments that the kernel takes, and the most segments in it. */
export const LARGEST_SEGMENTED = 65_000
export const MOST_SEGMENTS = 64

/** recv(2) without waiting: the number of bytes, 0 at the end of a stream, or -1 with the reason in `errno()`. */
export function receiveBytes(fd: number, address: number, length: number): number {
  return libc.recv(fd, address, length, MSG_DONTWAIT)
}

/**
 * recvfrom(2) without waiting, for one datagram of a socket that is not connected: its bytes, or -1 with the reason in `errno()`.
 * `sender` gets the sockaddr of whom it came from, of which it has `SOCKADDR_SIZE` bytes.
 */
export function receiveFrom(fd: number, memory: Region, sender: Region): number {
  senderLength.view.setUint32(0, sender.length, true)
  const { address, length } = memory
  return libc.recvfrom(fd, address, length, MSG_DONTWAIT, sender.address, senderLength.address)
}

/** send(2) without waiting and without SIGPIPE: the number of bytes taken, or -1 with the reason in `errno()`. */
export function sendBytes(fd: number, address: number, length: number): number {
  return libc.send(fd, address, length, MSG_DONTWAIT | MSG_NOSIGNAL)
}

/** An array of struct mmsghdr, each with one iovec and room for some control messages of up to 32 bits. */
class MessageHeaders {
  readonly address: number
  private readonly headers: Region
  private readonly vectors: Region
  private readonly controls: Region
  /** Bytes for the control messages of one message. */
  private readonly controlSpace: number

  constructor(arena: Arena, count: number, controlsEach: number) {
    this.controlSpace = controlsEach * CONTROL_SIZE
    this.headers = arena.allocate(count * MMSGHDR_SIZE, 64)
    this.vectors = arena.allocate(count * IOVEC_SIZE)
    this.controls = arena.allocate(count * this.controlSpace)
    this.address = this.headers.address
    for (let i = 0; i < count; i++) {
      setPointer(this.headers.view, i * MMSGHDR_SIZE + MSGHDR_IOV, this.vectors.at(i * IOVEC_SIZE, IOVEC_SIZE))
      this.headers.view.setUint32(i * MMSGHDR_SIZE + MSGHDR_IOVLEN, 1, true)
      const control = this.controls.at(i * this.controlSpace, this.controlSpace)
      setPointer(this.headers.view, i * MMSGHDR_SIZE + MSGHDR_CONTROL, control)
    }
  }

  at(from: number, to: number): number {
    return this.headers.at(from * MMSGHDR_SIZE, (to - from) * MMSGHDR_SIZE)
  }

  point(index: number, address: number, length: number): void {
    setPointer(this.vectors.view, index * IOVEC_SIZE, address)
    this.vectors.view.setUint32(index * IOVEC_SIZE + 8, length, true)
  }

  length(index: number): number {
    return this.headers.view.getUint32(index * MMSGHDR_SIZE + MMSGHDR_LEN, true)
  }

  setControlLength(index: number, length: number): void {
    this.headers.view.setUint32(index * MMSGHDR_SIZE + MSGHDR_CONTROLLEN, length, true)
  }

  /** Control message `position` of message `index`, with a value of `size` bytes (2 or 4). */
  setControl(index: number, position: number, level: number, type: number, size: number, value: number): void {
    const { view } = this.controls
    const at = index * this.controlSpace + position * CONTROL_SIZE
    view.setUint32(at, CMSGHDR_SIZE + size, true)
    view.setInt32(at + 8, level, true)
    view.setInt32(at + 12, type, true)
    // Little-endian: the bytes beyond `size` are padding.
    view.setUint32(at + CMSGHDR_SIZE, value, true)
  }

  /** The value of the control message of `type`, 0 when there is none. */
  control(index: number, type: number): number {
    if (this.headers.view.getUint32(index * MMSGHDR_SIZE + MSGHDR_CONTROLLEN, true) < CMSGHDR_SIZE + 4) return 0
    const { view } = this.controls
    const at = index * this.controlSpace
    const isOurs = view.getInt32(at + 8, true) === SOL_UDP && view.getInt32(at + 12, true) === type
    return isOurs ? view.getInt32(at + CMSGHDR_SIZE, true) : 0
  }
}

/** In two halves, a BigInt would be an allocation, and both integers: where a fraction comes the compiler gives up its code each time. */
function setPointer(view: DataView, at: number, address: number): void {
  view.setUint32(at, address, true)
  view.setUint32(at + 4, (address / 0x1_0000_0000) | 0, true)
}

/** struct mmsghdr: a msghdr, then u32 msg_len. struct msghdr: iov, iovlen, control, controllen, all 64 bits. */
const MMSGHDR_SIZE = 64
const MMSGHDR_LEN = 56
const MSGHDR_IOV = 16
const MSGHDR_IOVLEN = 24
const MSGHDR_CONTROL = 32
const MSGHDR_CONTROLLEN = 40
/** struct iovec: base, length. */
const IOVEC_SIZE = 16
/** struct cmsghdr: u64 length, i32 level, i32 type; then the value, padded to 8 bytes. */
const CMSGHDR_SIZE = 16
const CONTROL_SIZE = 24
/** A stride that is no power of two, so that the slots do not compete for the same cache sets. */
const SLOT_SPREAD = 192

const senderLength = scratch.allocate(4)

const SOL_IP = 0
const IP_TOS = 1
const SOL_IPV6 = 41
const IPV6_TCLASS = 67
const SOL_UDP = 17
const UDP_SEGMENT = 103
const UDP_GRO = 104
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
