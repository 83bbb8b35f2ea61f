/**
 * The control channel of a session: whose packets it accepts, and how they are wrapped. Owns both session ids, the wrapping
 * with its replay states and the drop counters, but no key state: it stays the same over renegotiations.
 */
import * as Result from "effect/Result"
import { sameBytes } from "./bytes.ts"
import type { DropReason } from "./drop.ts"
import { Opcode, opcodeRow } from "./opcode.ts"
import { type ControlHead, type ControlPacket, decodeHead } from "./packet.ts"
import type { Crypto, Instant, Random } from "./ports.ts"
import { newSessionId } from "./sessionid.ts"
import { makeWrap, type Wrap, type WrapOptions } from "./wrap.ts"

/** A packet to send, before the channel adds the session ids. */
export type Outgoing = Omit<ControlPacket, "sessionId" | "peerSessionId">

export class ControlChannel {
  readonly localId: Uint8Array
  readonly drops: Partial<Record<DropReason, number>> = {}
  readonly #wrap: Wrap
  #remoteId: Uint8Array | undefined
  #lastReceive: Instant | undefined

  constructor(crypto: Crypto, random: Random, options: Omit<WrapOptions, "role">) {
    this.localId = newSessionId(random)
    this.#wrap = makeWrap(crypto, { ...options, role: "client" })
  }

  /** Undefined until the server's hard reset came; then it never changes. */
  get remoteId(): Uint8Array | undefined {
    return this.#remoteId
  }

  /** When the last packet arrived that passed every check. */
  get lastReceive(): Instant | undefined {
    return this.#lastReceive
  }

  get wrapOverhead(): number {
    return this.#wrap.overhead
  }

  /** The bytes to transmit, with a replay id of their own. */
  seal(packet: Outgoing): Uint8Array {
    return this.#wrap.wrap({ ...packet, sessionId: this.localId, peerSessionId: this.#remoteId })
  }

  /**
   * Accepts a packet or counts why not. Nothing but that counter changes unless every check passes: those on the head that
   * cost nothing first (`admits` looks at the key id), then authenticity, then what the body says.
   */
  open(
    now: Instant,
    packet: Uint8Array,
    admits: (head: ControlHead) => DropReason | undefined,
  ): Result.Result<ControlPacket, DropReason> {
    const result = this.#verify(now, packet, admits)
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
  ): Result.Result<ControlPacket, DropReason> {
    if (packet.length > maxPacketLength) return Result.fail("oversized")
    const decoded = decodeHead(packet)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    const head = decoded.success
    const refusal = this.#refuseHead(head) ?? admits(head)
    if (refusal !== undefined) return Result.fail(refusal)
    const unwrapped = this.#wrap.unwrap(now, head, packet)
    if (Result.isFailure(unwrapped)) return Result.fail(unwrapped.failure)
    const { body } = unwrapped.success
    if (body.peerSessionId !== undefined && !sameBytes(body.peerSessionId, this.localId))
      return Result.fail("peerSessionId")
    // Every key state begins with its reset as message 0, and only with that.
    if (body.messageId !== undefined && (body.messageId === 0) !== (opcodeRow(head.opcode)?.kind === "reset"))
      return Result.fail("malformed")
    this.#wrap.accept(now, unwrapped.success)
    this.#remoteId ??= head.sessionId.slice()
    this.#lastReceive = now
    return Result.succeed({ ...head, ...body })
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
