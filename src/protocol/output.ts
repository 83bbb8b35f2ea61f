/**
 * What a `Session` tells its driver: one ordered stream, drained with `poll()` after every call.
 * Order matters: an `InstallKey` comes before the `UseKey` that names it.
 */
import type { DataCipher } from "../config/profile.ts"
import type { Pushed } from "../config/push.ts"
import type { PeerCertificate } from "./ports.ts"

export type Output =
  /** Send this datagram (UDP) or frame (TCP, without its length prefix). The session never touches it again. */
  | { readonly type: "transmit"; readonly packet: Uint8Array }
  | { readonly type: "installKey"; readonly key: DataKey; readonly tls: TlsFacts }
  /** Seal outgoing data with this key from now on. */
  | { readonly type: "useKey"; readonly keyId: number }
  /** Forget this key: packets that name it are dropped. */
  | { readonly type: "retireKey"; readonly keyId: number }
  /** The server's configuration; once per session, before the first `installKey`. */
  | { readonly type: "pushed"; readonly options: Pushed }
  | { readonly type: "authPending"; readonly timeoutSeconds: number | undefined }
  /** Something a person may want to read. Never a secret, never more than one per control message. */
  | {
      readonly type: "notice"
      readonly level: "debug" | "info" | "warn"
      readonly event: string
      readonly message: string
    }
  /** A renegotiation ended without a new key; the old one stays in use until it expires. */
  | { readonly type: "renegotiationFailed"; readonly message: string }
  /** The session is over; nothing but queued `transmit` outputs precede it and nothing follows. */
  | { readonly type: "closed"; readonly reason: CloseReason }

/** Keys of one key state. All lengths are the cipher's own; both directions are from the client's point of view. */
export interface DataKey {
  /** 0..7 */
  readonly keyId: number
  readonly cipher: DataCipher
  /** 24-bit peer id: DATA_V2; undefined: DATA_V1. */
  readonly peerId: number | undefined
  readonly send: DirectionKey
  readonly receive: DirectionKey
}

export interface DirectionKey {
  /** 16 or 32 bytes */
  readonly cipherKey: Uint8Array
  /** 8 bytes */
  readonly implicitIv: Uint8Array
}

export interface TlsFacts {
  readonly version: string
  readonly cipher: string
  readonly peer: PeerCertificate | undefined
  /** How the data keys were derived. */
  readonly derivation: "tls-ekm" | "prf"
}

/**
 * Why a session ended. `retry` tells what the retry policy may do:
 * "same" try this address again, "advance" go to the next one, "never" give up.
 */
export type CloseReason = { readonly message: string; readonly retry: "same" | "advance" | "never" } & (
  | { readonly tag: "NoAnswer" } // no reply to the hard reset
  | { readonly tag: "HandshakeTimeout" }
  | { readonly tag: "TlsFailed" }
  | { readonly tag: "PeerRefused"; readonly check: string } // the server's certificate failed a check
  | { readonly tag: "AuthFailed"; readonly temporary: boolean; readonly backoffSeconds: number | undefined }
  | { readonly tag: "NoPushReply" }
  | { readonly tag: "PushRefused" } // the server asks for what we cannot or must not do
  | { readonly tag: "KeyExpired" } // every key retired and no renegotiation succeeded
  | { readonly tag: "ServerRestart" }
  | { readonly tag: "ServerHalt" }
  | { readonly tag: "ServerExit" }
  | { readonly tag: "ProtocolError" } // TCP only: a corrupt stream cannot be resumed
  | { readonly tag: "Requested" } // close() was called
)
