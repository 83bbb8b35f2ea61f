/** Pairs of descriptors for tests of the data plane: a stand-in for a tun, and two UDP sockets on loopback. */
import {
  Arena,
  closeFd,
  localAddress,
  openSocketPair,
  openUdpSocket,
  readFd,
  setReceiveBuffer,
  setSendBuffer,
  writeFd,
} from "../../src/linux/index.ts"

/**
 * A pair of datagram sockets that stands in for a tun: the data plane gets `fd`, and what it would hand to the kernel is
 * read and written at the other end. Packet boundaries are kept, and any bytes pass: there is no IP layer.
 */
export class TunPair implements Disposable {
  /** The data plane's end. It stays open until the pair is disposed. */
  readonly fd: number
  private readonly other: number
  private isOtherOpen = true

  constructor() {
    const [fd, other] = openSocketPair("packets")
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
    return soon("a packet from the tunnel", () => this.read())
  }

  /** From now on the data plane's end reads as at the end of a file. */
  closeOther(): void {
    if (this.isOtherOpen) closeFd(this.other)
    this.isOtherOpen = false
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
    this.closeOther()
  }
}

/** Two UDP sockets on loopback, each connected to the other. They are the caller's to close. */
export function udpPair(family: 4 | 6): readonly [number, number] {
  const address = family === 4 ? "127.0.0.1" : "::1"
  const placeholder = openUdpSocket({ address, port: DISCARD, family })
  const port = localAddress(placeholder).port
  const one = openUdpSocket({ address, port, family })
  closeFd(placeholder)
  return [one, openUdpSocket({ address, port: localAddress(one).port, family, local: { address, port } })]
}

/** Waits for what another thread of this process is about to do: asks in every turn of the event loop. */
export async function soon<A>(what: string, probe: () => A | undefined | false): Promise<A> {
  const end = performance.now() + DEADLINE
  for (;;) {
    const value = probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(`${what}: not within ${DEADLINE} ms`)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}

/** ms */
const DEADLINE = 10_000
const DISCARD = 9
const BUFFER = 4 * 1024 * 1024
/** More than the largest packet with a virtio header. */
const memory = new Arena(128 * 1024).allocate(70_000)
