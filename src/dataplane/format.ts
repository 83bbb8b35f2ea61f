/**
 * The seam between the hot path and the formats of data packets: `datapacket.ts` (AEAD), `datapacket-cbc.ts` and
 * `datapacket-epoch.ts`. Packets are sealed and opened in place; results are lengths or negative drop reasons.
 */
import type { Region } from "../linux/index.ts"
import type { ReplayWindow } from "./replay.ts"

/**
 * The most bytes that any format puts in front of a payload (CBC with SHA512 in DATA_V2, or with a static key, a fragment's
 * header and a framing byte), and behind it
 * (the tag of the epoch format, or padding and two framing bytes).
 */
export const LARGEST_OVERHEAD = 64 + 16 + 8 + 4 + 1
export const LARGEST_TAIL = 18

/** One key of the sending direction. */
export interface PacketSealer {
  /** Bytes that the packet has in front of its payload. */
  readonly overhead: number
  /** A new key has to be negotiated: the packet ids, or what the cipher stands, come to an end. */
  readonly isWornOut: boolean
  /** Seals the `length` bytes at `start + overhead`; the length of the whole packet, or a drop reason. */
  seal(memory: Region, start: number, length: number): number
  free(): void
}

/** One key of the receiving direction. Both DATA_V1 and DATA_V2 are taken, whichever we send ourselves. */
export interface PacketOpener {
  /** Of the packet opened last: where its payload begins in the memory, its packet id, and the window that judges the id. */
  readonly payloadAt: number
  readonly packetId: number
  readonly replay: ReplayWindow
  /** A new key has to be negotiated: the cipher stands no more packets, or no more forgeries. */
  readonly isWornOut: boolean
  /** Opens a data packet of `length` bytes. The payload's length, or a drop reason; the payload is garbage after a drop. */
  open(memory: Region, start: number, length: number): number
  free(): void
}
