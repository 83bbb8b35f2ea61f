/**
 * The key exchange that is under way, one at a time: the first of a session, or a renegotiation that either side began. Knows
 * which key id comes next (1 to 7, then 1 again; 0 never again) and until when the exchange has to be over.
 */
import type { ControlChannel } from "./channel.ts"
import { KeyState } from "./keystate.ts"
import { Opcode } from "./opcode.ts"
import type { Output } from "./output.ts"
import type { Instant } from "./ports.ts"
import { keyStateOptions, type SessionOptions } from "./sessionoptions.ts"

export class Negotiation {
  readonly #options: SessionOptions
  readonly #channel: ControlChannel
  readonly #emit: (output: Output) => void
  #startedAt: Instant = 0
  #state: KeyState | undefined
  #nextKeyId = 1
  /** The key id of the last negotiation when that failed. */
  #failedKeyId: number | undefined

  constructor(options: SessionOptions, channel: ControlChannel, emit: (output: Output) => void) {
    this.#options = options
    this.#channel = channel
    this.#emit = emit
  }

  /** The key state that has no keys yet. */
  get state(): KeyState | undefined {
    return this.#state
  }

  get nextKeyId(): number {
    return this.#nextKeyId
  }

  /** Whether the server may begin one with this key id. It may or may not have noticed one that failed. */
  admits(keyId: number): boolean {
    if (this.#state !== undefined) return false
    if (keyId === this.#nextKeyId) return true
    return this.#failedKeyId !== undefined && (keyId === this.#failedKeyId || keyId === after(this.#failedKeyId))
  }

  /** Begins the first one. */
  hardReset(now: Instant): KeyState {
    this.#startedAt = now
    this.#state = this.#newKeyState(now, 0)
    return this.#state
  }

  softReset(now: Instant, keyId: number, isPeers: boolean): KeyState {
    this.#state = this.#newKeyState(now, keyId, isPeers)
    this.#nextKeyId = after(keyId)
    return this.#state
  }

  /** Its keys are in use: the key state is the keyring's now. */
  succeeded(): void {
    this.#state = undefined
    this.#failedKeyId = undefined
  }

  /** OpenVPN's server counts only what it heard of, and takes no other key id than its own next one. */
  failed(): void {
    const state = this.#state
    this.#failedKeyId = state?.keyId
    if (state !== undefined && state.keyId !== 0 && state.lastReceive === undefined) this.#nextKeyId = state.keyId
    this.end()
  }

  end(): void {
    this.#state?.free()
    this.#state = undefined
  }

  /** "answer": the server's first packet has to be there; "handshake": the exchange has to be over. */
  get deadline(): { readonly at: Instant; readonly reason: "answer" | "handshake" } | undefined {
    if (this.#state === undefined || this.#state.phase === "exchanged") return undefined
    const { connectTimeoutSeconds, timers } = this.#options
    if (this.#channel.remoteId !== undefined)
      return { at: this.#state.startedAt + timers.handWindow * 1000, reason: "handshake" }
    return { at: this.#startedAt + Math.min(connectTimeoutSeconds, timers.handWindow) * 1000, reason: "answer" }
  }

  /** Since the hard reset. */
  secondsAt(now: Instant): number {
    return (now - this.#startedAt) / 1000
  }

  #newKeyState(now: Instant, keyId: number, isPeers = false): KeyState {
    const { wrapping } = this.#options
    const hardReset = wrapping._tag === "TlsCryptV2" ? Opcode.HardResetClientV3 : Opcode.HardResetClientV2
    const options = keyStateOptions(this.#options, this.#channel.wrapOverhead(keyId))
    return new KeyState(now, keyId === 0 ? hardReset : Opcode.SoftResetV1, {
      ...options,
      keyId,
      isPeers,
      introduce: () => {
        if (keyId === 0) this.#emit({ type: "introducing" })
        return options.introduce()
      },
      // Some servers without wrapping do not understand more at first (SoftEther).
      ackLimit: () => (wrapping._tag === "Plain" && this.#state?.keyId === 0 ? 4 : 8),
      transmit: (packet) => this.#emit({ type: "transmit", packet: this.#channel.seal(packet) }),
    })
  }
}

const after = (keyId: number): number => (keyId === 7 ? 1 : keyId + 1)
