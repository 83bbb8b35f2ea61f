/**
 * Decompression of one LZ4 block. A sequence is: token (literals in the upper, match in the lower four bits; 15 goes on in
 * further bytes), literals, offset u16 little-endian, and a match of at least four bytes. The last one ends after its literals.
 */

/** The bytes written to `output`, or -1 when the block is not well-formed or does not fit. */
export function decompressLz4(input: Uint8Array, from: number, to: number, output: Uint8Array): number {
  let at = from
  let end = 0
  while (at < to) {
    const token = input[at++]!
    let literals = token >>> 4
    if (literals === 15) {
      let more = 255
      while (more === 255) {
        if (at >= to) return -1
        more = input[at++]!
        literals += more
      }
    }
    if (at + literals > to || end + literals > output.length) return -1
    for (let i = 0; i < literals; i++) output[end++] = input[at++]!
    if (at === to) return end
    if (at + 2 > to) return -1
    const offset = input[at]! | (input[at + 1]! << 8)
    at += 2
    let match = (token & 15) + 4
    if (match === 19) {
      let more = 255
      while (more === 255) {
        if (at >= to) return -1
        more = input[at++]!
        match += more
      }
    }
    if (offset === 0 || offset > end || end + match > output.length) return -1
    // Byte by byte: a match may reach into what it writes.
    for (let i = 0; i < match; i++, end++) output[end] = output[end - offset]!
  }
  return -1
}
