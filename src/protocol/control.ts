/**
 * Control messages: NUL-terminated text over TLS, recognised by prefix. The stream may cut them anywhere.
 */
import { maxPlaintextLength } from "./keymethod2.ts"

/** Splits plaintext into messages. Keeps at most 2048 bytes of an unfinished one; more makes it vanish up to its NUL. */
export class ControlText {
  #unfinished = ""
  #skipping = false

  /**
   * The messages that `plaintext` completes, without NUL and trailing CR/LF. Empty ones, and those with characters that are
   * not printable ASCII (they could forge log lines: CVE-2024-5594), are left out and counted in `refused`.
   */
  push(plaintext: Uint8Array): { readonly messages: ReadonlyArray<string>; readonly refused: number } {
    const messages: Array<string> = []
    let refused = 0
    const pieces = latin1.decode(plaintext).split("\0")
    pieces.forEach((piece, index) => {
      const terminated = index < pieces.length - 1
      if (!this.#skipping) this.#unfinished += piece
      if (this.#unfinished.length > maxPlaintextLength) {
        this.#unfinished = ""
        this.#skipping = true
        refused++
      }
      if (!terminated) return
      const message = this.#unfinished.replace(/[\r\n]+$/, "")
      if (!this.#skipping && message !== "") {
        if (/^[\x20-\x7e]*$/.test(message)) messages.push(message)
        else refused++
      }
      this.#unfinished = ""
      this.#skipping = false
    })
    return { messages, refused }
  }
}

export type ServerMessage =
  | { readonly type: "pushReply"; readonly options: string; readonly more: boolean }
  | { readonly type: "authFailed"; readonly failure: AuthFailure }
  | { readonly type: "authPending"; readonly timeoutSeconds: number | undefined }
  | { readonly type: "info"; readonly text: string }
  /** SIGUSR1 in OpenVPN's terms: start anew; `advance` with the next remote. */
  | { readonly type: "restart"; readonly text: string; readonly advance: boolean }
  | { readonly type: "halt"; readonly text: string }
  | { readonly type: "exit" }
  /** Only the word that names it, since the rest may be anything. */
  | { readonly type: "unknown"; readonly name: string }

export interface AuthFailure {
  readonly temporary: boolean
  /** The least time to wait before the next attempt. */
  readonly backoffSeconds: number | undefined
  readonly advance: "no" | "remote" | "addr"
  /** The server's own words; "" when it gave none. */
  readonly reason: string
}

/** Recognises by prefix, as OpenVPN does: the name, then the end or a comma. */
export const parseServerMessage = (message: string): ServerMessage => {
  const comma = message.indexOf(",")
  const name = comma < 0 ? message : message.slice(0, comma)
  const rest = comma < 0 ? "" : message.slice(comma + 1)
  switch (name) {
    case "PUSH_REPLY":
      return pushReply(rest)
    case "AUTH_FAILED":
      return { type: "authFailed", failure: authFailure(rest) }
    case "AUTH_PENDING":
      return { type: "authPending", timeoutSeconds: keywordNumber(rest, "timeout") }
    case "INFO":
    case "INFO_PRE":
      return { type: "info", text: rest }
    case "RESTART": {
      const { flags, text } = flagged(rest)
      return { type: "restart", text, advance: flags.includes("N") }
    }
    case "HALT":
      return { type: "halt", text: flagged(rest).text }
    case "EXIT":
      return { type: "exit" }
    default:
      return { type: "unknown", name: name.slice(0, 32) }
  }
}

export type ClientMessage =
  | { readonly type: "pushRequest" }
  /** The answer to a `CR_TEXT` challenge. */
  | { readonly type: "challengeResponse"; readonly text: string }

export const encodeClientMessage = (message: ClientMessage | { readonly type: "exit" }): string => {
  switch (message.type) {
    case "pushRequest":
      return "PUSH_REQUEST"
    case "challengeResponse":
      return `CR_RESPONSE,${base64(message.text)}`
    case "exit":
      return "EXIT"
  }
}

/** A message with its NUL, as it is written to TLS. */
export const terminated = (message: string): Uint8Array => new TextEncoder().encode(`${message}\0`)

/** `push-continuation 2`, always last, announces another part; `push-continuation 1` is in the final one. */
const pushReply = (rest: string): ServerMessage => {
  const continuation = /(?:^|,)push-continuation ([12])$/.exec(rest)
  const options = continuation === null ? rest : rest.slice(0, continuation.index)
  return { type: "pushReply", options, more: continuation?.[1] === "2" }
}

/** `TEMP[backoff 42,advance no]:text`, bracket and text optional; anything else is the reason of a lasting refusal. */
const authFailure = (rest: string): AuthFailure => {
  const temporary = /^TEMP(?:\[([^\]]*)\])?:?(.*)$/.exec(rest)
  if (temporary === null)
    return { temporary: false, backoffSeconds: undefined, advance: "no", reason: withoutChallengeState(rest) }
  const keywords = temporary[1] ?? ""
  const advance = /(?:^|,) *advance (no|remote|addr) *(?:,|$)/.exec(keywords)?.[1] as AuthFailure["advance"] | undefined
  return {
    temporary: true,
    backoffSeconds: keywordNumber(keywords, "backoff"),
    advance: advance ?? "no",
    reason: temporary[2] ?? "",
  }
}

/** A dynamic challenge (`CRV1:flags:state:username:text`) carries state and user name: only its text is for people. */
const withoutChallengeState = (reason: string): string => /^CRV1:[^:]*:[^:]*:[^:]*:(.*)$/.exec(reason)?.[1] ?? reason

/** `[flags]text`, brackets optional. */
const flagged = (rest: string): { flags: string; text: string } => {
  const match = /^\[([^\]]*)\](.*)$/.exec(rest)
  return match === null ? { flags: "", text: rest } : { flags: match[1]!, text: match[2]! }
}

const keywordNumber = (keywords: string, name: string): number | undefined => {
  for (const keyword of keywords.split(",")) {
    const [word, value] = keyword.trim().split(/ +/)
    if (word === name && value !== undefined && /^\d{1,9}$/.test(value)) return Number(value)
  }
  return undefined
}

const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)))

const latin1 = new TextDecoder("latin1")
