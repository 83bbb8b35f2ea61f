/** RFC 4648 base64, strict: no characters outside of the alphabet, padding where it belongs. */

/** The bytes, or undefined when the text is not base64. */
export const decodeBase64 = (text: string): Uint8Array | undefined => {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  if (text.length % 4 !== 0) return undefined
  const length = text.length - padding
  const bytes = new Uint8Array((text.length / 4) * 3 - padding)
  let bits = 0
  let waiting = 0
  let written = 0
  for (let index = 0; index < length; index++) {
    const value = sextet(text.charCodeAt(index))
    if (value < 0) return undefined
    bits = ((bits << 6) | value) & 0xffffff
    waiting += 6
    if (waiting < 8) continue
    waiting -= 8
    bytes[written++] = (bits >> waiting) & 0xff
  }
  return bytes
}

export const encodeBase64 = (bytes: Uint8Array): string => {
  let text = ""
  for (let index = 0; index < bytes.length; index += 3) {
    const [a = 0, b, c] = bytes.subarray(index, index + 3)
    const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0)
    text += alphabet[bits >> 18]! + alphabet[(bits >> 12) & 63]!
    text += b === undefined ? "=" : alphabet[(bits >> 6) & 63]!
    text += c === undefined ? "=" : alphabet[bits & 63]!
  }
  return text
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

const sextet = (code: number): number => {
  if (code >= 0x41 && code <= 0x5a) return code - 0x41
  if (code >= 0x61 && code <= 0x7a) return code - 0x61 + 26
  if (code >= 0x30 && code <= 0x39) return code - 0x30 + 52
  return code === 0x2b ? 62 : code === 0x2f ? 63 : -1
}
