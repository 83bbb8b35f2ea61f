/** OpenVPN static keys (`openvpn --genkey secret`): 256 bytes in hex between two marker lines; what stands outside is ignored. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type Flaw, readSection, writeSection } from "./pem.ts"

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

/** What a client has for `tls-crypt-v2`. */
export interface ClientKey {
  readonly key: Redacted.Redacted<Uint8Array>
  readonly wrapped: Redacted.Redacted<Uint8Array>
}

/** PEM of the 256-byte key followed by the same as the server wrapped it, which ends in its own length (16 bits). */
export const readClientKey = (lines: ReadonlyArray<string>): Result.Result<ClientKey, Flaw> =>
  Result.flatMap(readSection(lines, clientKeyLabel), ({ line, bytes }) => {
    const wrapped = bytes.subarray(keyLength)
    const stated = wrapped.length < 2 ? 0 : wrapped.at(-2)! * 256 + wrapped.at(-1)!
    if (wrapped.length < minimumWrapped || wrapped.length > maximumWrapped || stated !== wrapped.length)
      return Result.fail({ line, message: "the key is not complete: its length does not match its content" })
    return Result.succeed({ key: Redacted.make(bytes.slice(0, keyLength)), wrapped: Redacted.make(wrapped.slice()) })
  })

export const writeClientKey = ({ key, wrapped }: ClientKey): ReadonlyArray<string> =>
  writeSection(clientKeyLabel, concat(Redacted.value(key), Redacted.value(wrapped)))

const concat = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** Sixteen bytes on a line, as OpenVPN writes them. */
export const writeStaticKey = (key: Uint8Array): ReadonlyArray<string> => {
  const hex = Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return [beginMarker, ...(hex.match(/.{1,32}/g) ?? []), endMarker]
}

const beginMarker = "-----BEGIN OpenVPN Static key V1-----"
const endMarker = "-----END OpenVPN Static key V1-----"
const keyLength = 256
const clientKeyLabel = "OpenVPN tls-crypt-v2 client key"
/** Tag, encrypted key and length; with the metadata that a server may put into it. */
const minimumWrapped = 32 + keyLength + 2
const maximumWrapped = 1024
