/**
 * What an independent observer sees of TCP: `tcpdump` on one device, every connection's two streams put together from its
 * segments by their sequence numbers, as counts and hashes, so that a gigabyte needs no disk.
 */
import { eventually } from "./child.ts"
import type { Namespace } from "./lab.ts"

/** By "source:port > target:port". */
export type Streams = ReadonlyMap<string, { readonly bytes: number; readonly sha256: string }>

export class Capture implements AsyncDisposable {
  readonly #tcpdump: Bun.Subprocess<"ignore", "pipe", "pipe">
  readonly #done: Promise<unknown>
  readonly #streams = new Map<string, Stream>()
  /** What arrived and is less than a record. */
  #rest = new Uint8Array(0)
  #isHeaderTaken = false
  #isDisposed = false
  #said = ""

  private constructor(tcpdump: Bun.Subprocess<"ignore", "pipe", "pipe">) {
    this.#tcpdump = tcpdump
    this.#done = Promise.all([this.#read(), this.#listen()])
  }

  /** Resolves when it captures. */
  static async start(namespace: Namespace, device: string): Promise<Capture> {
    // Snaps nothing off pieces of 64 KiB; its buffer of 256 MiB rides out what this process does in between.
    const options = ["-n", "-s", "65600", "-B", "262144", "-U", "-w", "-"]
    const command = ["tcpdump", "-i", device, ...options, "tcp"]
    const tcpdump = Bun.spawn([...namespace.inside(command)], { stdin: "ignore", stdout: "pipe", stderr: "pipe" })
    const capture = new Capture(tcpdump)
    await eventually(10_000, "tcpdump listens", () => capture.#said.includes("listening on"))
    return capture
  }

  /** Of all streams so far. */
  get bytes(): number {
    return [...this.#streams.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Ends the capture, which must have seen everything. Throws when a stream has a hole all the same. */
  async finish(): Promise<Streams> {
    await this[Symbol.asyncDispose]()
    if (!this.#said.includes("\n0 packets dropped by kernel"))
      throw new Error(`tcpdump did not see it all: ${this.#said}`)
    return new Map([...this.#streams].map(([name, stream]) => [name, stream.finish(name)]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#tcpdump.kill("SIGINT")
    await this.#done
    await this.#tcpdump.exited
  }

  async #read(): Promise<void> {
    for await (const chunk of this.#tcpdump.stdout) this.#take(chunk)
  }

  async #listen(): Promise<void> {
    for await (const chunk of this.#tcpdump.stderr) this.#said += new TextDecoder().decode(chunk)
  }

  #take(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    let at = 0
    if (!this.#isHeaderTaken && bytes.length >= FILE_HEADER) {
      if (view.getUint32(20, true) !== LINKTYPE_RAW) throw new Error("tcpdump: the device has link headers")
      this.#isHeaderTaken = true
      at = FILE_HEADER
    }
    while (this.#isHeaderTaken && at + RECORD_HEADER <= bytes.length) {
      const length = view.getUint32(at + 8, true)
      if (at + RECORD_HEADER + length > bytes.length) break
      this.#packet(bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length))
      at += RECORD_HEADER + length
    }
    this.#rest = bytes.slice(at)
  }

  /** IPv4, or IPv6 without extension headers. */
  #packet(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
    const isIpv4 = packet[0]! >> 4 === 4
    const tcp = isIpv4 ? (packet[0]! & 15) * 4 : 40
    const total = isIpv4 ? view.getUint16(2) : 40 + view.getUint16(4)
    const [source, target] = isIpv4
      ? [packet.subarray(12, 16), packet.subarray(16, 20)]
      : [packet.subarray(8, 24), packet.subarray(24, 40)]
    const name = `${source.toHex()}:${view.getUint16(tcp)} > ${target.toHex()}:${view.getUint16(tcp + 2)}`
    const payload = packet.subarray(tcp + (packet[tcp + 12]! >> 4) * 4, total)
    const isSyn = (packet[tcp + 13]! & SYN) !== 0
    const sequence = view.getUint32(tcp + 4)
    const stream = this.#streams.get(name)
    if (isSyn && stream?.follows(sequence) !== true) {
      // The ports of a connection that has ended may be those of a later one.
      if (stream !== undefined) this.#streams.set(`${name}, before SYN ${sequence}`, stream)
      this.#streams.set(name, new Stream(sequence + 1))
    } else stream?.segment(sequence, payload)
  }
}

class Stream {
  readonly #hash = new Bun.CryptoHasher("sha256")
  /** Segments beyond a hole, by their offset in the stream. */
  readonly #early = new Map<number, Uint8Array>()
  readonly #first: number
  bytes = 0

  constructor(first: number) {
    this.#first = first
  }

  /** Whether this SYN is the one that the stream began with. */
  follows(syn: number): boolean {
    return ((syn + 1) | 0) === (this.#first | 0)
  }

  segment(sequence: number, payload: Uint8Array): void {
    // Sequence numbers are of 32 bits: the nearest offset is meant.
    const offset = this.bytes + ((sequence - this.#first - this.bytes) | 0)
    if (offset > this.bytes) {
      const known = this.#early.get(offset)
      if (payload.length > (known?.length ?? 0)) this.#early.set(offset, payload.slice())
      return
    }
    const fresh = payload.subarray(this.bytes - offset)
    if (fresh.length === 0) return
    this.#hash.update(fresh)
    this.bytes += fresh.length
    this.#takeEarly()
  }

  finish(name: string) {
    if (this.#early.size > 0) throw new Error(`${name}: a hole after ${this.bytes} bytes`)
    return { bytes: this.bytes, sha256: this.#hash.digest("hex") }
  }

  #takeEarly(): void {
    for (const [offset, payload] of [...this.#early].sort(([a], [b]) => a - b)) {
      if (offset > this.bytes) return
      this.#early.delete(offset)
      const fresh = payload.subarray(this.bytes - offset)
      this.#hash.update(fresh)
      this.bytes += fresh.length
    }
  }
}

/** Of the format that tcpdump writes: the file's header, and that of each packet. */
const FILE_HEADER = 24
const RECORD_HEADER = 16
const LINKTYPE_RAW = 101
const SYN = 2
