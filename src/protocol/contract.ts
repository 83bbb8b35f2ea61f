/** What a driver needs of a session, whichever way its keys come about: `Session` (TLS) or `StaticKeySession`. */
import type { Output } from "./output.ts"
import type { Instant } from "./ports.ts"

export interface SessionContract {
  start(now: Instant): void
  /**
   * A control packet; a `stranger` sent it who is not where the server was so far. True: it is the server's, as far as its wrapping and
   * session ids can tell, and was not taken before.
   */
  receive(now: Instant, packet: Uint8Array, stranger: boolean): boolean
  /** A message of the peer that came as an authenticated data packet. */
  occ?(now: Instant, message: Uint8Array): void
  timeout(now: Instant): void
  renegotiate(now: Instant): void
  /** The first data packet under this key was authenticated. */
  peerUsesKey(keyId: number): void
  close(now: Instant): void
  /** The next output. Drain it after every call. */
  poll(): Output | undefined
  nextTimeout(): { readonly at: Instant; readonly reason: string } | undefined
  /** When the last authenticated control packet came. */
  readonly lastReceive: Instant | undefined
  /** How to announce the exit: with `close` itself, with OCC_EXIT on the data channel before it, or not at all. */
  readonly exitNotification: "control" | "data" | "none"
}
