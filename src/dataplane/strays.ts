/**
 * `float`: what comes to a link's port from elsewhere than its peer. It has a socket of its own, so that the kernel tells apart what the
 * peer and what anybody else sends, and the peer's packets come in batches as they always do. Of strangers each datagram is taken
 * alone, and believed nothing before it proved authentic.
 */
import { type Arena, closeFd, type Region, receiveFrom, SOCKADDR_SIZE } from "../linux/index.ts"

/** Memory that is in use within one call only, so that all links share it. */
export class StrayBuffers {
  readonly memory: Region
  readonly sender: Region

  constructor(arena: Arena) {
    this.memory = arena.allocate(65_536, 64)
    this.sender = arena.allocate(SOCKADDR_SIZE)
  }
}

export class Strays {
  readonly fd: number
  /** Control packets have a key of their own that authenticates them (`tls-auth` and the like). Others are of use before the data keys only. */
  readonly hasControlKey: boolean
  private readonly buffers: StrayBuffers
  /** ms; when somebody was last named. */
  private named = Number.NEGATIVE_INFINITY
  private second = 0
  private controls = 0

  /** The socket is this object's. */
  constructor(fd: number, hasControlKey: boolean, buffers: StrayBuffers) {
    this.fd = fd
    this.hasControlKey = hasControlKey
    this.buffers = buffers
  }

  /** Where `receive` puts a datagram. */
  get memory(): Region {
    return this.buffers.memory
  }

  /** The bytes of the next datagram; negative when there is none. */
  receive(): number {
    return receiveFrom(this.fd, this.buffers.memory, this.buffers.sender)
  }

  /** The sockaddr of whom the last datagram came from. */
  sender(): Uint8Array {
    const { bytes } = this.buffers.sender
    return bytes.slice(0, (bytes[0]! | (bytes[1]! << 8)) === AF_INET ? 16 : SOCKADDR_SIZE)
  }

  /** Now and then: so that a server that sends from two addresses is not news with each packet. `now` in ms. */
  isNews(now: number): boolean {
    if (now - this.named < NEWS_INTERVAL) return false
    this.named = now
    return true
  }

  /** Counts one more control packet; true when there were too many of strangers in this second. The peer's count apart. */
  isFlood(now: number): boolean {
    const second = Math.floor(now / 1000)
    if (second !== this.second) {
      this.second = second
      this.controls = 0
    }
    return this.controls++ >= CONTROL_PER_SECOND
  }

  close(): void {
    closeFd(this.fd)
  }
}

const AF_INET = 2
const NEWS_INTERVAL = 100
const CONTROL_PER_SECOND = 64
