/** Byte strings: concatenation, comparison of what is not secret, big-endian integers. */

export const empty: Uint8Array = new Uint8Array(0)

export const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

/** Not in constant time: for identifiers only. Secrets are compared with `Crypto.equal`. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index])

export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

/** The caller has checked that four bytes are there. */
export const readU32 = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0

export const writeU32 = (bytes: Uint8Array, offset: number, value: number): void => {
  bytes[offset] = value >>> 24
  bytes[offset + 1] = value >>> 16
  bytes[offset + 2] = value >>> 8
  bytes[offset + 3] = value
}

/** The caller has checked that two bytes are there. */
export const readU16 = (bytes: Uint8Array, offset: number): number => (bytes[offset]! << 8) | bytes[offset + 1]!

export const u16 = (value: number): Uint8Array => new Uint8Array([value >>> 8, value])
