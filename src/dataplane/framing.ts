/**
 * The byte that says whether a payload is compressed (`protocol/compression.ts` has the forms). It is put on before a payload
 * is sealed and taken off after it was opened; pings and OCC messages have it as well.
 */
import type { Region } from "../linux/index.ts"
import type { CompressionFraming } from "../protocol/output.ts"
import { Drop } from "./drop.ts"
import { decompressLz4 } from "./lz4.ts"
import { decompressLzo } from "./lzo.ts"

export class Framing {
  /** Where the payload is that `unframe` gave last: in the packet's own memory, or where it was decompressed to. */
  payloadAt = 0
  memory: Region
  /** Bytes that have to be free in front of a payload that is to be framed. */
  readonly overhead: number
  private readonly form: CompressionFraming["form"]
  private readonly plain: Region
  private readonly output: Uint8Array
  private readonly isDecompressing: boolean

  /** Payloads are decompressed to `plain`, where the last one stays until the next. */
  constructor(compression: CompressionFraming, plain: Region) {
    this.form = compression.form
    this.overhead = overheads[compression.form]
    this.isDecompressing = compression.decompress
    this.plain = plain
    this.output = plain.bytes.subarray(HEADROOM)
    this.memory = plain
  }

  /** Frames the `length` bytes at `at`; the framed payload begins at `at - overhead`. Its length, or a drop reason. */
  frame(bytes: Uint8Array, at: number, length: number): number {
    switch (this.form) {
      case "lzo":
        bytes[at - 1] = LZO_NONE
        return length + 1
      case "stub":
        bytes[at + length] = bytes[at]!
        bytes[at] = STUB_NONE
        return length + 1
      case "stub-v2":
        return bytes[at] === V2 ? escaped(bytes, at, length) : length
    }
  }

  /** Takes the framing off. The length of the payload at `payloadAt` of `memory`, or a drop reason. */
  unframe(memory: Region, at: number, length: number): number {
    if (length < 1) return Drop.malformed
    this.memory = memory
    switch (this.form) {
      case "lzo":
        return this.unframeLzo(memory.bytes, at, length)
      case "stub":
        return this.unframeStub(memory.bytes, at, length)
      case "stub-v2":
        return this.unframeV2(memory.bytes, at, length)
    }
  }

  private unframeLzo(bytes: Uint8Array, at: number, length: number): number {
    if (bytes[at] === LZO && this.isDecompressing)
      return this.decompressed(decompressLzo(bytes, at + 1, at + length, this.output))
    return bytes[at] === LZO_NONE ? this.payload(at + 1, length - 1) : Drop.compressed
  }

  private unframeStub(bytes: Uint8Array, at: number, length: number): number {
    const kind = bytes[at]
    bytes[at] = bytes[at + length - 1]!
    if (kind === LZ4 && this.isDecompressing)
      return this.decompressed(decompressLz4(bytes, at, at + length - 1, this.output))
    return kind === STUB_NONE ? this.payload(at, length - 1) : Drop.compressed
  }

  private unframeV2(bytes: Uint8Array, at: number, length: number): number {
    if (bytes[at] !== V2) return this.payload(at, length)
    if (length < 3) return Drop.malformed
    const kind = bytes[at + 1]
    if (kind === V2_LZ4 && this.isDecompressing)
      return this.decompressed(decompressLz4(bytes, at + 2, at + length, this.output))
    // OpenVPN 2.x writes 0a where its own receiver expects 0.
    return kind === 0 || kind === 0x0a ? this.payload(at + 2, length - 2) : Drop.compressed
  }

  private payload(at: number, length: number): number {
    this.payloadAt = at
    return length > 0 ? length : Drop.malformed
  }

  private decompressed(length: number): number {
    this.memory = this.plain
    this.payloadAt = HEADROOM
    return length > 0 ? length : Drop.malformed
  }
}

/** No IP packet begins so, but an Ethernet frame may. */
function escaped(bytes: Uint8Array, at: number, length: number): number {
  bytes.copyWithin(at + 2, at, at + length)
  bytes[at] = V2
  bytes[at + 1] = 0
  return length + 2
}

/** Bytes that the largest payload takes when it is decompressed. Some stay free in front: the tun may want a header there. */
export const LARGEST_PLAIN = 16_384
const HEADROOM = 16
const overheads = { lzo: 1, stub: 0, "stub-v2": 0 } as const
const LZO = 0x66
const LZO_NONE = 0xfa
const LZ4 = 0x69
const STUB_NONE = 0xfb
const V2 = 0x50
const V2_LZ4 = 1
