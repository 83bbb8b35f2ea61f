/**
 * The live keys of a session: at most two, the newest and the one before it (OpenVPN's "lame duck"). Decides which one sends
 * and when the older one goes; receiving works with either.
 *
 * The newest key begins to send when the peer surely has it, so that no packet is lost. The server makes its keys when our
 * acknowledgement of its last message arrives, and answers nothing to it. So we wait until whichever comes first:
 *
 * - The peer sends with it itself (`confirm`): the only proof there is.
 * - The peer acknowledged everything and then stayed silent for so long that two retransmissions of its last message are
 *   overdue: had our acknowledgement been lost, it would have come again. They follow after 2, 6, 14, 30 s (`tls-timeout`,
 *   doubling), so the silence needed is 3.5 `tls-timeout` plus three times what the retransmissions until now took.
 * - The peer began this negotiation, and half as long has passed as lay between its beginning and that of the one before. The
 *   peer may begin the next one so soon, and forgets the older key in that moment, with our packets under it still on their way.
 * - min(hand-window, reneg-sec / 2) since the negotiation began, as OpenVPN waits: by then the peer has the keys or gave up.
 * - The next negotiation begins: the peer only agrees to it with the keys in place, and forgets the older ones.
 * - The older key expires.
 */
import type { KeyState } from "./keystate.ts"
import type { DataKey, Output, TlsFacts } from "./output.ts"
import type { Instant } from "./ports.ts"
import type { SessionTimers } from "./sessionoptions.ts"

interface LiveKey {
  readonly state: KeyState
  /** When the peer's last message of the key exchange arrived. */
  readonly since: Instant
  /** Set when the first negotiation of a successor began: `tran-window` after it. */
  expiresAt: Instant | undefined
}

export class Keyring {
  readonly #timers: SessionTimers
  readonly #emit: (output: Output) => void
  #newest: LiveKey | undefined
  #older: LiveKey | undefined
  #sending: number | undefined

  constructor(timers: SessionTimers, emit: (output: Output) => void) {
    this.#timers = timers
    this.#emit = emit
  }

  /** The key state to send control messages on. */
  get newest(): KeyState | undefined {
    return this.#newest?.state
  }

  get states(): ReadonlyArray<KeyState> {
    return [this.#newest, this.#older].flatMap((key) => (key === undefined ? [] : [key.state]))
  }

  /** A key that is ready at once for receiving. The first one also sends at once. */
  install(state: KeyState, key: DataKey, tls: TlsFacts): void {
    this.#useNewest()
    this.#retireOlder()
    this.#older = this.#newest
    this.#newest = { state, since: state.lastReceive ?? state.startedAt, expiresAt: undefined }
    this.#emit({ type: "installKey", key, tls })
    if (this.#older === undefined) this.#useNewest()
  }

  /** A packet of the peer under this key was authenticated. */
  confirm(keyId: number): void {
    if (this.#newest?.state.keyId === keyId) this.#useNewest()
  }

  /** A successor of the newest key is being negotiated. */
  negotiationStarted(now: Instant): void {
    this.#useNewest()
    if (this.#newest !== undefined) this.#newest.expiresAt ??= now + this.#timers.tranWindow * 1000
  }

  timeout(now: Instant): void {
    const switchAt = this.#switchAt()
    if (switchAt !== undefined && now >= switchAt) this.#useNewest()
    if (hasExpired(this.#older, now)) this.#retireOlder()
    if (hasExpired(this.#newest, now)) {
      this.#retire(this.#newest)
      this.#newest = undefined
      this.#sending = undefined
    }
  }

  nextTimeout(): { readonly at: Instant; readonly reason: "switchKey" | "retireKey" } | undefined {
    const switchAt = this.#switchAt()
    const expiries = [this.#older?.expiresAt, this.#newest?.expiresAt].filter((at) => at !== undefined)
    const retireAt = expiries.length > 0 ? Math.min(...expiries) : undefined
    if (switchAt !== undefined && (retireAt === undefined || switchAt <= retireAt))
      return { at: switchAt, reason: "switchKey" }
    return retireAt === undefined ? undefined : { at: retireAt, reason: "retireKey" }
  }

  /** Releases the key states without another word: the session ends. */
  free(): void {
    for (const state of this.states) state.free()
  }

  #switchAt(): Instant | undefined {
    if (this.#newest === undefined || this.#older === undefined || this.#newest.state.keyId === this.#sending)
      return undefined
    const { state, since } = this.#newest
    const { startedAt } = this.#older.state
    const { handWindow, renegSec, tlsTimeout } = this.#timers
    const certain = state.startedAt + Math.min(handWindow, renegSec > 0 ? renegSec / 2 : handWindow) * 1000
    const heard = state.lastReceive ?? since
    const silent = state.isSettled ? heard + 3 * (heard - since) + 3.5 * tlsTimeout * 1000 : certain
    const usual = state.isPeers && state.isSettled ? since + (state.startedAt - startedAt) / 2 : certain
    return Math.min(certain, silent, usual, this.#older.expiresAt ?? certain)
  }

  #useNewest(): void {
    if (this.#newest === undefined || this.#newest.state.keyId === this.#sending) return
    this.#sending = this.#newest.state.keyId
    this.#emit({ type: "useKey", keyId: this.#sending })
  }

  #retireOlder(): void {
    this.#useNewest()
    this.#retire(this.#older)
    this.#older = undefined
  }

  #retire(key: LiveKey | undefined): void {
    if (key === undefined) return
    key.state.free()
    this.#emit({ type: "retireKey", keyId: key.state.keyId })
  }
}

const hasExpired = (key: LiveKey | undefined, now: Instant): boolean =>
  key?.expiresAt !== undefined && now >= key.expiresAt
