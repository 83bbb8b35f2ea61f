/**
 * Datagrams that wait to be sent, behind each other in one region. Those of one size are one message with segments, whose
 * last one may be shorter: so the kernel goes its way once for up to 64 of them.
 */
import { type Arena, LARGEST_SEGMENTED, MOST_SEGMENTS, type Region, SendBatch, sendBytes } from "../linux/index.ts"

export class MessageQueue {
  readonly region: Region
  /** Where the next datagram is written. */
  tail = 0
  /** Datagrams of this size and larger ones are messages of their own. */
  segmentLimit = Number.POSITIVE_INFINITY
  private readonly batch: SendBatch
  private readonly largest: number
  /** By message: where it begins, its bytes, and the size of its datagrams. Messages [first, count) wait. */
  private readonly offsets = new Int32Array(MESSAGES)
  private readonly lengths = new Int32Array(MESSAGES)
  private readonly sizes = new Int32Array(MESSAGES)
  private readonly classes = new Int32Array(MESSAGES)
  private first = 0
  private count = 0
  /** The last message takes no more datagrams. */
  private isClosed = true

  /** `largest`: bytes of the largest datagram. */
  constructor(arena: Arena, largest: number) {
    this.largest = largest
    this.region = arena.allocate(REGION_SIZE, 64)
    this.batch = new SendBatch(arena, MESSAGES, this.region)
  }

  get isEmpty(): boolean {
    return this.first === this.count
  }

  /** For one datagram of any size. */
  get hasRoom(): boolean {
    return this.count < MESSAGES && this.tail + this.largest <= REGION_SIZE
  }

  /** Queues the `length` bytes at `tail`. Datagrams of one message have one traffic class; 0 is the socket's. */
  append(length: number, trafficClass = 0): void {
    const last = this.count - 1
    const size = last < 0 ? 0 : this.sizes[last]!
    const total = last < 0 ? 0 : this.lengths[last]! + length
    const isNext =
      !this.isClosed &&
      length <= size &&
      total <= LARGEST_SEGMENTED &&
      total <= MOST_SEGMENTS * size &&
      trafficClass === this.classes[last]
    if (isNext) {
      this.lengths[last] = total
      this.isClosed = length < size
    } else {
      this.offsets[this.count] = this.tail
      this.lengths[this.count] = length
      this.sizes[this.count] = length
      this.classes[this.count] = trafficClass
      this.count++
      this.isClosed = length >= this.segmentLimit
    }
    this.tail += length
  }

  /** Sends what the kernel takes of the messages; how many, or -1 with the reason in `errno()`. */
  send(fd: number): number {
    if (this.isOnePlainDatagram) {
      this.isClosed = true
      const { headAt, headLength } = this
      return sendBytes(fd, this.region.at(headAt, headLength), headLength) < 0 ? -1 : 1
    }
    for (let i = this.first; i < this.count; i++) {
      const length = this.lengths[i]!
      const size = this.sizes[i]!
      this.batch.set(i, this.offsets[i]!, length, length > size ? size : 0, this.classes[i]!)
    }
    this.isClosed = true
    return this.batch.send(fd, this.first, this.count)
  }

  // The head: the message that is sent next.

  get headAt(): number {
    return this.offsets[this.first]!
  }

  get headLength(): number {
    return this.lengths[this.first]!
  }

  /** Bytes of its first datagram. */
  get headSize(): number {
    return Math.min(this.sizes[this.first]!, this.headLength)
  }

  get headDatagrams(): number {
    return this.isHeadSegmented ? Math.ceil(this.headLength / this.sizes[this.first]!) : 1
  }

  get isHeadSegmented(): boolean {
    return this.headLength > this.sizes[this.first]!
  }

  /** All that waits: then the shorter call does as well, and building its long form is what a lone packet would wait for. */
  private get isOnePlainDatagram(): boolean {
    return this.count - this.first === 1 && !this.isHeadSegmented && this.classes[this.first] === 0
  }

  takeMessage(): void {
    this.first++
  }

  /** Takes the first datagram off the head; true when that was the last of it. */
  takeDatagram(): boolean {
    const size = this.headSize
    this.offsets[this.first]! += size
    this.lengths[this.first]! -= size
    if (this.headLength > 0) return false
    this.first++
    return true
  }

  clear(): void {
    this.first = 0
    this.count = 0
    this.tail = 0
    this.isClosed = true
  }
}

const MESSAGES = 64
/** Two full messages and a datagram: more would not stay in the cache between sealing and sending. */
const REGION_SIZE = 3 * 65_536
