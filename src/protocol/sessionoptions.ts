/** What a session is told, and what follows from it for each of its key states. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type {
  Compression,
  ControlWrapping,
  DataCipher,
  DigestName,
  Profile,
  Remote,
  Transport,
} from "../config/profile.ts"
import type { PushPolicy } from "../config/push.ts"
import type { KeyStateOptions } from "./keystate.ts"
import type { Login } from "./login.ts"
import { controlPayloadLimit } from "./mtu.ts"
import { optionsString, peerInfo, type Versions } from "./options.ts"
import type { Crypto, Random, Tls } from "./ports.ts"

/** Seconds. When to renegotiate is the caller's policy; `renegSec` bounds how long an old key may stay. */
export type SessionTimers = Pick<Profile["timers"], "handWindow" | "tranWindow" | "tlsTimeout" | "renegSec">

export interface SessionOptions {
  readonly deviceType: Profile["device"]["type"]
  readonly transport: Transport
  readonly outerFamily: "ipv4" | "ipv6"
  readonly wrapping: ControlWrapping
  /** The HMAC of tls-auth and of CBC ciphers. */
  readonly auth: DigestName
  readonly tls: Tls
  readonly crypto: Crypto
  readonly random: Random
  /** Unix seconds at `start`: the time part of the replay ids. */
  readonly unixTime: number
  /** False: keys follow the key exchange at once, with the file's own options. */
  readonly pull: boolean
  readonly pushPolicy: PushPolicy
  readonly dataCiphers: ReadonlyArray<DataCipher>
  readonly dataCiphersFallback: DataCipher | undefined
  /** As the file says: only told to the server. */
  readonly cipher?: DataCipher | undefined
  /** As the file says; a server may push another framing. */
  readonly compression: Compression | undefined
  /** Outlives the session. Asked once for each key exchange, when it is sent. */
  readonly login: Login
  readonly tunMtu: number
  /** What the options string says in its place; undefined: the same. */
  readonly occMtu?: number | undefined
  /** As the file says; the other side has to have it too. */
  readonly fragment?: Remote["fragment"]
  readonly maxPacketSize: number
  readonly peerInfo: Profile["peerInfo"]
  readonly timers: SessionTimers
  readonly connectTimeoutSeconds: number
  /** As the file says; a pushed value counts when it says nothing. */
  readonly explicitExitNotify: number | undefined
  readonly versions: Versions
}

export const keyStateOptions = (
  options: SessionOptions,
  wrapOverhead: number,
): Omit<KeyStateOptions, "keyId" | "isPeers" | "ackLimit" | "transmit"> => ({
  tls: options.tls,
  random: options.random,
  tlsTimeout: options.timers.tlsTimeout * 1000,
  payloadLimit: controlPayloadLimit(options.maxPacketSize, options.transport, options.outerFamily, wrapOverhead),
  wrappedKeyLength: options.wrapping._tag === "TlsCryptV2" ? Redacted.value(options.wrapping.wrapped).length : 0,
  introduce: () => introduce(options),
})

const introduce = (options: SessionOptions): ReturnType<KeyStateOptions["introduce"]> =>
  Result.map(options.login.next(), (credentials) => ({
    options: optionsString(options),
    username: credentials?.username ?? "",
    password: credentials === undefined ? "" : Redacted.value(credentials.password),
    peerInfo: peerInfo({ ...options, ...options.peerInfo, answersQuestions: options.login.code !== undefined }),
  }))
