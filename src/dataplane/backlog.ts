/**
 * How much may wait in a UDP socket: plenty, so that nothing is lost while others have the processor, or the kernel keeps it from
 * us because a limit is reached. But streams that fill whatever buffer there is, as TCP does, then make a queue of it that is
 * there all the time and delays everything that passes. So where a lot is found again and again, or all the time, the buffer is
 * small for a while; it is still more than keeps us busy.
 */
import { monotonicMilliseconds, receiveBufferOf, setReceiveBuffer } from "../linux/index.ts"

export class Backlog {
  /** ms */
  private readonly clock: () => number
  private fd = -1
  /** Bytes of the buffer when it is not small; 0: it stays as it is. */
  private largest = 0
  /** Bytes since the socket was empty, and how many of them there were when they were last too many. */
  private bytes = 0
  private noticed = 0
  /** ms, when they became too many; 0: they are not. */
  private began = 0
  /** How often that happened since when (ms). */
  private times = 0
  private since = 0
  /** ms, until when the buffer is small; 0: it is not. */
  private smallUntil = 0

  constructor(clock = monotonicMilliseconds) {
    this.clock = clock
  }

  /** `isKept`: the size of the buffer is somebody's wish. */
  open(fd: number, isKept: boolean): void {
    const size = isKept ? 0 : receiveBufferOf(fd)
    this.fd = fd
    this.largest = size > SMALL ? size : 0
    this.smallUntil = 0
    this.since = 0
    this.empty()
  }

  /** The size of the buffer is somebody's wish from now on. */
  keep(): void {
    this.largest = 0
  }

  /** After each round of receiving: how many bytes, and whether no more were there. */
  found(bytes: number, isAll: boolean): void {
    if (this.largest === 0) return
    if (this.smallUntil !== 0) {
      if (this.clock() >= this.smallUntil) this.resize(this.largest, 0)
      return
    }
    this.bytes += bytes
    if (this.bytes - this.noticed >= MUCH) this.notice(this.clock())
    if (isAll) this.empty()
  }

  private notice(now: number): void {
    this.noticed = this.bytes
    if (this.began === 0) {
      this.began = now
      if (now - this.since > SPAN) {
        this.since = now
        this.times = 0
      }
      this.times++
    }
    if (this.times >= OFTEN || now - this.began > STANDING) this.resize(SMALL, now + REST)
  }

  private empty(): void {
    this.bytes = 0
    this.noticed = 0
    this.began = 0
  }

  private resize(bytes: number, smallUntil: number): void {
    setReceiveBuffer(this.fd, bytes)
    this.smallUntil = smallUntil
    this.since = 0
    this.empty()
  }
}

/** Bytes; the small one is what Linux gives a socket unless it is asked for more. */
const SMALL = 208 * 1024
const MUCH = 512 * 1024
/** A processor that is shared is away for some ms each time; one that a limit takes away is so once in 100 ms. */
const OFTEN = 6
const SPAN = 100
/** ms */
const STANDING = 200
const REST = 2000
