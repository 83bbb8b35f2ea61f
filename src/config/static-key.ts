/** OpenVPN static keys (`openvpn --genkey secret`): 256 bytes in hex between two marker lines; what stands outside is ignored. */
import * as Result from "effect/Result"
import type { Flaw } from "./pem.ts"

export const readStaticKey = (lines: ReadonlyArray<string>): Result.Result<Uint8Array, Flaw> => {
  const begin = lines.findIndex((line) => line.trim() === beginMarker)
  if (begin < 0) return Result.fail({ line: 0, message: `there is no line "${beginMarker}"` })
  const end = lines.findIndex((line, index) => index > begin && line.trim() === endMarker)
  if (end < 0) return Result.fail({ line: begin, message: `the key has no line "${endMarker}"` })
  const body = lines.slice(begin + 1, end).map((line) => line.replace(/\s/g, ""))
  const bad = body.findIndex((line) => !/^[0-9A-Fa-f]*$/.test(line))
  if (bad >= 0) return Result.fail({ line: begin + 1 + bad, message: "the key is not hex here" })
  const hex = body.join("")
  if (hex.length !== 2 * keyLength) {
    return Result.fail({ line: begin, message: `the key has ${hex.length / 2} bytes, it must have ${keyLength}` })
  }
  return Result.succeed(
    Uint8Array.from({ length: keyLength }, (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16)),
  )
}

/** Sixteen bytes on a line, as OpenVPN writes them. */
export const writeStaticKey = (key: Uint8Array): ReadonlyArray<string> => {
  const hex = Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return [beginMarker, ...(hex.match(/.{1,32}/g) ?? []), endMarker]
}

const beginMarker = "-----BEGIN OpenVPN Static key V1-----"
const endMarker = "-----END OpenVPN Static key V1-----"
const keyLength = 256
