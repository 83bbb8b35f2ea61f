/**
 * Recorded traffic, compressed with zstd. Each entry is one byte of kind, a little-endian u32 of length, and so many bytes:
 *
 *     scenario  the name of what follows
 *     read      as a tun with offloads gave it: a virtio header and a packet, which may be many
 *     cut       of the last `read`: one of the packets that Linux itself makes of it
 *     arrived   as it came out of the network between the two ends, which loses, doubles, marks and reorders
 *
 * `read` and `arrived` carry which end sent them in their kind's high bit.
 */
import { readFileSync, writeFileSync } from "node:fs"

export const ends = ["client", "server"] as const
export type End = (typeof ends)[number]

/** What one end sent in one scenario. */
export interface Direction {
  readonly scenario: string
  readonly from: End
  readonly reads: ReadonlyArray<Read>
  readonly arrived: ReadonlyArray<Uint8Array>
}

export interface Read {
  /** A virtio header and a packet. */
  readonly bytes: Uint8Array
  readonly cut: ReadonlyArray<Uint8Array>
}

export class RecordingWriter {
  readonly #parts: Array<Uint8Array> = []

  scenario(name: string): void {
    this.#add(Kind.scenario, new TextEncoder().encode(name))
  }

  read(from: End, { bytes, cut }: Read): void {
    this.#add(Kind.read | bitOf(from), bytes)
    for (const packet of cut) this.#add(Kind.cut, packet)
  }

  arrived(from: End, packet: Uint8Array): void {
    this.#add(Kind.arrived | bitOf(from), packet)
  }

  /** Writes the file; its size. */
  save(file: string): number {
    const bytes = Buffer.concat(this.#parts)
    // With a window as large as the whole a packet that is there three times costs once; it takes its time.
    const compressed = Bun.zstdCompressSync(bytes, { level: bytes.length < 2 ** 25 ? 19 : 3 })
    writeFileSync(file, compressed)
    return compressed.length
  }

  #add(kind: number, bytes: Uint8Array): void {
    const head = new Uint8Array(ENTRY_HEADER)
    head[0] = kind
    new DataView(head.buffer).setUint32(1, bytes.length, true)
    this.#parts.push(head, bytes.slice())
  }
}

/** Those directions in which anything was sent. */
export function readRecording(file: string): ReadonlyArray<Direction> {
  const bytes = Bun.zstdDecompressSync(readFileSync(file))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const directions: Array<{ scenario: string; from: End; reads: Array<Read>; arrived: Array<Uint8Array> }> = []
  let cut: Array<Uint8Array> = []
  let length = 0
  for (let at = 0; at < bytes.length; at += ENTRY_HEADER + length) {
    const kind = bytes[at]!
    length = view.getUint32(at + 1, true)
    const entry = new Uint8Array(bytes.subarray(at + ENTRY_HEADER, at + ENTRY_HEADER + length))
    const direction = directions.at(kind & FROM_SERVER ? -1 : -2)
    switch (kind & ~FROM_SERVER) {
      case Kind.scenario:
        for (const from of ends)
          directions.push({ scenario: new TextDecoder().decode(entry), from, reads: [], arrived: [] })
        break
      case Kind.read:
        cut = []
        direction?.reads.push({ bytes: entry, cut })
        break
      case Kind.cut:
        cut.push(entry)
        break
      default:
        direction?.arrived.push(entry)
    }
  }
  return directions.filter(({ reads }) => reads.length > 0)
}

function bitOf(from: End): number {
  return from === "server" ? FROM_SERVER : 0
}

const Kind = { scenario: 0, read: 1, cut: 2, arrived: 3 } as const
const FROM_SERVER = 0x80
const ENTRY_HEADER = 5
