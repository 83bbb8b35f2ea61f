/**
 * The control channel of a session: whose packets it accepts, and how they are wrapped. Owns both session ids, the wrapping
 * with its replay states and the drop counters, but no key state: it stays the same over renegotiations.
 */
import * as Result from "effect/Result"
import { sameBytes } from "./bytes.ts"
import type { DropReason } from "./drop.ts"
import { readEarlyNegotiation } from "./earlynegotiation.ts"
import { Opcode, opcodeRow } from "./opcode.ts"
import { type ControlHead, type ControlPacket, decodeHead } from "./packet.ts"
import type { Crypto, Instant, Random } from "./ports.ts"
import { newSessionId } from "./sessionid.ts"
import { makeDynamicWrap, makeWrap, type Wrap, type WrapOptions } from "./wrap.ts"

/** A packet to send, before the channel adds the session ids. */
export type Outgoing = Omit<ControlPacket, "sessionId" | "peerSessionId">

export class ControlChannel {
  readonly localId: Uint8Array
  readonly drops: Partial<Record<DropReason, number>> = {}
  readonly #crypto: Crypto
  readonly #options: WrapOptions
  /** Of key id 0, and of the others as long as there is none for them. */
  readonly #wrap: Wrap
  #laterWrap: Wrap | undefined
  #remoteId: Uint8Array | undefined
  #lastReceive: Instant | undefined

  constructor(crypto: Crypto, random: Random, options: Omit<WrapOptions, "role">) {
    this.localId = newSessionId(random)
    this.#crypto = crypto
    this.#options = { ...options, role: "client" }
    this.#wrap = makeWrap(crypto, this.#options)
  }

  /** Dynamic tls-crypt for every key id but 0. `exported`: see `makeDynamicWrap`. */
  useDynamicKey(exported: Uint8Array): void {
    this.#laterWrap = makeDynamicWrap(this.#crypto, this.#options, exported)
  }

  /** Undefined until the server's hard reset came; then it never changes. */
  get remoteId(): Uint8Array | undefined {
    return this.#remoteId
  }

  /** When the last packet arrived that passed every check. */
  get lastReceive(): Instant | undefined {
    return this.#lastReceive
  }

  wrapOverhead(keyId: number): number {
    return this.#wrapOf(keyId).overhead
  }

  /** The bytes to transmit, with a replay id of their own. */
  seal(packet: Outgoing): Uint8Array {
    return this.#wrapOf(packet.keyId).wrap({ ...packet, sessionId: this.localId, peerSessionId: this.#remoteId })
  }

  /**
   * Accepts a packet or counts why not. Nothing but that counter changes unless every check passes: those on the head that
   * cost nothing first (`admits` looks at the key id), then authenticity, then what the body says. The first one of a `stranger` has
   * to name our session id, which nobody knows who has not seen our packets: those of the peer itself need not.
   */
  open(
    now: Instant,
    packet: Uint8Array,
    admits: (head: ControlHead) => DropReason | undefined,
    stranger = false,
  ): Result.Result<ControlPacket, DropReason> {
    const result = this.#verify(now, packet, admits, stranger)
    if (Result.isFailure(result)) this.count(result.failure)
    return result
  }

  count(reason: DropReason): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1
  }

  #verify(
    now: Instant,
    packet: Uint8Array,
    admits: (head: ControlHead) => DropReason | undefined,
    stranger: boolean,
  ): Result.Result<ControlPacket, DropReason> {
    if (packet.length > maxPacketLength) return Result.fail("oversized")
    const decoded = decodeHead(packet)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    const head = decoded.success
    const refusal = this.#refuseHead(head) ?? admits(head)
    if (refusal !== undefined) return Result.fail(refusal)
    const wrap = this.#wrapOf(head.keyId)
    const unwrapped = wrap.unwrap(now, head, packet)
    if (Result.isFailure(unwrapped)) return Result.fail(unwrapped.failure)
    const { body } = unwrapped.success
    const isNamed = body.peerSessionId !== undefined
    if (isNamed ? !sameBytes(body.peerSessionId, this.localId) : stranger && this.#remoteId === undefined)
      return Result.fail("peerSessionId")
    // Every key state begins with its reset as message 0, and only with that.
    if (body.messageId !== undefined && (body.messageId === 0) !== (opcodeRow(head.opcode)?.kind === "reset"))
      return Result.fail("malformed")
    if (head.opcode === Opcode.HardResetServerV2 && Result.isFailure(readEarlyNegotiation(body.payload)))
      return Result.fail("malformed")
    wrap.accept(now, unwrapped.success)
    this.#remoteId ??= head.sessionId.slice()
    this.#lastReceive = now
    return Result.succeed({ ...head, ...body })
  }

  #wrapOf(keyId: number): Wrap {
    return keyId === 0 ? this.#wrap : (this.#laterWrap ?? this.#wrap)
  }

  #refuseHead(head: ControlHead): DropReason | undefined {
    if (opcodeRow(head.opcode)?.fromServer !== true) return "unexpected"
    const opens = head.opcode === Opcode.HardResetServerV2
    if (opens && head.keyId !== 0) return "keyId"
    if (this.#remoteId === undefined) return opens ? undefined : "unexpected"
    return sameBytes(head.sessionId, this.#remoteId) ? undefined : "sessionId"
  }
}

/** No peer sends larger control packets; `max-packet-size` ends at 2048. */
const maxPacketLength = 4096
