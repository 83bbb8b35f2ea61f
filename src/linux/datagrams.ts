/**
 * recvmmsg(2) and sendmmsg(2) over a fixed set of slots, one datagram each. The structs are filled once, at construction;
 * a call only writes and reads lengths. For connected sockets: no addresses.
 */
import type { Arena, Region } from "./arena.ts"
import { libc } from "./libc.ts"

export class DatagramBatch {
  /** Each of `slotSize` bytes. */
  readonly slots: ReadonlyArray<Region>
  private readonly headers: Region
  private readonly vectors: Region

  constructor(arena: Arena, count: number, slotSize: number) {
    this.headers = arena.allocate(count * MMSGHDR_SIZE, 64)
    this.vectors = arena.allocate(count * IOVEC_SIZE)
    const slots: Array<Region> = []
    for (let i = 0; i < count; i++) {
      // A stride that is no power of two, so that the slots do not compete for the same cache sets.
      const slot = arena.allocate(slotSize + SLOT_SPREAD, 64)
      slots.push(slot)
      this.vectors.view.setBigUint64(i * IOVEC_SIZE, BigInt(slot.address), true)
      this.setLength(i, slotSize)
      const vector = BigInt(this.vectors.at(i * IOVEC_SIZE, IOVEC_SIZE))
      this.headers.view.setBigUint64(i * MMSGHDR_SIZE + MSGHDR_IOV, vector, true)
      this.headers.view.setBigUint64(i * MMSGHDR_SIZE + MSGHDR_IOVLEN, 1n, true)
    }
    this.slots = slots
  }

  /** How many bytes of slot `index` are sent, or may be received into it. */
  setLength(index: number, length: number): void {
    this.vectors.view.setUint32(index * IOVEC_SIZE + 8, length, true)
  }

  length(index: number): number {
    return this.vectors.view.getUint32(index * IOVEC_SIZE + 8, true)
  }

  /** The bytes that the last `receive` put into slot `index`. */
  received(index: number): number {
    return this.headers.view.getUint32(index * MMSGHDR_SIZE + MMSGHDR_LEN, true)
  }

  /** Fills slots from the first on; the number of datagrams, or -1 with the reason in `errno()`. */
  receive(fd: number): number {
    return libc.recvmmsg(fd, this.headers.address, this.slots.length, MSG_DONTWAIT, 0)
  }

  /** Sends the slots `from` to `to` (exclusive); the number that went, or -1 with the reason for the first in `errno()`. */
  send(fd: number, from: number, to: number): number {
    const size = (to - from) * MMSGHDR_SIZE
    return libc.sendmmsg(fd, this.headers.at(from * MMSGHDR_SIZE, size), to - from, MSG_DONTWAIT | MSG_NOSIGNAL)
  }
}

/** recv(2) without waiting: the number of bytes, 0 at the end of a stream, or -1 with the reason in `errno()`. */
export function receiveBytes(fd: number, address: number, length: number): number {
  return libc.recv(fd, address, length, MSG_DONTWAIT)
}

/** send(2) without waiting and without SIGPIPE: the number of bytes taken, or -1 with the reason in `errno()`. */
export function sendBytes(fd: number, address: number, length: number): number {
  return libc.send(fd, address, length, MSG_DONTWAIT | MSG_NOSIGNAL)
}

/** struct mmsghdr: msghdr (iov pointer @16, its length @24), then u32 msg_len @56. struct iovec: base, length. */
const MMSGHDR_SIZE = 64
const MMSGHDR_LEN = 56
const MSGHDR_IOV = 16
const MSGHDR_IOVLEN = 24
const IOVEC_SIZE = 16
const SLOT_SPREAD = 192

const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
