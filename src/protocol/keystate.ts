/**
 * One key state: a reset, a TLS connection over reliable messages, and the key exchange inside it. The first one of a session
 * begins with a hard reset, every renegotiation with a soft reset; apart from that they do not differ.
 *
 *     reset ──peer's reset──▶ handshake ──TLS open, our key method 2 sent──▶ exchange ──peer's──▶ exchanged ──keys──▶ live
 *
 * The client is the TLS client whoever asked for the renegotiation. Control messages arrive from "exchange" on.
 */
import * as Result from "effect/Result"
import { concat, empty } from "./bytes.ts"
import type { Outgoing } from "./channel.ts"
import { ControlText, terminated } from "./control.ts"
import type { DropReason } from "./drop.ts"
import { readEarlyNegotiation } from "./earlynegotiation.ts"
import {
  buildKeyMethod2,
  type KeyMethod2,
  type KeySource,
  maxPlaintextLength,
  newKeySource,
  parseKeyMethod2,
} from "./keymethod2.ts"
import { exporterLabel, keyBlockLength, type PrfInput, prfKeyBlock } from "./keys.ts"
import { smallestPayload } from "./mtu.ts"
import { Opcode } from "./opcode.ts"
import { type ControlPacket, maxAcks } from "./packet.ts"
import type { Crypto, Instant, PeerCheck, Random, Tls, TlsConnection, TlsState } from "./ports.ts"
import { type Message, ReliableReceiver, ReliableSender } from "./reliability.ts"

export interface KeyStateOptions {
  readonly keyId: number
  /** The peer begins the negotiation. */
  readonly isPeers: boolean
  readonly tls: Tls
  readonly random: Random
  /** Milliseconds to the first retransmission. */
  readonly tlsTimeout: number
  /** The most TLS bytes in one packet. */
  readonly payloadLimit: number
  /** tls-crypt-v2: bytes of the wrapped client key, which may have to travel with message 1 and then leaves less room. */
  readonly wrappedKeyLength: number
  /** How many acknowledgements an ACK_V1 may carry. */
  readonly ackLimit: () => number
  /** What we say in the key exchange, asked for when it is sent, because credentials may have changed. */
  readonly introduce: () => Result.Result<Omit<KeyMethod2, "source">, string>
  readonly transmit: (packet: Outgoing) => void
}

export type KeyStateEvent =
  /** Both sides' key method 2 messages are exchanged; `deriveKeyBlock` may be called. */
  | { readonly type: "exchanged" }
  | { readonly type: "message"; readonly text: string }
  /** Text that was not printable or too long. */
  | { readonly type: "refusedText" }
  /** No keys will come of it, or (`live`) no more messages. An alert, if there is one, has been transmitted. */
  | { readonly type: "failed"; readonly message: string; readonly check: PeerCheck | undefined; readonly live: boolean }

export type Derivation = "tls-ekm" | "prf"

type OpenTls = Extract<TlsState, { tag: "open" }>

type Phase =
  | { readonly tag: "reset" }
  | { readonly tag: "handshake"; readonly tls: TlsConnection }
  | { readonly tag: "exchange"; readonly tls: TlsConnection; readonly facts: OpenTls; readonly source: KeySource }
  | {
      readonly tag: "exchanged"
      readonly tls: TlsConnection
      readonly facts: OpenTls
      readonly source: KeySource
      readonly remote: KeyMethod2
    }
  | { readonly tag: "live"; readonly tls: TlsConnection; readonly facts: OpenTls }
  | { readonly tag: "ended" }

export class KeyState {
  readonly keyId: number
  readonly startedAt: Instant
  readonly isPeers: boolean
  readonly #options: KeyStateOptions
  readonly #sender: ReliableSender
  readonly #receiver = new ReliableReceiver()
  readonly #text = new ControlText()
  readonly #events: Array<KeyStateEvent> = []
  #phase: Phase = { tag: "reset" }
  /** The server asked for the wrapped key in message 1. */
  #owesWrappedKey = false
  #lastReceive: Instant | undefined
  /** Waits for room in the send window. */
  #ciphertext: Uint8Array = empty
  /** The beginning of the peer's key method 2 message. */
  #plaintext: Uint8Array = empty

  /** Queues the reset; `timeout` sends it, or the answer to the packet that is `receive`d first carries it. */
  constructor(
    now: Instant,
    reset: typeof Opcode.HardResetClientV2 | typeof Opcode.HardResetClientV3 | typeof Opcode.SoftResetV1,
    options: KeyStateOptions,
  ) {
    this.keyId = options.keyId
    this.isPeers = options.isPeers
    this.startedAt = now
    this.#options = options
    this.#sender = new ReliableSender(options.tlsTimeout)
    this.#sender.queue(now, reset, empty)
  }

  get phase(): Phase["tag"] {
    return this.#phase.tag
  }

  /** When the last packet for this key state arrived. */
  get lastReceive(): Instant | undefined {
    return this.#lastReceive
  }

  /** Whether the peer acknowledged everything we sent. */
  get isSettled(): boolean {
    return this.#sender.isIdle && this.#ciphertext.length === 0
  }

  get nextRetransmit(): Instant | undefined {
    return this.#sender.nextDue
  }

  /** Defined from "exchange" on. */
  get tlsFacts(): OpenTls | undefined {
    return "facts" in this.#phase ? this.#phase.facts : undefined
  }

  /** The server's options string, between the exchange and the derivation of keys. */
  get remoteOptions(): string | undefined {
    return this.#phase.tag === "exchanged" ? this.#phase.remote.options : undefined
  }

  /** The other side's peer info, likewise; servers with many clients send none. */
  get remotePeerInfo(): string {
    return this.#phase.tag === "exchanged" ? this.#phase.remote.peerInfo : ""
  }

  /**
   * A packet that the channel has accepted. Returns why its message is not delivered, if so. What it calls for is
   * transmitted by `timeout`, which must follow.
   */
  receive(now: Instant, packet: ControlPacket): DropReason | undefined {
    this.#lastReceive = now
    this.#sender.acknowledge(packet.acks)
    const drop = this.#offer(packet)
    for (let message = this.#receiver.next(); message !== undefined; message = this.#receiver.next()) {
      if (this.#phase.tag === "reset") {
        this.#phase = { tag: "handshake", tls: this.#options.tls.connect() }
        this.#owesWrappedKey = asksForWrappedKey(message)
        this.#sender.expedite(now)
      } else if ("tls" in this.#phase) {
        this.#phase.tls.feed(message.payload)
        this.#progress()
      }
    }
    return drop
  }

  /** Transmits what is due. */
  timeout(now: Instant): void {
    this.#flush(now)
  }

  /** Sends a control message. False when there is no TLS connection to send it on. */
  send(now: Instant, text: string): boolean {
    const phase = this.#phase
    if ((phase.tag !== "exchanged" && phase.tag !== "live") || phase.tls.state.tag !== "open") return false
    phase.tls.write(terminated(text))
    this.#flush(now)
    return true
  }

  nextEvent(): KeyStateEvent | undefined {
    return this.#events.shift()
  }

  /** Once, in phase "exchanged": the 256-byte key block. What it was made of is forgotten. */
  deriveKeyBlock(
    derivation: Derivation,
    crypto: Crypto,
    ids: Pick<PrfInput, "clientSessionId" | "serverSessionId">,
  ): Uint8Array {
    const phase = this.#phase
    if (phase.tag !== "exchanged") throw new Error(`deriving keys in phase ${phase.tag}`)
    this.#phase = { tag: "live", tls: phase.tls, facts: phase.facts }
    return derivation === "tls-ekm"
      ? phase.tls.exportKey(exporterLabel, keyBlockLength)
      : prfKeyBlock(crypto, { client: phase.source, server: phase.remote.source, ...ids })
  }

  /** RFC 5705 exporter of the TLS connection; undefined when there is none. */
  exportKey(label: string, length: number): Uint8Array | undefined {
    if (!("facts" in this.#phase) || this.#phase.tls.state.tag !== "open") return undefined
    return this.#phase.tls.exportKey(label, length)
  }

  /** Releases the TLS connection; nothing happens any more. Idempotent. */
  free(): void {
    if ("tls" in this.#phase) this.#phase.tls.free()
    this.#phase = { tag: "ended" }
  }

  #offer(packet: ControlPacket): DropReason | undefined {
    if (packet.messageId === undefined) return undefined
    // A copy: the message may wait for its predecessors, the packet's buffer is the driver's.
    const message = { id: packet.messageId, opcode: packet.opcode, payload: packet.payload.slice() }
    switch (this.#receiver.offer(message)) {
      case "accepted":
        return undefined
      case "duplicate":
        return "duplicate"
      case "outside":
        return "window"
    }
  }

  /** Moves on as far as the TLS connection got. */
  #progress(): void {
    if (this.#phase.tag === "handshake" && this.#phase.tls.state.tag === "open")
      this.#introduce(this.#phase.tls, this.#phase.tls.state)
    if (!("tls" in this.#phase)) return
    const { tls } = this.#phase
    for (let plaintext = tls.read(); plaintext !== undefined; plaintext = tls.read()) this.#readPlaintext(plaintext)
    if (tls.state.tag === "failed") this.#fail(tls.state.message, tls.state.check)
    else if (tls.state.tag === "closed") this.#fail("the server closed the TLS connection")
  }

  #introduce(tls: TlsConnection, facts: OpenTls): void {
    const source = newKeySource(this.#options.random, "client")
    const message = Result.flatMap(this.#options.introduce(), (ours) => buildKeyMethod2({ source, ...ours }))
    if (Result.isFailure(message)) {
      this.#fail(`key exchange: ${message.failure}`)
      return
    }
    tls.write(message.success)
    // It has the password in it.
    message.success.fill(0)
    this.#phase = { tag: "exchange", tls, facts, source }
  }

  #readPlaintext(plaintext: Uint8Array): void {
    if (this.#phase.tag === "exchange") this.#readKeyMethod2(this.#phase, plaintext)
    else if (this.#phase.tag === "exchanged" || this.#phase.tag === "live") this.#readText(plaintext)
  }

  #readKeyMethod2(phase: Extract<Phase, { tag: "exchange" }>, plaintext: Uint8Array): void {
    if (this.#plaintext.length + plaintext.length > 2 * maxPlaintextLength) {
      this.#fail("key exchange: the server's message is too long")
      return
    }
    this.#plaintext = concat(this.#plaintext, plaintext)
    const parsed = parseKeyMethod2(this.#plaintext, "server")
    if (Result.isFailure(parsed)) {
      if (!parsed.failure.incomplete)
        this.#fail(`key exchange: the server's message is malformed: ${parsed.failure.message}`)
      return
    }
    this.#plaintext = empty
    this.#phase = { ...phase, tag: "exchanged", remote: parsed.success.message }
    this.#events.push({ type: "exchanged" })
    this.#readText(parsed.success.rest)
  }

  #readText(plaintext: Uint8Array): void {
    const { messages, refused } = this.#text.push(plaintext)
    for (const text of messages) this.#events.push({ type: "message", text })
    if (refused > 0) this.#events.push({ type: "refusedText" })
  }

  #fail(message: string, check?: PeerCheck): void {
    if (!("tls" in this.#phase)) return
    const live = this.#phase.tag === "live"
    this.#collectCiphertext()
    this.#phase.tls.free()
    this.#phase = { tag: "ended" }
    this.#events.push({ type: "failed", message, check, live })
  }

  #collectCiphertext(): void {
    const ciphertext = "tls" in this.#phase ? this.#phase.tls.pull() : undefined
    if (ciphertext !== undefined) this.#ciphertext = concat(this.#ciphertext, ciphertext)
  }

  #flush(now: Instant): void {
    this.#collectCiphertext()
    while (this.#ciphertext.length > 0 && this.#sender.hasRoom) this.#queueCiphertext(now)
    if (this.#ciphertext.length > maxWaiting) this.#fail("the server acknowledges nothing")
    for (const { id, opcode, payload } of this.#sender.take(now))
      this.#transmit(opcode, this.#receiver.takeAcks(piggybackedAcks), id, payload)
    while (this.#receiver.hasPendingAcks)
      this.#transmit(
        Opcode.AckV1,
        this.#receiver.takeAcks(Math.min(this.#options.ackLimit(), maxAcks)),
        undefined,
        empty,
      )
  }

  #queueCiphertext(now: Instant): void {
    const { payloadLimit, wrappedKeyLength } = this.#options
    const opcode = this.#owesWrappedKey ? Opcode.ControlWkcV1 : Opcode.ControlV1
    const limit = this.#owesWrappedKey ? Math.max(payloadLimit - wrappedKeyLength, smallestPayload) : payloadLimit
    this.#owesWrappedKey = false
    this.#sender.queue(now, opcode, this.#ciphertext.subarray(0, limit))
    this.#ciphertext = this.#ciphertext.slice(limit)
  }

  #transmit(opcode: Opcode, acks: ReadonlyArray<number>, messageId: number | undefined, payload: Uint8Array): void {
    this.#options.transmit({ opcode, keyId: this.keyId, acks, messageId, payload })
  }
}

const asksForWrappedKey = ({ opcode, payload }: Message): boolean => {
  if (opcode !== Opcode.HardResetServerV2) return false
  const early = readEarlyNegotiation(payload)
  return Result.isSuccess(early) && early.success.resendWrappedKey
}

/** Bytes of ciphertext that may wait for room in the send window: far more than any certificate chain. */
const maxWaiting = 262_144

/** On packets that carry a message; the payload limit counts on it. */
const piggybackedAcks = 4
