/**
 * One attempt to talk to one server, sans-IO: bytes and instants in, `Output`s out. The driver calls one of the methods that
 * take `now`, then drains `poll()`, sends what is to be sent, and sets one timer to `nextTimeout()`.
 *
 * A session is the channel (whose packets count), the key exchange under way (`negotiation.ts`, `keystate.ts`), the ring of live
 * keys (`keyring.ts`) and the server's configuration (`configuration.ts`). This file joins them. What it does not do: decide when to
 * renegotiate (`tunnel/rekey.ts`), whether to try again (`tunnel/retry.ts`), or touch data packets.
 */
import * as Result from "effect/Result"
import { ControlChannel } from "./channel.ts"
import { Configuration } from "./configuration.ts"
import { type ClientMessage, encodeClientMessage, parseServerMessage, type ServerMessage } from "./control.ts"
import type { DropReason } from "./drop.ts"
import { Keyring } from "./keyring.ts"
import { keyBlockLength, sliceKeyBlock } from "./keys.ts"
import type { KeyState, KeyStateEvent } from "./keystate.ts"
import { withFragments } from "./mtu.ts"
import type { DataChannel } from "./negotiate.ts"
import { Negotiation } from "./negotiation.ts"
import { Opcode } from "./opcode.ts"
import type { CloseReason, Output } from "./output.ts"
import type { ControlHead, ControlPacket } from "./packet.ts"
import type { Instant, PeerCheck } from "./ports.ts"
import { authFailed, closeReason } from "./reasons.ts"
import type { SessionOptions } from "./sessionoptions.ts"
import { dynamicWrapLabel } from "./wrap.ts"

/** What a session may wait for. */
export type TimerReason =
  /** A control packet is not acknowledged. */
  | "retransmit"
  /** The server has not answered the hard reset. */
  | "answer"
  /** A negotiation must reach the end of its key exchange. */
  | "handshake"
  | "pushRequest"
  /** The server must have pushed. */
  | "pushReply"
  /** The newest key takes over sending. */
  | "switchKey"
  /** A key has been replaced for `tran-window`. */
  | "retireKey"

export class Session {
  readonly #options: SessionOptions
  readonly #channel: ControlChannel
  readonly #keyring: Keyring
  readonly #negotiation: Negotiation
  readonly #configuration: Configuration
  readonly #outputs: Array<Output> = []
  #state: "idle" | "open" | "closed" = "idle"

  constructor(options: SessionOptions) {
    this.#options = options
    this.#channel = new ControlChannel(options.crypto, options.random, options)
    const emit = (output: Output) => void this.#outputs.push(output)
    this.#keyring = new Keyring(options.timers, emit)
    this.#negotiation = new Negotiation(options, this.#channel, emit)
    this.#configuration = new Configuration(options, {
      emit,
      notice: (level, event, message) => this.#notice(level, event, message),
      send: (now, text) => this.#send(now, text),
      agreed: (state, data) => this.#agreed(state, data),
      close: (reason) => this.#close(reason),
    })
  }

  /** Sends the hard reset. */
  start(now: Instant): void {
    if (this.#state !== "idle") return
    this.#state = "open"
    this.#negotiation.hardReset(now).timeout(now)
  }

  /** A control packet, without TCP's length. It is not kept: the buffer is the caller's again. */
  receive(now: Instant, packet: Uint8Array, stranger = false): boolean {
    if (this.#state !== "open") return false
    const opened = this.#channel.open(now, packet, (head) => this.#admit(head), stranger)
    if (Result.isFailure(opened)) {
      this.#refused(opened.failure)
      return false
    }
    const { keyId } = opened.success
    this.#deliver(now, this.#stateOf(keyId) ?? this.#softReset(now, keyId, true), opened.success)
    return true
  }

  /** Does what is due; early calls do nothing. */
  timeout(now: Instant): void {
    if (this.#state !== "open") return
    for (const state of this.#states()) state.timeout(now)
    this.#checkNegotiation(now)
    if (this.#state === "open") this.#configuration.timeout(now, this.lastReceive)
    this.#keyring.timeout(now)
    this.#checkKeys()
  }

  /** Begins a soft reset, unless one is under way or the first keys are not there yet. */
  renegotiate(now: Instant): void {
    if (this.#state !== "open" || !this.#canRenegotiate()) return
    this.#softReset(now, this.#negotiation.nextKeyId, false).timeout(now)
  }

  /** The first data packet under this key was authenticated: the server has it, so it may be sent with. */
  peerUsesKey(keyId: number): void {
    if (this.#state === "open") this.#keyring.confirm(keyId)
  }

  /** Sends a message to the server, if the key exchange got that far. */
  reply(now: Instant, message: ClientMessage): void {
    if (this.#state !== "open") return
    if (message.type === "pushRequest") this.#configuration.requested(now)
    this.#send(now, encodeClientMessage(message))
  }

  /** Says goodbye if that is wanted and the control channel is the place, and ends. */
  close(now: Instant): void {
    if (this.#state === "open" && this.exitNotification === "control")
      this.#send(now, encodeClientMessage({ type: "exit" }))
    this.#close(closeReason.requested())
  }

  /** The next output. Drain it after every call. */
  poll(): Output | undefined {
    return this.#outputs.shift()
  }

  nextTimeout(): { readonly at: Instant; readonly reason: TimerReason } | undefined {
    if (this.#state !== "open") return undefined
    const timers: Array<{ readonly at: Instant; readonly reason: TimerReason }> = []
    for (const { nextRetransmit } of this.#states())
      if (nextRetransmit !== undefined) timers.push({ at: nextRetransmit, reason: "retransmit" })
    const { deadline } = this.#negotiation
    if (deadline !== undefined) timers.push(deadline)
    timers.push(...this.#configuration.timers(this.lastReceive))
    const keys = this.#keyring.nextTimeout()
    if (keys !== undefined) timers.push(keys)
    return timers.reduce<(typeof timers)[number] | undefined>(
      (first, timer) => (first === undefined || timer.at < first.at ? timer : first),
      undefined,
    )
  }

  /** When the last authenticated control packet came, of whatever kind. */
  get lastReceive(): Instant | undefined {
    return this.#channel.lastReceive
  }

  /** How to announce the exit: with `close` itself, with OCC_EXIT on the data channel before it, or not at all. */
  get exitNotification(): "control" | "data" | "none" {
    return this.#configuration.exitNotification
  }

  /** Packets without effect, by reason. */
  get drops(): Readonly<Record<string, number>> {
    return this.#channel.drops
  }

  // Packets

  #states(): ReadonlyArray<KeyState> {
    const { state } = this.#negotiation
    return state === undefined ? this.#keyring.states : [...this.#keyring.states, state]
  }

  #stateOf(keyId: number): KeyState | undefined {
    return this.#states().find((state) => state.keyId === keyId)
  }

  /** Which packets may pass, by key id: those of a key state, or the server's wish for a new one. */
  #admit(head: ControlHead): DropReason | undefined {
    if (this.#stateOf(head.keyId) !== undefined) return undefined
    if (head.opcode !== Opcode.SoftResetV1) return "keyId"
    if (!this.#canRenegotiate()) return "unexpected"
    return this.#negotiation.admits(head.keyId) ? undefined : "keyId"
  }

  #refused(reason: DropReason): void {
    // A stream that loses its place cannot find it again; stale and foreign packets do not occur on it otherwise.
    if (this.#options.transport === "tcp" && fatalOnTcp.has(reason)) this.#close(closeReason.protocolError(reason))
  }

  #deliver(now: Instant, state: KeyState, packet: ControlPacket): void {
    const drop = state.receive(now, packet)
    if (drop !== undefined) this.#channel.count(drop)
    let event = state.nextEvent()
    // The server may send with the new key as soon as it has our acknowledgement: the key must be in place before that.
    if (event?.type === "exchanged") {
      this.#handle(now, state, event)
      event = undefined
    }
    if (this.#state === "open") state.timeout(now)
    for (event ??= state.nextEvent(); event !== undefined && this.#state === "open"; event = state.nextEvent())
      this.#handle(now, state, event)
  }

  // Negotiations

  #canRenegotiate(): boolean {
    return this.#negotiation.state === undefined && this.#keyring.newest !== undefined
  }

  /** `isPeers`: the server began it. */
  #softReset(now: Instant, keyId: number, isPeers: boolean): KeyState {
    this.#keyring.negotiationStarted(now)
    return this.#negotiation.softReset(now, keyId, isPeers)
  }

  #handle(now: Instant, state: KeyState, event: KeyStateEvent): void {
    switch (event.type) {
      case "exchanged":
        // TLS may have ended in the same packet: then "failed" follows.
        if (state.phase !== "exchanged") return
        if (this.#data !== undefined) this.#install(state, this.#data)
        else this.#configuration.exchanged(now, state)
        return
      case "message":
        this.#message(now, parseServerMessage(event.text))
        return
      case "refusedText":
        this.#notice(
          "warn",
          "control-text-refused",
          "the server sent a control message that is too long or not printable",
        )
        return
      case "failed":
        if (state === this.#negotiation.state) this.#negotiationFailed(event.message, event.check)
        else if (state === this.#keyring.newest)
          this.#outputs.push({ type: "controlChannelLost", message: `TLS of key ${state.keyId}: ${event.message}` })
    }
  }

  #negotiationFailed(message: string, check: PeerCheck | undefined): void {
    if (this.#data === undefined) {
      this.#close(check === undefined ? closeReason.tlsFailed(message) : closeReason.peerRefused(message, check))
      return
    }
    this.#negotiation.failed()
    this.#outputs.push({ type: "renegotiationFailed", message })
    this.#checkKeys()
  }

  #checkNegotiation(now: Instant): void {
    const { deadline } = this.#negotiation
    if (deadline === undefined || now < deadline.at) return
    if (deadline.reason === "answer") {
      this.#close(closeReason.noAnswer(this.#negotiation.secondsAt(now)))
      return
    }
    const { handWindow } = this.#options.timers
    if (this.#data === undefined) this.#close(closeReason.handshakeTimeout(handWindow))
    else this.#negotiationFailed(`no new key within ${handWindow} s (hand-window)`, undefined)
  }

  // Messages

  #message(now: Instant, message: ServerMessage): void {
    switch (message.type) {
      case "pushReply":
        this.#configuration.pushReply(message.options, message.more)
        return
      case "pushUpdate":
        this.#configuration.pushUpdate(message.options, message.more)
        return
      case "authPending":
        this.#configuration.authPending(message.timeoutSeconds)
        this.#outputs.push({ type: "authPending", timeoutSeconds: message.timeoutSeconds })
        return
      case "info":
        this.#notice("info", "server-info", message.text)
        return
      case "question":
        this.#notice("warn", "server-question", `the server asks: ${message.text}`)
        this.#configuration.asked(now, message.answer)
        return
      case "authFailed":
        this.#close(authFailed(message.failure, this.#options.login.refused(message.failure)))
        return
      case "restart":
        if (!message.keepLogin) this.#options.login.forget()
        this.#close(closeReason.serverRestart(message.text, message.advance))
        return
      case "halt":
        if (!message.keepLogin) this.#options.login.forget()
        this.#close(closeReason.serverHalt(message.text))
        return
      case "exit":
        this.#close(closeReason.serverExit())
        return
      case "unknown":
        this.#notice("warn", "control-message-unknown", `the server sent an unknown control message "${message.name}"`)
        return
    }
  }

  // Keys

  get #data(): DataChannel | undefined {
    return this.#configuration.data
  }

  #agreed(state: KeyState, data: DataChannel): void {
    const dynamicKey = data.dynamicWrap ? state.exportKey(dynamicWrapLabel, keyBlockLength) : undefined
    if (dynamicKey !== undefined) this.#channel.useDynamicKey(dynamicKey)
    this.#install(state, data)
  }

  #install(state: KeyState, data: DataChannel): void {
    const { remoteId, localId } = this.#channel
    const tls = state.tlsFacts
    if (remoteId === undefined || tls === undefined) throw new Error("installing a key before the key exchange")
    const ids = { clientSessionId: localId, serverSessionId: remoteId }
    const block = state.deriveKeyBlock(data.derivation, this.#options.crypto, ids)
    const key = sliceKeyBlock(block, { ...data, keyId: state.keyId })
    if (key === undefined) {
      this.#negotiationFailed("the derived data key is zero", undefined)
      return
    }
    this.#negotiation.succeeded()
    const { version, cipher, peer } = tls
    const { fragment, outerFamily } = this.#options
    this.#keyring.install(state, withFragments(key, fragment, outerFamily), {
      version,
      cipher,
      peer,
      derivation: data.derivation,
    })
  }

  #checkKeys(): void {
    if (this.#state !== "open" || this.#data === undefined) return
    if (this.#negotiation.state === undefined && this.#keyring.newest === undefined)
      this.#close(closeReason.keyExpired())
  }

  // Ends

  /** On the newest key state that has a TLS connection for messages. */
  #send(now: Instant, text: string): void {
    const state = this.#keyring.newest ?? this.#negotiation.state
    state?.send(now, text)
  }

  #notice(level: "debug" | "info" | "warn", event: string, message: string): void {
    this.#outputs.push({ type: "notice", level, event, message })
  }

  #close(reason: CloseReason): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#configuration.end()
    this.#negotiation.end()
    this.#keyring.free()
    this.#outputs.push({ type: "closed", reason })
  }
}

const fatalOnTcp: ReadonlySet<DropReason> = new Set([
  "short",
  "oversized",
  "opcode",
  "authentication",
  "malformed",
  "peerSessionId",
  "sessionId",
])
