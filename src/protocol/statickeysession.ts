/**
 * A connection with one static key (`secret`): no handshake and no control channel, so the key of both directions is there at
 * once and stays. Nothing is known of the peer until a packet of it proves authentic. It is asked for one with an OCC message, a
 * data packet that begins with a magic number; OpenVPN answers with its options string.
 *
 * Who has the key can read everything that was ever sent with it: there is no forward secrecy.
 */
import * as Redacted from "effect/Redacted"
import type { Remote, StaticKeyProfile } from "../config/profile.ts"
import { concat, sameBytes } from "./bytes.ts"
import { ownFraming } from "./compression.ts"
import type { SessionContract } from "./contract.ts"
import { OCC_MAGIC, OCC_REPLY, OCC_REQUEST } from "./datachannel.ts"
import { sliceKeyBlock } from "./keys.ts"
import { withFragments } from "./mtu.ts"
import { differingOptions, staticKeyOptionsString } from "./options.ts"
import type { CloseReason, DataKey, Output } from "./output.ts"
import type { Instant } from "./ports.ts"
import { closeReason } from "./reasons.ts"
import { keySlots } from "./statickey.ts"

export interface StaticKeyOptions {
  readonly remote: Pick<
    Remote,
    "transport" | "tunMtu" | "occMtu" | "fragment" | "connectTimeout" | "explicitExitNotify"
  >
  readonly outerFamily: "ipv4" | "ipv6"
  readonly profile: Pick<StaticKeyProfile, "device" | "staticKey" | "cipher" | "auth" | "compression" | "network">
  /** Unix milliseconds, later than of any session with this key before: the peer takes nothing that is older. */
  readonly unixTime: number
}

export class StaticKeySession implements SessionContract {
  readonly #options: StaticKeyOptions
  readonly #outputs: Array<Output> = []
  #state: "idle" | "asking" | "heard" | "closed" = "idle"
  #startedAt: Instant = 0
  #askAt: Instant = 0
  #askInterval = firstInterval
  /** The peer's options were compared: said once, however often it repeats them. */
  #isCompared = false

  constructor(options: StaticKeyOptions) {
    this.#options = options
  }

  start(now: Instant): void {
    if (this.#state !== "idle") return
    const key = staticDataKey(this.#options)
    if (key === undefined) {
      this.#close(closeReason.keyUnusable("the static key is zero"))
      return
    }
    this.#state = "asking"
    this.#startedAt = now
    this.#notice("warn", "static-key", "a static key has no forward secrecy: whoever gets it can read all past traffic")
    this.#outputs.push({ type: "installKey", key, tls: undefined }, { type: "useKey", keyId: 0 })
    this.#ask(now)
  }

  /** There are no control packets. */
  receive(): boolean {
    return false
  }

  occ(_now: Instant, message: Uint8Array): void {
    if (this.#state === "closed" || !sameBytes(message.subarray(0, OCC_MAGIC.length), OCC_MAGIC)) return
    const rest = message.subarray(OCC_MAGIC.length + 1)
    switch (message[OCC_MAGIC.length]) {
      case OCC_REQUEST:
        this.#send(OCC_REPLY, new TextEncoder().encode(`${staticKeyOptionsString(this.#options, "ours")}\0`))
        return
      case OCC_REPLY:
        this.#compare(new TextDecoder("latin1").decode(rest).split("\0")[0]!)
    }
  }

  timeout(now: Instant): void {
    if (this.#state !== "asking") return
    if (now >= this.#deadline) this.#close(closeReason.notHeard(this.#options.remote.connectTimeout))
    else if (now >= this.#askAt) this.#ask(now)
  }

  /** There is no other key. */
  renegotiate(): void {}

  peerUsesKey(): void {
    if (this.#state !== "asking") return
    this.#state = "heard"
    this.#outputs.push({ type: "peerHeard" })
  }

  close(): void {
    this.#close(closeReason.requested())
  }

  poll(): Output | undefined {
    return this.#outputs.shift()
  }

  nextTimeout(): { readonly at: Instant; readonly reason: "ask" | "answer" } | undefined {
    if (this.#state !== "asking") return undefined
    const answer = this.#deadline
    return answer <= this.#askAt ? { at: answer, reason: "answer" } : { at: this.#askAt, reason: "ask" }
  }

  readonly lastReceive = undefined

  get exitNotification(): "data" | "none" {
    const { explicitExitNotify = 0, transport } = this.#options.remote
    return this.#state === "heard" && explicitExitNotify > 0 && transport === "udp" ? "data" : "none"
  }

  get #deadline(): Instant {
    return this.#startedAt + this.#options.remote.connectTimeout * 1000
  }

  #ask(now: Instant): void {
    this.#send(OCC_REQUEST)
    this.#askAt = now + this.#askInterval
    this.#askInterval = Math.min(2 * this.#askInterval, longestInterval)
  }

  #send(kind: number, content: Uint8Array = new Uint8Array(0)): void {
    this.#outputs.push({ type: "occ", message: concat(OCC_MAGIC, Uint8Array.of(kind), content) })
  }

  #compare(theirs: string): void {
    if (this.#isCompared) return
    this.#isCompared = true
    const differing = differingOptions(staticKeyOptionsString(this.#options, "theirs"), theirs)
    if (differing.length === 0) return
    const printable = differing.join("; ").replace(/[^\x20-\x7e]/g, "_")
    this.#notice("warn", "peer-options-differ", `the peer's options do not match: ${printable.slice(0, 512)}`)
  }

  #notice(level: "warn", event: string, message: string): void {
    this.#outputs.push({ type: "notice", level, event, message })
  }

  #close(reason: CloseReason): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#outputs.push({ type: "closed", reason })
  }
}

/** Undefined: a key of nothing but zeros. */
const staticDataKey = ({ remote, outerFamily, profile, unixTime }: StaticKeyOptions): DataKey | undefined => {
  const { staticKey, cipher, auth } = profile
  const { send, receive } = keySlots(Redacted.value(staticKey.key), staticKey.direction)
  const block = concat(send.cipher, send.hmac, receive.cipher, receive.hmac)
  const compression = ownFraming(profile.compression)
  const key = sliceKeyBlock(block, { keyId: 0, cipher, digest: auth, peerId: undefined, compression })
  return key && withFragments({ ...key, staticKey: beginningAt(unixTime) }, remote.fragment, outerFamily)
}

/**
 * The time of packets counts in seconds; what is left of it goes into the first id, so that whoever starts twice within a second
 * is not taken for a replay, unless it sent a million packets a second before.
 */
const beginningAt = (milliseconds: number): NonNullable<DataKey["staticKey"]> => ({
  unixTime: Math.floor(milliseconds / 1000),
  firstPacketId: 1 + (milliseconds % 1000) * 1000,
})

/** ms between two questions: OpenVPN asks every ten seconds. */
const firstInterval = 1000
const longestInterval = 10_000
