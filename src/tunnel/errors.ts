/** Why the tunnel, or one attempt at it, ended. Each carries the facts and the sentence that a user reads. */
import { Data, Runtime } from "effect"
import type { CloseReason, RetryAdvice } from "../protocol/index.ts"

/** One attempt is over; the retry policy decides what follows. */
export class AttemptFailed extends Data.TaggedError("AttemptFailed")<{
  readonly reason: AttemptReason
  /** Traffic was possible before it ended: the back-off starts anew. */
  readonly established: boolean
}> {
  override get message() {
    return this.reason.message
  }
}

/** The protocol's own reasons, and those of the layers around it. */
export type AttemptReason =
  | CloseReason
  | ({ readonly message: string; readonly retry: RetryAdvice } & (
      | { readonly tag: "Transport" } // the socket failed or was refused
      | { readonly tag: "PingRestart" }
      | { readonly tag: "PingExit" }
      | { readonly tag: "Inactive" }
      | { readonly tag: "SessionTimeout" }
      | { readonly tag: "Credentials" } // none to be had, or unreadable
      | { readonly tag: "NetworkRefused" } // addresses or routes could not be set
    ))

/** The tunnel stopped for good. The exit codes are a contract: DESIGN.md §5. */
export class AuthenticationRefused extends Data.TaggedError("AuthenticationRefused")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 77
}

export class GaveUp extends Data.TaggedError("GaveUp")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 69
}

export class HostRefused extends Data.TaggedError("HostRefused")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 71
}

/** A part of the program crashes again and again: an invariant of ours is broken. */
export class KeepsCrashing extends Data.TaggedError("KeepsCrashing")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

export type TunnelError = AuthenticationRefused | GaveUp | HostRefused | KeepsCrashing
