/**
 * Decompression of one LZO1X block, the stream of `comp-lzo`. An instruction copies a match from what was written before, and
 * up to three (or many) literals of its own follow; what a low instruction byte means depends on how many the last one had.
 *
 *     00..0f  after no literals: a run of T + 3 (0: more) literals; after 1..3: a match of 2, near; after 4 or more: of 3, at 2049..
 *     10..1f  a match of (T & 7) + 2 (0: more), 16 KiB to 48 KiB back; distance 16384 exactly is the end
 *     20..3f  a match of (T & 31) + 2 (0: more), up to 16 KiB back
 *     40..ff  a match of (T >> 5) + 1, up to 2 KiB back
 */

/** The bytes written to `output`, or -1 when the block is not well-formed or does not fit. */
export function decompressLzo(input: Uint8Array, from: number, to: number, output: Uint8Array): number {
  const reader = new Reader(input, from, to)
  let end = 0
  /** How many literals the last instruction had: 0, 1..3, or 4 for a run. */
  let state = 0
  const copyLiterals = (count: number): boolean => {
    if (count > to - reader.at || count > output.length - end) return false
    for (let i = 0; i < count; i++) output[end++] = input[reader.at++]!
    return true
  }

  // The first byte may be a run of literals by itself.
  if (from < to && input[from]! > 17) {
    reader.at++
    const count = input[from]! - 17
    if (!copyLiterals(count)) return -1
    state = Math.min(count, 4)
  }
  for (;;) {
    const instruction = reader.byte()
    if (instruction < 0) return -1
    let length: number
    let distance: number
    let literals = instruction & 3
    if (instruction >= 64) {
      const more = reader.byte()
      if (more < 0) return -1
      length = (instruction >>> 5) + 1
      distance = (more << 3) + ((instruction >>> 2) & 7) + 1
    } else if (instruction >= 16) {
      const isFar = instruction < 32
      const mask = isFar ? 7 : 31
      length = (instruction & mask) === 0 ? reader.extended(mask) : instruction & mask
      const pair = reader.pair()
      if (length < 0 || pair < 0) return -1
      length += 2
      distance = (pair >>> 2) + (isFar ? ((instruction & 8) << 11) + 16384 : 1)
      if (isFar && distance === 16384) return length === 3 && reader.at === to ? end : -1
      literals = pair & 3
    } else if (state === 0) {
      const run = instruction === 0 ? reader.extended(15) : instruction
      if (run < 0 || !copyLiterals(run + 3)) return -1
      state = 4
      continue
    } else {
      const more = reader.byte()
      if (more < 0) return -1
      length = state === 4 ? 3 : 2
      distance = (more << 2) + (instruction >>> 2) + (state === 4 ? 2049 : 1)
    }
    if (distance > end || length > output.length - end) return -1
    // Byte by byte: a match may reach into what it writes.
    for (let i = 0; i < length; i++, end++) output[end] = output[end - distance]!
    if (!copyLiterals(literals)) return -1
    state = literals
  }
}

class Reader {
  at: number
  private readonly input: Uint8Array
  private readonly to: number

  constructor(input: Uint8Array, from: number, to: number) {
    this.input = input
    this.at = from
    this.to = to
  }

  byte(): number {
    return this.at < this.to ? this.input[this.at++]! : -1
  }

  /** u16, little-endian */
  pair(): number {
    if (this.to - this.at < 2) return -1
    this.at += 2
    return this.input[this.at - 2]! | (this.input[this.at - 1]! << 8)
  }

  /** A length that did not fit into the instruction: 255 for each zero byte, then the byte that is none. */
  extended(base: number): number {
    let length = base
    for (;;) {
      const byte = this.byte()
      if (byte < 0) return -1
      if (byte !== 0) return length + byte
      length += 255
    }
  }
}
