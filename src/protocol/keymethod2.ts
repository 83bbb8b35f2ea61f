/**
 * Key method 2: the first plaintext each side sends over the TLS connection of a key state. Big-endian.
 *
 *     zero 4 | key method 1 (= 2) | pre-master 48 (client only) | random1 32 | random2 32
 *     | options string | username | password | peer info
 *
 * A string is u16 length including its NUL, bytes, NUL; length 0 means none. Everything after the options may be missing.
 */
import * as Result from "effect/Result"
import { concat, empty, readU16, u16 } from "./bytes.ts"
import type { Random } from "./ports.ts"

/** What the keys are made of by the PRF. Secret. */
export interface KeySource {
  /** 48 bytes; the client's only. */
  readonly preMaster: Uint8Array | undefined
  /** 32 bytes */
  readonly random1: Uint8Array
  /** 32 bytes */
  readonly random2: Uint8Array
}

export interface KeyMethod2 {
  readonly source: KeySource
  readonly options: string
  readonly username: string
  readonly password: string
  readonly peerInfo: string
}

export type Role = "client" | "server"

export const newKeySource = (random: Random, role: Role): KeySource => ({
  preMaster: role === "client" ? random.bytes(preMasterLength) : undefined,
  random1: random.bytes(randomLength),
  random2: random.bytes(randomLength),
})

/** Fails with a reason that names the part that is too long; never with its content. */
export const buildKeyMethod2 = (message: KeyMethod2): Result.Result<Uint8Array, string> => {
  const options = encodeString(message.options)
  if (options.length - 2 > maxOptionsLength) return Result.fail(`the options string exceeds ${maxOptionsLength} bytes`)
  const strings = [message.username, message.password, message.peerInfo]
  if (strings.some((text) => text.includes("\0"))) return Result.fail("username, password or peer info contains NUL")
  const bytes = concat(
    prefix,
    message.source.preMaster ?? empty,
    message.source.random1,
    message.source.random2,
    options,
    ...strings.map(encodeString),
  )
  if (bytes.length > maxPlaintextLength)
    return Result.fail(`username, password and peer info do not fit into ${maxPlaintextLength} bytes`)
  return Result.succeed(bytes)
}

export interface Parsed {
  readonly message: KeyMethod2
  /** Bytes after the message: control text that shared its record. */
  readonly rest: Uint8Array
}

/**
 * Parses what `from` sent. "incomplete" means that more plaintext may make it whole: the part up to the options is not there
 * yet. A trailing string that does not fit its bytes is taken to be the beginning of `rest`.
 */
export const parseKeyMethod2 = (
  bytes: Uint8Array,
  from: Role,
): Result.Result<Parsed, { incomplete: boolean; message: string }> => {
  const randomOffset = prefix.length + (from === "client" ? preMasterLength : 0)
  const optionsOffset = randomOffset + 2 * randomLength
  if (bytes.length > maxPlaintextLength) return malformed(`more than ${maxPlaintextLength} bytes`)
  if (bytes.length >= 4 && bytes.subarray(0, 4).some((byte) => byte !== 0)) return malformed("does not begin with zero")
  if (bytes.length >= 5 && (bytes[4]! & 0x0f) !== 2) return malformed(`key method ${bytes[4]! & 0x0f}, expected 2`)
  if (bytes.length < optionsOffset + 2) return incomplete
  if (readU16(bytes, optionsOffset) > maxOptionsLength)
    return malformed(`options string exceeds ${maxOptionsLength} bytes`)
  const reader = new StringReader(bytes, optionsOffset)
  const options = reader.next()
  if (options === undefined) return incomplete
  const random1 = bytes.slice(randomOffset, randomOffset + randomLength)
  const random2 = bytes.slice(randomOffset + randomLength, optionsOffset)
  const preMaster = from === "client" ? bytes.slice(prefix.length, randomOffset) : undefined
  const [username, password, peerInfo] = [reader.next(), reader.next(), reader.next()]
  return Result.succeed({
    message: {
      source: { preMaster, random1, random2 },
      options,
      username: username ?? "",
      password: password ?? "",
      peerInfo: peerInfo ?? "",
    },
    rest: reader.rest(),
  })
}

/** OpenVPN's TLS_CHANNEL_BUF_SIZE: the most plaintext one message may have, in both directions. */
export const maxPlaintextLength = 2048

class StringReader {
  readonly #bytes: Uint8Array
  #offset: number

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes
    this.#offset = offset
  }

  /** Undefined, and nothing consumed, when no whole string follows. */
  next(): string | undefined {
    if (this.#bytes.length < this.#offset + 2) return undefined
    const begin = this.#offset + 2
    const end = begin + readU16(this.#bytes, this.#offset)
    if (end > this.#bytes.length) return undefined
    this.#offset = end
    const text = this.#bytes.subarray(begin, end)
    const nul = text.indexOf(0)
    return decoder.decode(nul < 0 ? text : text.subarray(0, nul))
  }

  rest(): Uint8Array {
    return this.#bytes.slice(this.#offset)
  }
}

const encodeString = (text: string): Uint8Array => {
  if (text === "") return u16(0)
  const bytes = encoder.encode(text)
  return concat(u16(bytes.length + 1), bytes, nul)
}

const malformed = (message: string) => Result.fail({ incomplete: false, message })
const incomplete = Result.fail({ incomplete: true, message: "truncated" })

const prefix = Uint8Array.of(0, 0, 0, 0, 2)
const nul = Uint8Array.of(0)
const preMasterLength = 48
const randomLength = 32
const maxOptionsLength = 512
const encoder = new TextEncoder()
const decoder = new TextDecoder()
