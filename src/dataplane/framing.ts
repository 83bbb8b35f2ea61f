/**
 * The byte that says whether a payload is compressed (`protocol/compression.ts` has the forms). It is put on before a payload
 * is sealed and taken off after it was opened; pings and OCC messages have it as well.
 */
import type { CompressionFraming } from "../protocol/output.ts"
import { Drop } from "./drop.ts"

export class Framing {
  /** Where the payload begins that `unframe` gave last. */
  payloadAt = 0
  /** Bytes that have to be free in front of a payload that is to be framed. */
  readonly overhead: number
  private readonly form: CompressionFraming["form"]

  constructor(compression: CompressionFraming) {
    this.form = compression.form
    this.overhead = overheads[compression.form]
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
        // No IP packet and no message of ours begins so.
        return bytes[at] === V2 ? Drop.malformed : length
    }
  }

  /** Takes the framing off. The length of the payload at `payloadAt`, or a drop reason. */
  unframe(bytes: Uint8Array, at: number, length: number): number {
    if (length < 1) return Drop.malformed
    switch (this.form) {
      case "lzo":
        if (bytes[at] !== LZO_NONE) return Drop.compressed
        this.payloadAt = at + 1
        return length > 1 ? length - 1 : Drop.malformed
      case "stub":
        if (bytes[at] !== STUB_NONE) return Drop.compressed
        this.payloadAt = at
        bytes[at] = bytes[at + length - 1]!
        return length > 1 ? length - 1 : Drop.malformed
      case "stub-v2":
        return this.unframeV2(bytes, at, length)
    }
  }

  private unframeV2(bytes: Uint8Array, at: number, length: number): number {
    this.payloadAt = at
    if (bytes[at] !== V2) return length
    if (length < 3) return Drop.malformed
    // OpenVPN 2.x writes 0a where its own receiver expects 0.
    if (bytes[at + 1] !== 0 && bytes[at + 1] !== 0x0a) return Drop.compressed
    this.payloadAt = at + 2
    return length - 2
  }
}

const overheads = { lzo: 1, stub: 0, "stub-v2": 0 } as const
const LZO_NONE = 0xfa
const STUB_NONE = 0xfb
const V2 = 0x50
