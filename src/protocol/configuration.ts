/**
 * What the data channel and the host's network will be: asked of the server after the first key exchange, collected, agreed, and
 * changed later (PUSH_UPDATE). Without `pull` the two sides settle it by what they said in the key exchange.
 */
import * as Result from "effect/Result"
import { type Pushed, readPush } from "../config/index.ts"
import { encodeClientMessage } from "./control.ts"
import type { KeyState } from "./keystate.ts"
import { type DataChannel, negotiate, negotiateP2p, refusePush } from "./negotiate.ts"
import type { CloseReason, Output } from "./output.ts"
import type { Instant } from "./ports.ts"
import { Pull } from "./pull.ts"
import { PushedOptions } from "./pushed.ts"
import { closeReason } from "./reasons.ts"
import type { SessionOptions } from "./sessionoptions.ts"

/** What follows for the session. */
export interface ConfigurationCalls {
  readonly emit: (output: Output) => void
  readonly notice: (level: "debug" | "warn", event: string, message: string) => void
  /** A control message. */
  readonly send: (now: Instant, text: string) => void
  /** The keys of this key state may be made. Once. */
  readonly agreed: (state: KeyState, data: DataChannel) => void
  readonly close: (reason: CloseReason) => void
}

export class Configuration {
  readonly #options: SessionOptions
  readonly #calls: ConfigurationCalls
  /** Between the first key exchange and the last part of the PUSH_REPLY. */
  #waiting: { readonly pull: Pull; readonly state: KeyState } | undefined
  /** Agreed once; later keys keep to it. */
  #data: DataChannel | undefined
  #exitNotify: number | undefined
  /** What the server pushed, for it to change. */
  #pushed: PushedOptions | undefined
  /** The server waits for the answer to a question. */
  #isAsked = false

  constructor(options: SessionOptions, calls: ConfigurationCalls) {
    this.#options = options
    this.#calls = calls
    this.#exitNotify = options.explicitExitNotify
  }

  get data(): DataChannel | undefined {
    return this.#data
  }

  /** How to announce the exit: with EXIT on the control channel, with OCC_EXIT on the data channel, or not at all. */
  get exitNotification(): "control" | "data" | "none" {
    if (this.#data === undefined || this.#exitNotify === undefined || this.#exitNotify === 0) return "none"
    if (this.#data.exitOnControl) return "control"
    return this.#options.transport === "udp" ? "data" : "none"
  }

  /** The first key exchange is over. */
  exchanged(now: Instant, state: KeyState): void {
    if (this.#options.pull) this.#waiting = { pull: new Pull(now, this.#options.timers), state }
    else this.#settle(state)
  }

  /** Nothing is waited for any more. */
  end(): void {
    this.#waiting = undefined
  }

  timeout(now: Instant, lastReceive: Instant | undefined): void {
    const pull = this.#waiting?.pull
    if (pull === undefined) return
    if (now >= pull.deadline(lastReceive)) {
      this.#calls.close(closeReason.noPushReply())
      return
    }
    if (now < pull.requestAt) return
    pull.requested(now)
    this.#calls.send(now, encodeClientMessage({ type: "pushRequest" }))
    this.#answer(now)
  }

  timers(
    lastReceive: Instant | undefined,
  ): ReadonlyArray<{ readonly at: Instant; readonly reason: "pushRequest" | "pushReply" }> {
    if (this.#waiting === undefined) return []
    const { pull } = this.#waiting
    return [
      { at: pull.requestAt, reason: "pushRequest" },
      { at: pull.deadline(lastReceive), reason: "pushReply" },
    ]
  }

  /** A request went out of turn. */
  requested(now: Instant): void {
    this.#waiting?.pull.requested(now)
  }

  authPending(timeoutSeconds: number | undefined): void {
    this.#waiting?.pull.authPending(timeoutSeconds)
  }

  /** The server asked something; `answer`: it waits for the code. */
  asked(now: Instant, answer: boolean): void {
    this.#isAsked = answer
    this.#answer(now)
  }

  pushReply(options: string, more: boolean): void {
    if (this.#waiting === undefined) {
      this.#adoptToken(readPush([options], this.#options.pushPolicy).pushed)
      this.#calls.notice("debug", "push-repeated", "the server pushed again; but for a token the first push stays")
      return
    }
    const { pull, state } = this.#waiting
    const parts = pull.add(options, more)
    if (parts === "incomplete" || state.phase !== "exchanged") return
    if (parts === "tooLong") {
      this.#calls.close(closeReason.pushRefused("the server pushed more than 256 KiB of options"))
      return
    }
    this.#waiting = undefined
    this.#configure(state, parts)
  }

  pushUpdate(options: string, more: boolean): void {
    const updated = this.#pushed?.update(options, more) ?? "incomplete"
    if (updated === "incomplete") return
    if (updated === "tooLong") {
      this.#calls.close(closeReason.pushRefused("the server pushed more than 256 KiB of changes"))
      return
    }
    if (updated.restart !== undefined) {
      this.#calls.close(closeReason.serverRestart(updated.restart, false))
      return
    }
    const { pushed, notes } = readPush(updated.options, this.#options.pushPolicy)
    const refusal = refusePush(pushed)
    if (refusal !== undefined) {
      this.#calls.close(closeReason.pushRefused(refusal))
      return
    }
    this.#noteSkipped([...updated.notes, ...notes])
    this.#exitNotify = this.#options.explicitExitNotify ?? pushed.explicitExitNotify
    this.#calls.emit({ type: "pushUpdated", options: pushed })
  }

  /** Answers the server's question as soon as a code is there: a person may have to fetch it first. */
  #answer(now: Instant): void {
    const code = this.#isAsked ? this.#options.login.answer() : undefined
    if (code === undefined) return
    this.#isAsked = false
    this.#calls.send(now, encodeClientMessage({ type: "challengeResponse", text: code }))
  }

  /** Without `pull`. */
  #settle(state: KeyState): void {
    const exportKey = (label: string, length: number) => state.exportKey(label, length)
    const data = negotiateP2p(state.remotePeerInfo, state.remoteOptions ?? "", this.#options, exportKey)
    if (Result.isFailure(data)) this.#calls.close(closeReason.pushRefused(data.failure))
    else this.#agree(state, data.success)
  }

  #configure(state: KeyState, parts: ReadonlyArray<string>): void {
    const { pushed, notes, rejected } = readPush(parts, this.#options.pushPolicy)
    if (rejected !== undefined) {
      this.#calls.close(closeReason.pushRefused(`pull-filter rejects "${rejected}"`))
      return
    }
    const data = negotiate(pushed, state.remoteOptions ?? "", this.#options)
    if (Result.isFailure(data)) {
      this.#calls.close(closeReason.pushRefused(data.failure))
      return
    }
    this.#noteSkipped(notes)
    this.#options.login.accepted()
    this.#adoptToken(pushed)
    this.#pushed = new PushedOptions(parts, this.#options.pushPolicy)
    this.#exitNotify = this.#options.explicitExitNotify ?? pushed.explicitExitNotify
    this.#calls.emit({ type: "pushed", options: pushed })
    this.#agree(state, data.success)
  }

  #agree(state: KeyState, data: DataChannel): void {
    this.#data = data
    this.#calls.agreed(state, data)
  }

  #adoptToken({ authToken, authTokenUser }: Pushed): void {
    if (authToken !== undefined) this.#options.login.adopt(authToken, authTokenUser)
  }

  #noteSkipped(notes: ReadonlyArray<string>): void {
    if (notes.length > 0) this.#calls.notice("warn", "push-options-skipped", notes.join("; ").slice(0, 1024))
  }
}
