/**
 * A pair of datagram sockets that stands in for a tun: the data plane gets `fd`, and what it would hand to the kernel is
 * read and written at the other end. Packet boundaries are kept, and any bytes pass: there is no IP layer.
 */
import {
  Arena,
  closeFd,
  openSocketPair,
  readFd,
  setReceiveBuffer,
  setSendBuffer,
  writeFd,
} from "../../src/linux/index.ts"
import { eventually } from "./child.ts"

export class TunPair implements Disposable {
  /** The data plane's end. It stays open until the pair is disposed. */
  readonly fd: number
  private readonly other: number

  constructor() {
    const [fd, other] = openSocketPair()
    this.fd = fd
    this.other = other
    for (const end of [fd, other]) {
      setSendBuffer(end, BUFFER)
      setReceiveBuffer(end, BUFFER)
    }
  }

  /** A packet of the application, on its way into the tunnel. False: the queue is full. */
  write(packet: Uint8Array): boolean {
    memory.bytes.set(packet)
    return writeFd(this.other, memory.at(0, packet.length), packet.length) === packet.length
  }

  /** The next packet that came out of the tunnel, if there is one. */
  read(): Uint8Array | undefined {
    const length = readFd(this.other, memory.address, memory.length)
    return length > 0 ? memory.bytes.slice(0, length) : undefined
  }

  /** Waits for it. */
  next(): Promise<Uint8Array> {
    return eventually(5000, "a packet from the tunnel", () => this.read())
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
    closeFd(this.other)
  }
}

const BUFFER = 4 * 1024 * 1024
const memory = new Arena(128 * 1024).allocate(64 * 1024)
