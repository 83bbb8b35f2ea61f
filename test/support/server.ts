/**
 * A scripted OpenVPN server, sans-IO, for one client: built on the protocol's own parts (packets, wrapping, reliability, key
 * method 2, key derivation) but with a state machine of its own, so that a mistake in the client's does not cancel out.
 * It does what 2.6 does unless told to stop half-way.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ControlWrapping, DataCipher, DigestName } from "../../src/config/profile.ts"
import { concat, empty, sameBytes } from "../../src/protocol/bytes.ts"
import { ControlText, terminated } from "../../src/protocol/control.ts"
import { isCbc } from "../../src/protocol/datachannel.ts"
import {
  buildKeyMethod2,
  type KeyMethod2,
  type KeySource,
  newKeySource,
  parseKeyMethod2,
} from "../../src/protocol/keymethod2.ts"
import { exporterLabel, keyBlockLength, type PrfInput, prfKeyBlock, sliceKeyBlock } from "../../src/protocol/keys.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import type { DataKey } from "../../src/protocol/output.ts"
import { type ControlPacket, decodeHead } from "../../src/protocol/packet.ts"
import type { Crypto, Random, TlsConnection } from "../../src/protocol/ports.ts"
import { ReliableReceiver, ReliableSender } from "../../src/protocol/reliability.ts"
import { newSessionId } from "../../src/protocol/sessionid.ts"
import { dynamicWrapLabel, makeDynamicWrap, makeWrap, type Wrap, type WrapOptions } from "../../src/protocol/wrap.ts"
import type { Endpoint } from "./network.ts"

export interface ServerOptions {
  readonly crypto: Crypto
  readonly random: Random
  readonly accept: () => TlsConnection
  /** As in the client's file; the direction is turned round here. */
  readonly wrapping: ControlWrapping
  readonly auth: DigestName
  readonly cipher: DataCipher
  readonly derivation: "tls-ekm" | "prf"
  /** "exported": point to point, from the first TLS connection. */
  readonly peerId: number | "exported" | undefined
  /** Its own, which only a peer without clients sends. */
  readonly peerInfo?: string
  /** Whole messages: PUSH_REPLY in its parts, or AUTH_FAILED. */
  readonly push: ReadonlyArray<string>
  /** Push without being asked, as 2.5 and later do. */
  readonly unasked: boolean
  readonly optionsString: string
  /** Where the server falls silent; it still acknowledges. */
  readonly stop: "never" | "beforeReset" | "beforeTls" | "duringTls" | "beforePush"
  /** Keeps nothing of a client's first packet, and asks for its wrapped key again (tls-crypt-v2). */
  readonly cookie?: boolean
  /** The framing that both sides have. */
  readonly compression?: DataKey["compression"]
  /** The epoch format, which the push has to say as well. */
  readonly epoch?: boolean
  /** dyn-tls-crypt, which the push has to say as well. */
  readonly dynamicWrap?: boolean
  /** Closes TLS with its key method 2 message, from this key id on. */
  readonly hangUpAfterExchange?: number
  /** Ciphertext per packet. */
  readonly payload: number
}

export class ScriptedServer implements Endpoint {
  /** As the client sees them, so that both ends can be compared as they are. */
  readonly keys = new Map<number, DataKey>()
  /** What the client said of itself, one for each key. */
  readonly introductions: Array<KeyMethod2> = []
  /** Control messages of the client. */
  readonly messages: Array<string> = []
  readonly drops: Array<string> = []
  /** What TLS said when it failed: the client's alert, for instance. */
  readonly tlsFailures: Array<string> = []
  readonly sessionId: Uint8Array
  readonly #options: ServerOptions
  readonly #wrap: Wrap
  #laterWrap: Wrap | undefined
  readonly #outgoing: Array<Uint8Array> = []
  #clientId: Uint8Array | undefined
  #states = new Map<number, ServerKeyState>()
  #primary: ServerKeyState | undefined
  readonly #everyState: Array<ServerKeyState> = []
  #pushed = false
  #exportedPeerId: number | undefined

  constructor(options: ServerOptions) {
    this.#options = options
    this.sessionId = newSessionId(options.random)
    this.#wrap = makeWrap(options.crypto, this.#wrapOptions())
  }

  receive(now: number, packet: Uint8Array): void {
    if (this.#options.stop === "beforeReset") return
    const head = decodeHead(packet)
    if (Result.isFailure(head)) {
      this.drops.push(head.failure)
      return
    }
    if (this.#clientId !== undefined && !sameBytes(this.#clientId, head.success.sessionId)) {
      this.drops.push("sessionId")
      return
    }
    const wrap = this.#wrapOf(head.success.keyId)
    const unwrapped = wrap.unwrap(now, head.success, packet)
    if (Result.isFailure(unwrapped)) {
      this.drops.push(unwrapped.failure)
      return
    }
    wrap.accept(now, unwrapped.success)
    this.#accept(now, { ...head.success, ...unwrapped.success.body })
  }

  timeout(now: number): void {
    for (const state of this.#states.values()) state.flush(now)
  }

  nextTimeout(): number | undefined {
    const times = [...this.#states.values()].flatMap((state) => state.nextRetransmit ?? [])
    return times.length === 0 ? undefined : Math.min(...times)
  }

  outgoing(): Uint8Array | undefined {
    return this.#outgoing.shift()
  }

  /** Releases every TLS connection. */
  free(): void {
    for (const state of this.#everyState) state.free()
  }

  /** Starts a soft reset, if the current key is complete. */
  renegotiate(now: number): void {
    if (this.#primary?.active) this.#newState(now, nextKeyId(this.#primary.keyId), Opcode.SoftResetV1).flush(now)
  }

  /** Sends a control message on the newest complete key. */
  say(now: number, ...texts: ReadonlyArray<string>): void {
    const states = [...this.#states.values()].filter((state) => state.active)
    states.at(-1)?.write(now, concat(...texts.map(terminated)))
  }

  /** A last message, with TLS's own good-bye in the same packet. */
  sayLast(now: number, text: string): void {
    this.#primary?.write(now, terminated(text), true)
  }

  /** Whatever it is, as the content of one TLS record. */
  sayRaw(now: number, bytes: Uint8Array): void {
    this.#primary?.write(now, bytes)
  }

  /** A well-wrapped packet of the server's choice. */
  forge(packet: Omit<ControlPacket, "sessionId" | "peerSessionId"> & Partial<ControlPacket>): void {
    const wrap = this.#wrapOf(packet.keyId ?? 0)
    this.#outgoing.push(wrap.wrap({ sessionId: this.sessionId, peerSessionId: this.#clientId, ...packet }))
  }

  #wrapOptions(): WrapOptions {
    const { wrapping, auth } = this.#options
    return { wrapping: turned(wrapping), auth, role: "server", unixTime: 0x65000000 }
  }

  #wrapOf(keyId: number): Wrap {
    return keyId === 0 ? this.#wrap : (this.#laterWrap ?? this.#wrap)
  }

  #accept(now: number, packet: ControlPacket): void {
    const hardReset = packet.opcode === Opcode.HardResetClientV2 || packet.opcode === Opcode.HardResetClientV3
    if (hardReset && this.#clientId === undefined) {
      this.#clientId = packet.sessionId.slice()
      this.#newState(now, 0, Opcode.HardResetServerV2)
    }
    if (
      packet.opcode === Opcode.SoftResetV1 &&
      this.#primary?.active &&
      packet.keyId === nextKeyId(this.#primary.keyId)
    )
      this.#newState(now, packet.keyId, Opcode.SoftResetV1)
    const state = this.#states.get(packet.keyId)
    if (state === undefined) {
      this.drops.push("keyId")
      return
    }
    state.receive(now, packet)
  }

  #newState(now: number, keyId: number, reset: Opcode): ServerKeyState {
    const state = new ServerKeyState(now, keyId, reset, this.#options, {
      transmit: (packet) => this.forge({ ...packet, keyId }),
      tlsFailed: (message) => this.tlsFailures.push(message),
      introduced: (message) => this.introductions.push(message),
      message: (text) => this.#message(now, state, text),
      activated: (at) => this.#activated(at, state),
    })
    this.#everyState.push(state)
    // Primary and lame duck, no more.
    for (const other of this.#states.keys()) if (other !== this.#primary?.keyId) this.#states.delete(other)
    this.#states.set(keyId, state)
    this.#primary = state
    return state
  }

  #message(now: number, state: ServerKeyState, text: string): void {
    this.messages.push(text)
    if (text === "PUSH_REQUEST" && this.#options.stop !== "beforePush") this.#push(now, state)
  }

  #activated(now: number, state: ServerKeyState): void {
    const { peerId } = this.#options
    this.#exportedPeerId ??= peerId === "exported" ? state.exportPeerId() : undefined
    const ids = { clientSessionId: this.#clientId ?? empty, serverSessionId: this.sessionId }
    this.keys.set(state.keyId, state.dataKey(ids, peerId === "exported" ? this.#exportedPeerId : peerId))
    if (state.keyId === 0 && this.#options.dynamicWrap === true)
      this.#laterWrap = makeDynamicWrap(this.#options.crypto, this.#wrapOptions(), state.exportKey(dynamicWrapLabel))
    if (state.keyId === 0 && this.#options.unasked && this.#options.stop !== "beforePush") this.#push(now, state)
  }

  #push(now: number, state: ServerKeyState): void {
    if (this.#pushed) return
    this.#pushed = true
    for (const message of this.#options.push) state.write(now, terminated(message))
  }
}

interface Callbacks {
  transmit(packet: Omit<ControlPacket, "sessionId" | "peerSessionId" | "keyId">): void
  tlsFailed(message: string): void
  introduced(message: KeyMethod2): void
  message(text: string): void
  activated(now: number): void
}

class ServerKeyState {
  readonly keyId: number
  /** Keys are there: everything of the exchange was acknowledged. */
  active = false
  readonly #options: ServerOptions
  readonly #callbacks: Callbacks
  readonly #sender = new ReliableSender(2000)
  readonly #receiver = new ReliableReceiver()
  readonly #text = new ControlText()
  #tls: TlsConnection | undefined
  #ciphertext: Uint8Array = empty
  #clientSource: KeySource | undefined
  #source: KeySource | undefined

  constructor(now: number, keyId: number, reset: Opcode, options: ServerOptions, callbacks: Callbacks) {
    this.keyId = keyId
    this.#options = options
    this.#callbacks = callbacks
    const asks = options.cookie === true && reset === Opcode.HardResetServerV2
    this.#sender.queue(now, reset, asks ? resendWrappedKey : empty)
  }

  get nextRetransmit(): number | undefined {
    return this.#sender.nextDue
  }

  receive(now: number, packet: ControlPacket): void {
    this.#sender.acknowledge(packet.acks)
    if (packet.messageId !== undefined)
      this.#receiver.offer({ id: packet.messageId, opcode: packet.opcode, payload: packet.payload.slice() })
    for (let message = this.#receiver.next(); message !== undefined; message = this.#receiver.next()) {
      if (message.id === 0) this.#sender.expedite(now)
      else if (this.#options.stop !== "beforeTls") this.#feed(now, message.payload)
    }
    this.flush(now)
    if (this.active || this.#source === undefined || !this.#sender.isIdle || this.#ciphertext.length > 0) return
    this.active = true
    this.#callbacks.activated(now)
    this.flush(now)
  }

  free(): void {
    this.#tls?.free()
  }

  exportKey(label: string): Uint8Array {
    return this.#tls!.exportKey(label, keyBlockLength)
  }

  write(now: number, plaintext: Uint8Array, isLast = false): void {
    this.#tls?.write(plaintext)
    if (isLast) this.#tls?.close()
    this.flush(now)
  }

  dataKey(ids: Pick<PrfInput, "clientSessionId" | "serverSessionId">, peerId: number | undefined): DataKey {
    const { crypto, derivation, cipher, epoch = false, compression } = this.#options
    const client = this.#clientSource!
    const server = this.#source!
    const block =
      derivation === "tls-ekm"
        ? this.#tls!.exportKey(exporterLabel, keyBlockLength)
        : prfKeyBlock(crypto, { client, server, ...ids })
    const digest = isCbc(cipher) ? this.#options.auth : undefined
    return sliceKeyBlock(block, { keyId: this.keyId, cipher, peerId, digest, epoch, compression })!
  }

  exportPeerId(): number {
    const bytes = this.#tls!.exportKey("EXPORTER-OpenVPN-p2p-peerid", 3)
    return (bytes[0]! << 16) | (bytes[1]! << 8) | bytes[2]!
  }

  flush(now: number): void {
    const ciphertext = this.#tls?.pull()
    if (ciphertext !== undefined) this.#ciphertext = concat(this.#ciphertext, ciphertext)
    if (this.#options.stop === "duringTls") this.#ciphertext = this.#ciphertext.subarray(0, 100)
    while (this.#ciphertext.length > 0 && this.#sender.hasRoom) {
      this.#sender.queue(now, Opcode.ControlV1, this.#ciphertext.subarray(0, this.#options.payload))
      this.#ciphertext = this.#ciphertext.slice(this.#options.payload)
    }
    for (const { id, opcode, payload } of this.#sender.take(now))
      this.#callbacks.transmit({ opcode, acks: this.#receiver.takeAcks(4), messageId: id, payload })
    while (this.#receiver.hasPendingAcks)
      this.#callbacks.transmit({
        opcode: Opcode.AckV1,
        acks: this.#receiver.takeAcks(8),
        messageId: undefined,
        payload: empty,
      })
  }

  #feed(now: number, ciphertext: Uint8Array): void {
    this.#tls ??= this.#options.accept()
    this.#tls.feed(ciphertext)
    if (this.#tls.state.tag === "failed") this.#callbacks.tlsFailed(this.#tls.state.message)
    for (let plaintext = this.#tls.read(); plaintext !== undefined; plaintext = this.#tls.read()) {
      if (this.#clientSource === undefined) this.#answer(plaintext)
      else for (const text of this.#text.push(plaintext).messages) this.#callbacks.message(text)
    }
    this.flush(now)
  }

  #answer(plaintext: Uint8Array): void {
    const { message } = Result.getOrThrow(parseKeyMethod2(plaintext, "client"))
    this.#callbacks.introduced(message)
    this.#clientSource = message.source
    this.#source = newKeySource(this.#options.random, "server")
    const answer = {
      source: this.#source,
      options: this.#options.optionsString,
      username: "",
      password: "",
      peerInfo: this.#options.peerInfo ?? "",
    }
    this.#tls!.write(Result.getOrThrow(buildKeyMethod2(answer)))
    if (this.keyId >= (this.#options.hangUpAfterExchange ?? Number.POSITIVE_INFINITY)) this.#tls!.close()
  }
}

/** EARLY_NEG_FLAGS with RESEND_WKC. */
const resendWrappedKey = Uint8Array.of(0, 1, 0, 2, 0, 1)

const nextKeyId = (keyId: number): number => (keyId === 7 ? 1 : keyId + 1)

const turned = (wrapping: ControlWrapping): ControlWrapping => {
  if (wrapping._tag !== "TlsAuth" || wrapping.direction === undefined) return wrapping
  return { ...wrapping, key: Redacted.make(Redacted.value(wrapping.key)), direction: wrapping.direction === 0 ? 1 : 0 }
}
