/**
 * IP packets for tests: built whole, with right checksums, and what the kernel hands over when it leaves the cutting to us,
 * with the cutting done here a second time, in the plainest way: every packet made from nothing, every sum taken anew.
 */
import type { SeededRandom } from "../support/network.ts"

export interface PacketOptions {
  readonly version: 4 | 6
  /** 6: TCP, 17: UDP. */
  readonly protocol: 6 | 17
  readonly payload: Uint8Array
  readonly ipOptions?: Uint8Array
  /** IPv6: whole extension headers, the first of them a destination header (60). */
  readonly extensions?: Uint8Array
  readonly tcpOptions?: Uint8Array
  readonly identification?: number
  readonly dontFragment?: boolean
  /** Type of service or traffic class. */
  readonly tos?: number
  readonly ttl?: number
  readonly sequence?: number
  readonly acknowledgement?: number
  readonly flags?: number
  readonly window?: number
  /** The four bits beside the length of the TCP header. */
  readonly reserved?: number
  /** Makes different flows. */
  readonly port?: number
}

/** One packet as it goes over the wire. */
export function packet(options: PacketOptions): Uint8Array {
  const { head, transport } = headers(options)
  const bytes = new Uint8Array(head.length + options.payload.length)
  bytes.set(head)
  bytes.set(options.payload, head.length)
  return completed(bytes, transport, options)
}

export interface LargePacket {
  /** A virtio header and the packet. */
  readonly bytes: Uint8Array
  /** What it is to be cut into. */
  readonly packets: ReadonlyArray<Uint8Array>
}

type LargeOptions = Omit<PacketOptions, "payload"> & {
  /** Bytes, of which the content does not matter, or these. */
  readonly payload: number | Uint8Array
  readonly segmentSize: number
}

/** As a tun with offloads gives it: checksums hold the pseudo-header only. */
export function largePacket(options: LargeOptions): LargePacket {
  const payload =
    typeof options.payload === "number"
      ? Uint8Array.from({ length: options.payload }, (_, i) => i * 7)
      : options.payload
  const { segmentSize, protocol, version } = options
  const whole = packet({ ...options, payload })
  const { transport, head } = headers({ ...options, payload })
  const checksumOffset = protocol === 6 ? 16 : 6
  const view = new DataView(whole.buffer)
  view.setUint16(transport + checksumOffset, folded(pseudoSum(whole, version, protocol, whole.length - transport)))
  const bytes = new Uint8Array(10 + whole.length)
  const header = new DataView(bytes.buffer)
  bytes.set(whole, 10)
  bytes[0] = 1
  bytes[1] = protocol === 17 ? 5 : version === 4 ? 1 : 4
  header.setUint16(2, head.length, true)
  header.setUint16(4, segmentSize, true)
  header.setUint16(6, transport, true)
  header.setUint16(8, checksumOffset, true)
  const { flags = 0x10, sequence = 1, identification = 1 } = options
  const count = Math.max(1, Math.ceil(payload.length / segmentSize))
  const packets = Array.from({ length: count }, (_, i) => {
    const isLast = i === count - 1
    const kept = flags & ~(i > 0 ? 0x80 : 0) & ~(isLast ? 0 : 0x09)
    return packet({
      ...options,
      payload: payload.slice(i * segmentSize, (i + 1) * segmentSize),
      flags: kept,
      sequence: (sequence + i * segmentSize) >>> 0,
      identification: (identification + i) & 0xffff,
    })
  })
  return { bytes, packets }
}

/**
 * The packets of a virtio header and a packet, as the kernel would make them: every one from the headers of the whole and its
 * part of the payload. Throws when the header does not fit the packet.
 */
export function expanded(written: Uint8Array): ReadonlyArray<Uint8Array> {
  const header = new DataView(written.buffer, written.byteOffset, VNET_HEADER)
  const bytes = written.slice(VNET_HEADER)
  const view = new DataView(bytes.buffer)
  const type = written[1]! & 0x7f
  const transport = header.getUint16(6, true)
  const checksumAt = transport + header.getUint16(8, true)
  if (type === 0) {
    if ((written[0]! & 1) === 1)
      view.setUint16(checksumAt, ~folded(wordSum(bytes, transport, bytes.length - transport)) & 0xffff || 0xffff)
    return [bytes]
  }
  const version = bytes[0]! >> 4 === 6 ? 6 : 4
  const protocol = type === 5 ? 17 : 6
  const end = transport + (protocol === 17 ? 8 : (bytes[transport + 12]! >> 4) * 4)
  if (end !== header.getUint16(2, true)) throw new Error("the header length is wrong")
  if (view.getUint16(checksumAt) !== folded(pseudoSum(bytes, version, protocol, bytes.length - transport)))
    throw new Error("the sum of the pseudo-header is wrong")
  if (version === 4 && folded(wordSum(bytes, 0, (bytes[0]! & 15) * 4)) !== 0xffff)
    throw new Error("the IPv4 checksum is wrong")
  const segmentSize = header.getUint16(4, true)
  return Array.from({ length: Math.max(1, Math.ceil((bytes.length - end) / segmentSize)) }, (_, index) => {
    const skipped = end + index * segmentSize
    const segment = new Uint8Array([...bytes.subarray(0, end), ...bytes.subarray(skipped, skipped + segmentSize)])
    const own = new DataView(segment.buffer)
    if (version === 4) {
      own.setUint16(2, segment.length)
      own.setUint16(4, view.getUint16(4) + index)
      own.setUint16(10, 0)
    } else own.setUint16(4, segment.length - 40)
    own.setUint16(checksumAt, 0)
    if (protocol === 17) own.setUint16(transport + 4, segment.length - transport)
    else {
      own.setUint32(transport + 4, view.getUint32(transport + 4) + index * segmentSize)
      const isLast = skipped + segmentSize >= bytes.length
      segment[transport + 13]! &= ~(index > 0 ? 0x80 : 0) & ~(isLast ? 0 : 0x09)
    }
    return completed(segment, transport, { version, protocol })
  })
}

/** TCP or UDP of any shape that a sender may choose. */
export function anyOptions(random: SeededRandom): Omit<PacketOptions, "payload"> {
  const version = random.below(2) === 0 ? 4 : 6
  const words = (most: number) => random.bytes(4 * random.below(most + 1))
  const extension = () => Uint8Array.of(0, 0, 1, 4, ...random.bytes(4))
  return {
    version,
    protocol: random.below(3) === 0 ? 17 : 6,
    ...(version === 4 ? { ipOptions: words(10) } : random.below(2) === 0 ? {} : { extensions: extension() }),
    tcpOptions: words(10),
    identification: random.below(0x10000),
    dontFragment: random.below(2) === 0,
    tos: random.below(256),
    ttl: 1 + random.below(255),
    sequence: random.next() < 0.3 ? 0xffff_ffff - random.below(5000) : random.below(2 ** 31),
    acknowledgement: random.below(2 ** 31),
    flags: random.below(256),
    window: random.below(0x10000),
    port: random.below(0x10000),
  }
}

function headers(options: PacketOptions) {
  const { version, protocol, payload, ipOptions = none, extensions = none, tcpOptions = none } = options
  const { identification = 1, dontFragment = true, tos = 0, ttl = 64, port = 40_000 } = options
  const ip = version === 4 ? 20 + ipOptions.length : 40 + extensions.length
  const head = new Uint8Array(ip + (protocol === 6 ? 20 + tcpOptions.length : 8))
  const view = new DataView(head.buffer)
  const total = head.length + payload.length
  if (version === 4) {
    head.set([0x40 | (ip / 4), tos])
    view.setUint16(2, total)
    view.setUint16(4, identification)
    view.setUint16(6, dontFragment ? 0x4000 : 0)
    head.set([ttl, protocol], 8)
    head.set([10, 1, 2, 3, 10, 4, 5, 6], 12)
    head.set(ipOptions, 20)
  } else {
    view.setUint32(0, (6 << 28) | (tos << 20) | 0xabcde)
    view.setUint16(4, total - 40)
    head.set([extensions.length > 0 ? 60 : protocol, ttl], 6)
    head.set([0xfd, 1, 2], 8)
    head.set([0xfd, 3, 4], 24)
    head.set(extensions, 40)
    if (extensions.length > 0) head[40] = protocol
  }
  view.setUint16(ip, port)
  view.setUint16(ip + 2, 443)
  if (protocol === 17) view.setUint16(ip + 4, total - ip)
  else {
    view.setUint32(ip + 4, options.sequence ?? 1)
    view.setUint32(ip + 8, options.acknowledgement ?? 2)
    head[ip + 12] = ((5 + tcpOptions.length / 4) << 4) | (options.reserved ?? 0)
    head[ip + 13] = options.flags ?? 0x10
    view.setUint16(ip + 14, options.window ?? 1000)
    head.set(tcpOptions, ip + 20)
  }
  return { head, transport: ip }
}

function completed(
  bytes: Uint8Array,
  transport: number,
  { version, protocol }: Pick<PacketOptions, "version" | "protocol">,
): Uint8Array {
  const view = new DataView(bytes.buffer)
  const length = bytes.length - transport
  if (version === 4) view.setUint16(10, ~folded(wordSum(bytes, 0, (bytes[0]! & 15) * 4)))
  const sum = pseudoSum(bytes, version, protocol, length) + wordSum(bytes, transport, length)
  const checksum = ~folded(sum) & 0xffff
  view.setUint16(transport + (protocol === 6 ? 16 : 6), checksum === 0 && protocol === 17 ? 0xffff : checksum)
  return bytes
}

function pseudoSum(bytes: Uint8Array, version: 4 | 6, protocol: number, length: number): number {
  return (version === 4 ? wordSum(bytes, 12, 8) : wordSum(bytes, 8, 32)) + protocol + length
}

/** Of big-endian words. */
function wordSum(bytes: Uint8Array, from: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += i % 2 === 0 ? bytes[from + i]! << 8 : bytes[from + i]!
  return sum
}

function folded(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

const none = new Uint8Array(0)
/** Bytes; see src/dataplane/vnet.ts. */
const VNET_HEADER = 10
