/**
 * The reliability layer of one key state: numbered messages, acknowledged, retransmitted, delivered in order.
 * Message ids start at 0 with the reset packet. Pure bookkeeping: it neither builds nor sees packets.
 */
import type { Opcode } from "./opcode.ts"
import type { Instant } from "./ports.ts"

/** At most this many messages are sent and not yet acknowledged. */
export const sendWindow = 6

/** Message ids this far from the expected one are kept until the gap is filled. */
export const receiveWindow = 12

export interface Message {
  readonly id: number
  readonly opcode: Opcode
  readonly payload: Uint8Array
}

interface Outstanding extends Message {
  dueAt: Instant
  /** Milliseconds until the next retransmission; doubles each time. */
  interval: number
  /** Later messages that were acknowledged since the last transmission. */
  laterAcks: number
}

/** Sending half. The first retransmission comes after `interval` ms (`tls-timeout`), the next after twice that, and so on. */
export class ReliableSender {
  readonly #interval: number
  /** In order of their ids. */
  #outstanding: Array<Outstanding> = []
  #nextId = 0

  constructor(interval: number) {
    this.#interval = interval
  }

  /** Whether `queue` may be called: the oldest unacknowledged message is less than a window away. */
  get hasRoom(): boolean {
    const oldest = this.#outstanding[0]
    return oldest === undefined || this.#nextId - oldest.id < sendWindow
  }

  /** Whether everything that was sent is acknowledged. */
  get isIdle(): boolean {
    return this.#outstanding.length === 0
  }

  get nextDue(): Instant | undefined {
    if (this.isIdle) return undefined
    return Math.min(...this.#outstanding.map((message) => message.dueAt))
  }

  /** Takes a message on; it is due at once. */
  queue(now: Instant, opcode: Opcode, payload: Uint8Array): void {
    const id = this.#nextId++
    this.#outstanding.push({ id, opcode, payload, dueAt: now, interval: this.#interval, laterAcks: 0 })
  }

  /**
   * The messages to transmit now, which count as transmitted. A message that three later ones overtook goes at once,
   * without a doubling of its interval.
   */
  take(now: Instant): ReadonlyArray<Message> {
    const due = this.#outstanding.filter((message) => message.dueAt <= now || message.laterAcks >= fastRetransmitAfter)
    for (const message of due) {
      message.dueAt = now + message.interval
      if (message.laterAcks < fastRetransmitAfter) message.interval *= 2
      message.laterAcks = 0
    }
    return due
  }

  /** Ids that are not outstanding (repeated or invented acknowledgements) have no effect. */
  acknowledge(ids: ReadonlyArray<number>): void {
    for (const id of ids) {
      const index = this.#outstanding.findIndex((message) => message.id === id)
      if (index < 0) continue
      this.#outstanding.splice(index, 1)
      for (const earlier of this.#outstanding.slice(0, index)) earlier.laterAcks++
    }
  }

  /** Makes everything due: the peer has just shown that it is there. */
  expedite(now: Instant): void {
    for (const message of this.#outstanding) message.dueAt = now
  }
}

/** Receiving half: acknowledgements to send, and messages in order. Memory: at most `receiveWindow` messages. */
export class ReliableReceiver {
  #expected = 0
  #early = new Map<number, Message>()
  /** Not yet acknowledged. */
  #pending: Array<number> = []
  /** Acknowledged before, newest first; repeated where there is room, since an acknowledgement may be lost. */
  #recent: Array<number> = []

  get hasPendingAcks(): boolean {
    return this.#pending.length > 0
  }

  /** "outside" is not acknowledged; "duplicate" is acknowledged again. */
  offer(message: Message): "accepted" | "duplicate" | "outside" {
    if (message.id >= this.#expected + receiveWindow) return "outside"
    if (!this.#pending.includes(message.id)) this.#pending.push(message.id)
    if (message.id < this.#expected || this.#early.has(message.id)) return "duplicate"
    this.#early.set(message.id, message)
    return "accepted"
  }

  /** The next message in order, if it is there. */
  next(): Message | undefined {
    const message = this.#early.get(this.#expected)
    if (message === undefined) return undefined
    this.#early.delete(this.#expected)
    this.#expected++
    return message
  }

  /** Up to `limit` acknowledgements for one packet: pending ones first, then recent ones again. */
  takeAcks(limit: number): ReadonlyArray<number> {
    const fresh = this.#pending.splice(0, limit)
    const repeated = this.#recent.filter((id) => !fresh.includes(id))
    this.#recent = [...fresh.toReversed(), ...repeated].slice(0, recentAcks)
    return [...fresh, ...repeated].slice(0, limit)
  }
}

const fastRetransmitAfter = 3
const recentAcks = 8
