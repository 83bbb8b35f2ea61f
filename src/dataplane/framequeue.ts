/**
 * Frames that wait to be sent over a stream, in a ring: nothing is ever moved. A frame stands in one piece, so what is left at
 * the end of the memory may be skipped: then the queue is [head, seam) and after it [0, tail).
 */
import type { Arena, Region } from "../linux/index.ts"

export class FrameQueue {
  readonly region: Region
  /** Where the next frame is written, once there is room for it. */
  tail = 0
  /** The first byte that was not sent; before it may be the sent part of a frame. */
  head = 0
  /** -1: what waits is [head, tail). */
  private seam = -1

  /** `size` in bytes: of all frames together, and what is skipped at the end. */
  constructor(arena: Arena, size: number) {
    this.region = arena.allocate(size)
  }

  /** Bytes that wait. */
  get length(): number {
    return this.seam < 0 ? this.tail - this.head : this.seam - this.head + this.tail
  }

  /** Bytes that wait in one piece from `head` on; 0 only when nothing waits. */
  get piece(): number {
    return (this.seam < 0 ? this.tail : this.seam) - this.head
  }

  /** Whether `length` bytes fit in one piece at `tail`, which may be another place afterwards. */
  makeRoom(length: number): boolean {
    if (this.seam >= 0) return this.tail + length <= this.head
    if (this.tail + length <= this.region.length) return true
    if (length > this.head) return false
    this.seam = this.tail
    this.tail = 0
    return true
  }

  /** The `length` bytes at `tail` wait from now on. */
  append(length: number): void {
    this.tail += length
  }

  /** The first `length` bytes of the piece at `head` were sent. */
  take(length: number): void {
    this.head += length
    if (this.head === this.seam) {
      this.head = 0
      this.seam = -1
    }
    if (this.seam < 0 && this.head === this.tail) this.clear()
  }

  clear(): void {
    this.head = 0
    this.tail = 0
    this.seam = -1
  }
}
