/** Why sessions end, with what the retry policy may do about each. One place, so that messages and grades stay consistent. */
import type { AuthFailure } from "./control.ts"
import type { DropReason } from "./drop.ts"
import type { CloseReason } from "./output.ts"
import type { PeerCheck } from "./ports.ts"

export const closeReason = {
  noAnswer: (seconds: number): CloseReason => ({
    tag: "NoAnswer",
    retry: "advance",
    message: `no answer from the server within ${Math.round(seconds)} s: check address, port and protocol, and whether tls-auth or tls-crypt keys match`,
  }),
  notHeard: (seconds: number): CloseReason => ({
    tag: "NoAnswer",
    retry: "advance",
    message: `no authentic packet from the peer within ${seconds} s: check address, port and protocol, and that key, key direction, cipher and auth are the same at both ends`,
  }),
  keyUnusable: (message: string): CloseReason => ({ tag: "KeyUnusable", retry: "never", message }),
  handshakeTimeout: (seconds: number): CloseReason => ({
    tag: "HandshakeTimeout",
    retry: "advance",
    message: `the handshake did not finish within ${seconds} s (hand-window)`,
  }),
  tlsFailed: (message: string): CloseReason => ({
    tag: "TlsFailed",
    retry: "advance",
    message: `TLS handshake: ${message}`,
  }),
  peerRefused: (message: string, check: PeerCheck): CloseReason => ({
    tag: "PeerRefused",
    retry: "advance",
    check,
    message: `server certificate refused: ${message}`,
  }),
  noPushReply: (): CloseReason => ({
    tag: "NoPushReply",
    retry: "advance",
    message: "the server did not push its configuration in time (no PUSH_REPLY)",
  }),
  pushRefused: (message: string): CloseReason => ({ tag: "PushRefused", retry: "advance", message }),
  keyExpired: (): CloseReason => ({
    tag: "KeyExpired",
    retry: "same",
    message: "the last key expired (tran-window) and no renegotiation succeeded",
  }),
  serverRestart: (text: string, advance: boolean): CloseReason => ({
    tag: "ServerRestart",
    retry: advance ? "advanceRemote" : "same",
    message: withText("the server asks for a restart", text),
  }),
  serverHalt: (text: string): CloseReason => ({
    tag: "ServerHalt",
    retry: "never",
    message: withText("the server asks to stop", text),
  }),
  serverExit: (): CloseReason => ({ tag: "ServerExit", retry: "same", message: "the server exits" }),
  protocolError: (reason: DropReason): CloseReason => ({
    tag: "ProtocolError",
    retry: "advance",
    message: `a packet that cannot be accepted (${reason}) on a stream: check whether tls-auth or tls-crypt keys match`,
  }),
  requested: (): CloseReason => ({ tag: "Requested", retry: "never", message: "closed" }),
} as const

/**
 * AUTH_FAILED in its forms. A lasting refusal says "same": whether to try at all is `auth-retry`'s to decide, and without
 * new credentials the answer will not change. A temporary one is tried again in any case, and so is a refusal after which
 * the login has something else to offer.
 */
export const authFailed = (failure: AuthFailure, outcome: "again" | "refused" | "unanswered"): CloseReason => ({
  tag: "AuthFailed",
  retry: advances[failure.advance],
  temporary: failure.temporary,
  again: outcome === "again",
  backoffSeconds: failure.backoffSeconds,
  message: withText(authFailedMessage(failure, outcome), failure.reason),
})

const authFailedMessage = ({ temporary, challenge }: AuthFailure, outcome: string): string => {
  if (temporary) return "authentication failed for now"
  if (outcome === "unanswered") return "the server asks for a one-time code, and there is no (new) one"
  if (challenge !== undefined) return "the server asks for a one-time code"
  return outcome === "again" ? "the server no longer takes its token, logging in anew" : "authentication failed"
}

const advances = { no: "same", addr: "advance", remote: "advanceRemote" } as const

const withText = (message: string, text: string): string =>
  text === "" ? message : `${message}: ${text.slice(0, 256)}`
