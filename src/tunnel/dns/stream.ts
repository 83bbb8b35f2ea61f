/** DNS messages on a stream: two bytes of length before each (RFC 1035 section 4.2.2). */

export const framed = (message: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(message.length + 2)
  frame[0] = message.length >> 8
  frame[1] = message.length & 0xff
  frame.set(message, 2)
  return frame
}

/** A function to be fed with what arrives; it gives each whole message to `take`, and is false for what cannot be one. */
export const frames = (take: (message: Uint8Array) => void): ((chunk: Uint8Array) => boolean) => {
  let rest = new Uint8Array(0)
  return (chunk) => {
    const joined = new Uint8Array(rest.length + chunk.length)
    joined.set(rest)
    joined.set(chunk, rest.length)
    let at = 0
    while (joined.length - at >= 2) {
      const length = (joined[at]! << 8) | joined[at + 1]!
      if (length === 0) return false
      if (joined.length - at - 2 < length) break
      take(joined.slice(at + 2, at + 2 + length))
      at += 2 + length
    }
    rest = joined.slice(at)
    return true
  }
}
