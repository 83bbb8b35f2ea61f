/**
 * The protection of control packets apart from TLS: none, tls-auth (HMAC) or tls-crypt (encryption and HMAC), the latter with
 * one key for all clients or (tls-crypt-v2) one for each, which the client brings along in a form that only the server reads.
 *
 *     Plain     op/key 1 | session id 8 | body
 *     TlsAuth   op/key 1 | session id 8 | HMAC h | replay id 8 | body
 *               HMAC over replay id || op/key || session id || body
 *     TlsCrypt  op/key 1 | session id 8 | replay id 8 | tag 32 | AES-256-CTR(body)
 *               tag = HMAC-SHA256 over op/key || session id || replay id || body; its first 16 bytes are the counter block
 *     TlsCryptV2  the same; HARD_RESET_CLIENT_V3 and CONTROL_WKC_V1 are followed by the wrapped client key as it is
 *
 * Replay id: counter u32 from 1 || unix time u32. Every wrapped packet gets a new one, a retransmission too. A client with
 * tls-crypt-v2 begins at 0x0f000001, which tells the server that it understands the early negotiation.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { digestLength } from "../config/ciphers.ts"
import type { ControlWrapping, DigestName } from "../config/profile.ts"
import { concat, empty, readU32, writeU32 } from "./bytes.ts"
import type { DropReason } from "./drop.ts"
import { Opcode } from "./opcode.ts"
import {
  type ControlBody,
  type ControlHead,
  type ControlPacket,
  decodeBody,
  encodeBody,
  encodeHead,
  headLength,
} from "./packet.ts"
import type { Crypto, Instant } from "./ports.ts"
import { defaultReplayWindow, LongReplayWindow, type ReplayId } from "./replay.ts"
import { type KeyDirection, type KeySlot, keySlots } from "./statickey.ts"

/** One per session and side: it owns both replay states. */
export interface Wrap {
  /** The most bytes that wrapping adds, with the 16 of slack that the reference reserves for a cipher block. */
  readonly overhead: number
  wrap(packet: ControlPacket): Uint8Array
  /**
   * Authenticates and decodes what follows `head`, which `decodeHead` made of the same packet. The replay window is looked at,
   * not changed: the caller `accept`s once it knows that the packet belongs to its session, because with a key that several
   * peers share an authentic packet may be somebody else's.
   */
  unwrap(now: Instant, head: ControlHead, packet: Uint8Array): Result.Result<Unwrapped, DropReason>
  accept(now: Instant, unwrapped: Unwrapped): void
}

export interface Unwrapped {
  readonly body: ControlBody
  /** Undefined where there is no replay protection. */
  readonly replayId: ReplayId | undefined
}

export interface WrapOptions {
  readonly wrapping: ControlWrapping
  /** The HMAC of tls-auth. */
  readonly auth: DigestName
  /** tls-crypt is the client's with direction 1 and the server's with direction 0. */
  readonly role: "client" | "server"
  /** Unix seconds: the time part of our replay ids. */
  readonly unixTime: number
}

export const makeWrap = (crypto: Crypto, options: WrapOptions): Wrap => {
  const { wrapping, auth, role, unixTime } = options
  switch (wrapping._tag) {
    case "Plain":
      return new PlainWrap()
    case "TlsAuth":
      return new TlsAuthWrap(crypto, auth, Redacted.value(wrapping.key), wrapping.direction, unixTime)
    case "TlsCrypt":
      return new TlsCryptWrap(crypto, Redacted.value(wrapping.key), role, new ReplayIds(unixTime))
    case "TlsCryptV2": {
      const ids = new ReplayIds(unixTime, role === "client" ? earlyNegotiationMarker : 0)
      return new TlsCryptWrap(crypto, Redacted.value(wrapping.key), role, ids, Redacted.value(wrapping.wrapped))
    }
  }
}

/**
 * Dynamic tls-crypt: what protects the key states after the first. `exported`: 256 bytes of the first one's TLS connection;
 * a static key of the connection is mixed in, so that neither alone is enough.
 */
export const makeDynamicWrap = (crypto: Crypto, options: WrapOptions, exported: Uint8Array): Wrap => {
  const { wrapping, role, unixTime } = options
  const own = wrapping._tag === "Plain" ? undefined : Redacted.value(wrapping.key)
  const key = own === undefined ? exported : exported.map((byte, index) => byte ^ own[index]!)
  return new TlsCryptWrap(crypto, key, role, new ReplayIds(unixTime))
}

/** RFC 5705 label of `makeDynamicWrap`'s key, used without context. */
export const dynamicWrapLabel = "EXPORTER-OpenVPN-dynamic-tls-crypt"

class PlainWrap implements Wrap {
  readonly overhead = 0

  wrap(packet: ControlPacket): Uint8Array {
    return concat(encodeHead(packet), encodeBody(packet))
  }

  unwrap(_now: Instant, head: ControlHead, packet: Uint8Array): Result.Result<Unwrapped, DropReason> {
    return Result.map(decodeBody(head.opcode, packet.subarray(headLength)), (body) => ({ body, replayId: undefined }))
  }

  accept(): void {}
}

class TlsAuthWrap implements Wrap {
  readonly overhead: number
  readonly #crypto: Crypto
  readonly #digest: DigestName
  readonly #hmacLength: number
  readonly #sendKey: Uint8Array
  readonly #receiveKey: Uint8Array
  readonly #ids: ReplayIds
  readonly #window = new LongReplayWindow(defaultReplayWindow)

  constructor(crypto: Crypto, digest: DigestName, key: Uint8Array, direction: KeyDirection, unixTime: number) {
    const slots = keySlots(key, direction)
    this.#crypto = crypto
    this.#digest = digest
    this.#hmacLength = digestLength[digest]
    this.#sendKey = slots.send.hmac.subarray(0, this.#hmacLength)
    this.#receiveKey = slots.receive.hmac.subarray(0, this.#hmacLength)
    this.#ids = new ReplayIds(unixTime)
    this.overhead = this.#hmacLength + replayIdLength
  }

  wrap(packet: ControlPacket): Uint8Array {
    const head = encodeHead(packet)
    const replayId = this.#ids.next()
    const body = encodeBody(packet)
    const hmac = this.#crypto.hmac(this.#digest, this.#sendKey, replayId, head, body)
    return concat(head, hmac, replayId, body)
  }

  unwrap(now: Instant, head: ControlHead, packet: Uint8Array): Result.Result<Unwrapped, DropReason> {
    const idOffset = headLength + this.#hmacLength
    const bodyOffset = idOffset + replayIdLength
    if (packet.length <= bodyOffset) return Result.fail("short")
    const hmac = packet.subarray(headLength, idOffset)
    const id = packet.subarray(idOffset, bodyOffset)
    const body = packet.subarray(bodyOffset)
    const expected = this.#crypto.hmac(this.#digest, this.#receiveKey, id, packet.subarray(0, headLength), body)
    if (!this.#crypto.equal(hmac, expected)) return Result.fail("authentication")
    return unwrapped(now, this.#window, head, id, body)
  }

  accept(now: Instant, { replayId }: Unwrapped): void {
    if (replayId !== undefined) this.#window.accept(now, replayId)
  }
}

class TlsCryptWrap implements Wrap {
  readonly overhead = replayIdLength + tagLength + 16
  readonly #crypto: Crypto
  readonly #send: { readonly cipher: Uint8Array; readonly hmac: Uint8Array }
  readonly #receive: { readonly cipher: Uint8Array; readonly hmac: Uint8Array }
  readonly #ids: ReplayIds
  readonly #window = new LongReplayWindow(defaultReplayWindow)
  readonly #wrappedKey: Uint8Array

  constructor(crypto: Crypto, key: Uint8Array, role: "client" | "server", ids: ReplayIds, wrappedKey = empty) {
    const slots = keySlots(key, role === "client" ? 1 : 0)
    this.#crypto = crypto
    this.#send = tlsCryptKeys(slots.send)
    this.#receive = tlsCryptKeys(slots.receive)
    this.#ids = ids
    this.#wrappedKey = wrappedKey
  }

  wrap(packet: ControlPacket): Uint8Array {
    const head = encodeHead(packet)
    const replayId = this.#ids.next()
    const body = encodeBody(packet)
    const tag = this.#crypto.hmac("SHA256", this.#send.hmac, head, replayId, body)
    const ciphertext = this.#crypto.aes256ctr(this.#send.cipher, tag.subarray(0, 16), body)
    return concat(head, replayId, tag, ciphertext, carriesKey(packet.opcode) ? this.#wrappedKey : empty)
  }

  unwrap(now: Instant, head: ControlHead, packet: Uint8Array): Result.Result<Unwrapped, DropReason> {
    const tagOffset = headLength + replayIdLength
    const bodyOffset = tagOffset + tagLength
    const end = packet.length - (carriesKey(head.opcode) ? this.#wrappedKey.length : 0)
    if (end <= bodyOffset) return Result.fail("short")
    const id = packet.subarray(headLength, tagOffset)
    const tag = packet.subarray(tagOffset, bodyOffset)
    const body = this.#crypto.aes256ctr(this.#receive.cipher, tag.subarray(0, 16), packet.subarray(bodyOffset, end))
    const expected = this.#crypto.hmac("SHA256", this.#receive.hmac, packet.subarray(0, tagOffset), body)
    if (!this.#crypto.equal(tag, expected)) return Result.fail("authentication")
    return unwrapped(now, this.#window, head, id, body)
  }

  accept(now: Instant, { replayId }: Unwrapped): void {
    if (replayId !== undefined) this.#window.accept(now, replayId)
  }
}

const carriesKey = (opcode: Opcode): boolean => opcode === Opcode.HardResetClientV3 || opcode === Opcode.ControlWkcV1

const tlsCryptKeys = (slot: KeySlot) => ({ cipher: slot.cipher.subarray(0, 32), hmac: slot.hmac.subarray(0, 32) })

const unwrapped = (
  now: Instant,
  window: LongReplayWindow,
  head: ControlHead,
  idBytes: Uint8Array,
  body: Uint8Array,
): Result.Result<Unwrapped, DropReason> => {
  const replayId = { counter: readU32(idBytes, 0), time: readU32(idBytes, 4) }
  if (!window.check(now, replayId)) return Result.fail("replay")
  return Result.map(decodeBody(head.opcode, body), (decoded) => ({ body: decoded, replayId }))
}

/** Our replay ids: the time stays that of the start and only moves on when the counter is used up. */
class ReplayIds {
  #time: number
  #counter: number

  /** `before`: the counter that the first id follows. */
  constructor(unixTime: number, before = 0) {
    this.#time = unixTime
    this.#counter = before
  }

  next(): Uint8Array {
    if (this.#counter === 0xffffffff) {
      this.#counter = 0
      this.#time++
    }
    this.#counter++
    const id = new Uint8Array(replayIdLength)
    writeU32(id, 0, this.#counter)
    writeU32(id, 4, this.#time)
    return id
  }
}

const earlyNegotiationMarker = 0x0f000000
const replayIdLength = 8
const tagLength = 32
