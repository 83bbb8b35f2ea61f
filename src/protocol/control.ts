/**
 * Control messages: NUL-terminated text over TLS, recognised by prefix. The stream may cut them anywhere.
 */
import * as Redacted from "effect/Redacted"
import { decodeBase64 } from "../config/base64.ts"
import { maxPlaintextLength } from "./keymethod2.ts"
import { base64 } from "./login.ts"

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
  | { readonly type: "pushReply" | "pushUpdate"; readonly options: string; readonly more: boolean }
  | { readonly type: "authFailed"; readonly failure: AuthFailure }
  | { readonly type: "authPending"; readonly timeoutSeconds: number | undefined }
  | { readonly type: "info"; readonly text: string }
  /** `INFO_PRE,CR_TEXT:flags:text`: a question in mid-login. `answer`: flag R, the server waits for one. */
  | { readonly type: "question"; readonly text: string; readonly answer: boolean }
  /** SIGUSR1 in OpenVPN's terms: start anew; `advance`: with the next remote. `keepLogin`: the token stays good. */
  | { readonly type: "restart"; readonly text: string; readonly advance: boolean; readonly keepLogin: boolean }
  | { readonly type: "halt"; readonly text: string; readonly keepLogin: boolean }
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
  /** `CRV1:flags:state:username:text`, the username in base64: to be answered at the next login. */
  readonly challenge: { readonly username: string; readonly state: Redacted.Redacted<string> } | undefined
}

/** Recognises by prefix, as OpenVPN does: the name, then the end or a comma. */
export const parseServerMessage = (message: string): ServerMessage => {
  const comma = message.indexOf(",")
  const name = comma < 0 ? message : message.slice(0, comma)
  const rest = comma < 0 ? "" : message.slice(comma + 1)
  switch (name) {
    case "PUSH_REPLY":
      return pushOf("pushReply", rest)
    case "PUSH_UPDATE":
      return pushOf("pushUpdate", rest)
    case "AUTH_FAILED":
      return { type: "authFailed", failure: authFailure(rest) }
    case "AUTH_PENDING":
      return { type: "authPending", timeoutSeconds: keywordNumber(rest, "timeout") }
    case "INFO":
    case "INFO_PRE":
      return info(rest)
    case "RESTART": {
      const { flags, text } = flagged(rest)
      return { type: "restart", text, advance: flags.includes("N"), keepLogin: flags.includes("P") }
    }
    case "HALT": {
      const { flags, text } = flagged(rest)
      return { type: "halt", text, keepLogin: flags.includes("P") }
    }
    case "EXIT":
      return { type: "exit" }
    default:
      return { type: "unknown", name: name.slice(0, 32) }
  }
}

export type ClientMessage =
  | { readonly type: "pushRequest" }
  /** The answer to a `CR_TEXT` challenge. */
  | { readonly type: "challengeResponse"; readonly text: Redacted.Redacted<string> }

export const encodeClientMessage = (message: ClientMessage | { readonly type: "exit" }): string => {
  switch (message.type) {
    case "pushRequest":
      return "PUSH_REQUEST"
    case "challengeResponse":
      return `CR_RESPONSE,${base64(Redacted.value(message.text))}`
    case "exit":
      return "EXIT"
  }
}

/** A message with its NUL, as it is written to TLS. */
export const terminated = (message: string): Uint8Array => new TextEncoder().encode(`${message}\0`)

/** `push-continuation 2`, always last, announces another part; `push-continuation 1` is in the final one. */
const pushOf = (type: "pushReply" | "pushUpdate", rest: string): ServerMessage => {
  const continuation = /(?:^|,)push-continuation ([12])$/.exec(rest)
  const options = continuation === null ? rest : rest.slice(0, continuation.index)
  return { type, options, more: continuation?.[1] === "2" }
}

/** `TEMP[backoff 42,advance no]:text`, bracket and text optional; anything else is the reason of a lasting refusal. */
const authFailure = (rest: string): AuthFailure => {
  const temporary = /^TEMP(?:\[([^\]]*)\])?:?(.*)$/.exec(rest)
  if (temporary === null) return { temporary: false, backoffSeconds: undefined, advance: "no", ...challenged(rest) }
  const keywords = temporary[1] ?? ""
  const advance = /(?:^|,) *advance (no|remote|addr) *(?:,|$)/.exec(keywords)?.[1] as AuthFailure["advance"] | undefined
  return {
    temporary: true,
    backoffSeconds: keywordNumber(keywords, "backoff"),
    advance: advance ?? "no",
    reason: temporary[2] ?? "",
    challenge: undefined,
  }
}

/** A dynamic challenge carries state and user name: only its text is for people. */
const challenged = (rest: string): Pick<AuthFailure, "reason" | "challenge"> => {
  const [, state, encoded, text] = /^CRV1:[^:]*:([^:]*):([^:]*):(.*)$/.exec(rest) ?? []
  if (state === undefined || encoded === undefined || text === undefined)
    return { reason: rest.startsWith("CRV1:") ? "a challenge that cannot be read" : rest, challenge: undefined }
  const name = decodeBase64(encoded)
  return {
    reason: text,
    challenge: name && { username: new TextDecoder().decode(name), state: Redacted.make(state) },
  }
}

const info = (rest: string): ServerMessage => {
  const question = /^CR_TEXT:([^:]*):(.*)$/.exec(rest)
  if (question === null) return { type: "info", text: rest }
  return { type: "question", text: question[2]!, answer: question[1]!.split(",").includes("R") }
}

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

const latin1 = new TextDecoder("latin1")
