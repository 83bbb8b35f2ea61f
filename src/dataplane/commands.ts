/**
 * The two message streams between the main thread and the data-plane worker. Both are ordered.
 *
 * A `generation`, from 1 on, names one of several links that live side by side: a transport with keys of its own. What is
 * received on any of them goes to the tun; what comes from the tun goes through the one that carries. A command for a link
 * that is gone is ignored.
 */
import type { DataKey } from "../protocol/output.ts"
import type { OffloadName } from "./offload.ts"

export type Command =
  /** Packets read from and written to this tun. The descriptor stays the main thread's; it is not closed here. */
  | { readonly type: "attachTun"; readonly fd: number }
  | { readonly type: "detachTun" }
  /**
   * A further link, over a non-blocking, connected (UDP) or connecting (TCP) socket. From here on the socket is the worker's,
   * which closes it. With `MOST_LINKS` of them there already, `transportFailed` is the answer.
   */
  | {
      readonly type: "attachTransport"
      readonly generation: number
      readonly fd: number
      readonly transport: "udp" | "tcp"
      /** UDP: stands in front of each datagram that is sent, and one like it in front of each that comes (`socks.ts`). */
      readonly header?: Uint8Array
      /** UDP: the receive buffer has the size that was asked for, and keeps it. */
      readonly keepsBuffer?: boolean
      /** UDP: datagrams get the DSCP of the packet in them. */
      readonly passTos?: boolean
      /**
       * `float`: a socket of the same port for what does not come from the peer (`strays.ts`), the worker's from here on like the other
       * one; and whether control packets have a key of their own.
       */
      readonly strays?: { readonly fd: number; readonly hasControlKey: boolean }
      /** Made by `createLinkCounterMemory`; the worker writes it. */
      readonly counters: SharedArrayBuffer
    }
  /** Closes the link's socket and forgets its keys. */
  | { readonly type: "detachTransport"; readonly generation: number }
  /** A control packet, without TCP framing. */
  | { readonly type: "transmit"; readonly generation: number; readonly packet: Uint8Array }
  | {
      readonly type: "installKey"
      readonly generation: number
      readonly key: DataKey
      readonly replayWindow: ReplayWindowSize
    }
  | { readonly type: "useKey"; readonly generation: number; readonly keyId: number }
  | { readonly type: "retireKey"; readonly generation: number; readonly keyId: number }
  /** Seals and sends one keepalive ping (or OCC exit message) with the sending key; nothing happens when there is none. */
  | { readonly type: "ping"; readonly generation: number }
  | { readonly type: "occExit"; readonly generation: number }
  /** The same with another OCC message. */
  | { readonly type: "occ"; readonly generation: number; readonly message: Uint8Array }
  /**
   * UDP: the kernel chooses anew from which address packets go to the server, or to where it is now (a sockaddr); a ping says so to
   * the server.
   */
  | { readonly type: "roam"; readonly generation: number; readonly to?: Uint8Array }
  /** The kernel's buffers of the link's socket, in bytes, as far as we are allowed to ask for them. */
  | {
      readonly type: "resizeBuffers"
      readonly generation: number
      readonly send: number | undefined
      readonly receive: number | undefined
    }
  /** Packets from the tun go through this link from now on. Without such a link they are read and dropped. */
  | { readonly type: "carry"; readonly generation: number }
  /**
   * Packets from the tun whose source is one of these addresses (4 or 16 bytes each) go through this link, whichever carries.
   * Several links may drain; without addresses this one does not.
   */
  | { readonly type: "drain"; readonly generation: number; readonly addresses: ReadonlyArray<Uint8Array> }
  /** The tun is not read, so that packets wait in its queue, until the next `carry`, or until this time has passed. */
  | { readonly type: "hold"; readonly milliseconds: number }
  /** TCP MSS clamp for inner SYN packets of both directions, by inner family; 0 is off. */
  | { readonly type: "clampMss"; readonly ipv4: number; readonly ipv6: number }
  /** Answered by `pong` with the same number: the liveness probe and the flush barrier. */
  | { readonly type: "sync"; readonly number: number }
  | { readonly type: "stop" }

export interface ReplayWindowSize {
  /** 0: strictly in order. */
  readonly packets: number
  readonly seconds: number
}

export type Event =
  | { readonly type: "ready" }
  /** TCP: connected. UDP: at once. */
  | { readonly type: "transportOpen"; readonly generation: number }
  /** The transport is unusable; `message` names the system call and the errno. TCP: also end of stream and bad framing. */
  | { readonly type: "transportFailed"; readonly generation: number; readonly message: string }
  /** A packet whose opcode is not DATA, unverified. `from`: the sockaddr of a sender that is not the peer. */
  | { readonly type: "control"; readonly generation: number; readonly packet: Uint8Array; readonly from?: Uint8Array }
  /** The newest data packet, which is authentic, did not come from the peer but from this sockaddr. Said now and then. */
  | { readonly type: "peerMoved"; readonly generation: number; readonly from: Uint8Array }
  /** An authenticated OCC EXIT message: the server leaves. */
  | { readonly type: "remoteExit"; readonly generation: number }
  /** An authenticated OCC message, its magic number included: the answer to ours, or, under a static key, a question. */
  | { readonly type: "occ"; readonly generation: number; readonly message: Uint8Array }
  /** The first packet under this key was authenticated: the server has it. Sent once a key. */
  | { readonly type: "keyUsed"; readonly generation: number; readonly keyId: number }
  /** The sending key nears the end of its packet ids (beyond 0xff000000). Sent once a key. */
  | { readonly type: "keyExhausted"; readonly generation: number; readonly keyId: number }
  /** The path to a server does not carry datagrams of the size that was sent. Sent now and then, not for each of them. */
  | { readonly type: "pathTooSmall" }
  /** Sending to a server, or an answer of the network to it, met this error (its name), which is survived. Said now and then. */
  | { readonly type: "transportError"; readonly error: string }
  | { readonly type: "tunFailed"; readonly message: string }
  /** What became of an offload: at start, and when the kernel, the device or the path refuses it later. */
  | { readonly type: "offload"; readonly name: OffloadName; readonly isOn: boolean; readonly reason: string }
  | { readonly type: "pong"; readonly number: number }
  | { readonly type: "stopped" }
