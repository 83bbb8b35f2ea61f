/**
 * What a `Session` tells its driver: one ordered stream, drained with `poll()` after every call.
 * Order matters: an `InstallKey` comes before the `UseKey` that names it.
 */
import type { DataCipher, DigestName } from "../config/profile.ts"
import type { Pushed } from "../config/push.ts"
import type { PeerCertificate } from "./ports.ts"

export type Output =
  /** Send this datagram (UDP) or frame (TCP, without its length prefix). The session never touches it again. */
  | { readonly type: "transmit"; readonly packet: Uint8Array }
  /**
   * Once per session: the next packets tell the server who we are. One that allows a single session for each certificate ends an
   * older one when it has them.
   */
  | { readonly type: "introducing" }
  /** `tls`: undefined with a static key. */
  | { readonly type: "installKey"; readonly key: DataKey; readonly tls: TlsFacts | undefined }
  /** Seal outgoing data with this key from now on. */
  | { readonly type: "useKey"; readonly keyId: number }
  /** Forget this key: packets that name it are dropped. */
  | { readonly type: "retireKey"; readonly keyId: number }
  /** Seal this and send it as a data packet; with a static key only. */
  | { readonly type: "occ"; readonly message: Uint8Array }
  /** The first packet of the peer was authenticated; with a static key only, where nothing else tells that the peer is there. */
  | { readonly type: "peerHeard" }
  /** The server's configuration; with `pull`, once per session, before the first `installKey`. */
  | { readonly type: "pushed"; readonly options: Pushed }
  /** What holds from now on, after a PUSH_UPDATE. */
  | { readonly type: "pushUpdated"; readonly options: Pushed }
  | { readonly type: "authPending"; readonly timeoutSeconds: number | undefined }
  /** Something a person may want to read. Never a secret, never more than one per control message. */
  | {
      readonly type: "notice"
      readonly level: "debug" | "info" | "warn"
      readonly event: string
      readonly message: string
    }
  /** TLS of the newest key broke. Data passes as before; only a renegotiation brings a way for messages again. */
  | { readonly type: "controlChannelLost"; readonly message: string }
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
  /** The HMAC of a CBC cipher; undefined with a cipher that authenticates by itself. */
  readonly digest?: DigestName | undefined
  /** The epoch format (AEAD and DATA_V2 only): `cipherKey` is the secret of epoch 1 then. */
  readonly epoch?: boolean
  /** The format of a static key (CBC only): no head, and packet ids that go with the time at which their sender started. */
  readonly staticKey?: { readonly unixTime: number; readonly firstPacketId: number } | undefined
  /** What stands between the packet and its encryption; undefined: nothing. */
  readonly compression?: CompressionFraming | undefined
  /** `fragment`: larger payloads are cut into pieces of so many bytes, and every packet has a header for that; undefined: none. */
  readonly fragmentSize?: number | undefined
  readonly send: DirectionKey
  readonly receive: DirectionKey
}

export interface DirectionKey {
  /** As the cipher needs it; 32 bytes in the epoch format. */
  readonly cipherKey: Uint8Array
  /** 8 bytes; empty with a CBC cipher and in the epoch format. */
  readonly implicitIv: Uint8Array
  /** As long as the digest, with a CBC cipher. */
  readonly hmacKey?: Uint8Array | undefined
}

/** Forms of the byte (or none) that tells whether a payload is compressed. `decompress`: compressed ones are taken. */
export interface CompressionFraming {
  readonly form: "lzo" | "stub" | "stub-v2"
  readonly decompress: boolean
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
 * "same" try this address again, "advance" go to the next one, "advanceRemote" to the next server, "never" give up.
 */
export type RetryAdvice = "same" | "advance" | "advanceRemote" | "never"

export type CloseReason = { readonly message: string; readonly retry: RetryAdvice } & (
  | { readonly tag: "NoAnswer" } // no reply to the hard reset
  | { readonly tag: "HandshakeTimeout" }
  | { readonly tag: "TlsFailed" }
  | { readonly tag: "PeerRefused"; readonly check: string } // the server's certificate failed a check
  | {
      readonly tag: "AuthFailed"
      readonly temporary: boolean
      /** The next login is another one: a token was given up for the password, or a challenge can be answered. */
      readonly again: boolean
      readonly backoffSeconds: number | undefined
    }
  | { readonly tag: "NoPushReply" }
  | { readonly tag: "PushRefused" } // the server asks for what we cannot or must not do
  | { readonly tag: "KeyUnusable" } // a static key that must not be used
  | { readonly tag: "KeyExpired" } // every key retired and no renegotiation succeeded
  | { readonly tag: "ServerRestart" }
  | { readonly tag: "ServerHalt" }
  | { readonly tag: "ServerExit" }
  | { readonly tag: "ProtocolError" } // TCP only: a corrupt stream cannot be resumed
  | { readonly tag: "Requested" } // close() was called
)
