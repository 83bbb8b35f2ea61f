/** A client session and a scripted server with real TLS, joined by a virtual network. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ControlWrapping, ServerTrust } from "../../src/config/profile.ts"
import { crypto, TlsContext } from "../../src/openssl/index.ts"
import {
  type CloseReason,
  type DataKey,
  Login,
  type Output,
  Session,
  type SessionOptions,
} from "../../src/protocol/index.ts"
import { type PeerRefusal, verifyPeer } from "../../src/protocol/peer.ts"
import type { PeerCertificate } from "../../src/protocol/ports.ts"
import { Authority, CLIENT, SERVER } from "../openssl/authority.ts"
import { type Conditions, type Endpoint, perfect, SeededRandom, VirtualNetwork } from "../support/network.ts"
import { ScriptedServer, type ServerOptions } from "../support/server.ts"

export interface PairOptions {
  readonly seed?: number
  readonly conditions?: Conditions
  readonly tlsVersion?: "1.2" | "1.3"
  readonly client?: Partial<SessionOptions>
  readonly server?: Partial<ServerOptions>
  /** Both sides. */
  readonly wrapping?: ControlWrapping
  readonly verify?: (peer: PeerCertificate) => PeerRefusal | undefined
  /** The client trusts another authority than the server's. */
  readonly wrongAuthority?: boolean
}

/** The session as an endpoint that keeps its outputs, checks their order and follows the keys. */
export class ClientEndpoint implements Endpoint {
  readonly session: Session
  readonly outputs: Array<Output> = []
  /** Live keys, as the data plane would have them. */
  readonly keys = new Map<number, DataKey>()
  sending: number | undefined
  closed: CloseReason | undefined
  readonly #pulls: boolean
  #packets: Array<Uint8Array> = []

  constructor(session: Session, pulls: boolean) {
    this.session = session
    this.#pulls = pulls
  }

  receive(now: number, packet: Uint8Array): void {
    this.session.receive(now, packet)
    this.drain()
  }

  timeout(now: number): void {
    this.session.timeout(now)
    this.drain()
  }

  nextTimeout(): number | undefined {
    return this.session.nextTimeout()?.at
  }

  outgoing(): Uint8Array | undefined {
    this.drain()
    return this.#packets.shift()
  }

  drain(): void {
    for (let output = this.session.poll(); output !== undefined; output = this.session.poll()) this.#take(output)
  }

  of<T extends Output["type"]>(type: T): ReadonlyArray<Extract<Output, { type: T }>> {
    return this.outputs.filter((output): output is Extract<Output, { type: T }> => output.type === type)
  }

  #take(output: Output): void {
    if (this.closed !== undefined) throw new Error(`output ${output.type} after closed`)
    if (output.type === "transmit") {
      this.#packets.push(output.packet)
      return
    }
    this.outputs.push(output)
    switch (output.type) {
      case "installKey":
        if (this.keys.has(output.key.keyId)) throw new Error(`key ${output.key.keyId} installed twice`)
        if (this.#pulls && this.of("pushed").length !== 1) throw new Error("a key before the server's configuration")
        this.keys.set(output.key.keyId, output.key)
        return
      case "useKey":
        if (!this.keys.has(output.keyId)) throw new Error(`key ${output.keyId} used before it was installed`)
        this.sending = output.keyId
        return
      case "retireKey":
        if (this.sending === output.keyId && this.keys.size > 1) throw new Error(`sending key ${output.keyId} retired`)
        if (!this.keys.delete(output.keyId)) throw new Error(`key ${output.keyId} retired but not installed`)
        return
      case "closed":
        this.closed = output.reason
        return
      default:
        return
    }
  }
}

export class Pair {
  readonly client: ClientEndpoint
  readonly server: ScriptedServer
  readonly network: VirtualNetwork

  constructor(options: PairOptions = {}) {
    const random = new SeededRandom(options.seed ?? 1)
    const wrapping = options.wrapping ?? { _tag: "Plain" }
    const tls = tlsContext(options)
    this.client = new ClientEndpoint(
      new Session({ ...sessionDefaults, wrapping, random, tls: tls.client, login: anna(), ...options.client }),
      options.client?.pull !== false,
    )
    this.server = new ScriptedServer({
      ...serverDefaults,
      wrapping,
      random,
      accept: () => tls.server.accept(),
      ...options.server,
    })
    this.network = new VirtualNetwork(random, options.conditions ?? perfect, this.client, this.server)
    this.client.session.start(0)
  }

  get now(): number {
    return this.network.now
  }

  /** Until the client has its first key; throws when that does not happen. */
  connect(milliseconds = 600_000): this {
    if (!this.network.run(() => this.client.keys.size > 0 && this.server.keys.size > 0, milliseconds))
      throw new Error(`no key: ${this.client.closed?.message ?? "still trying"}`)
    return this
  }

  /** Runs until the session closed, and why. */
  end(milliseconds = 600_000): CloseReason {
    this.network.run(() => this.client.closed !== undefined, milliseconds)
    if (this.client.closed === undefined) throw new Error("not closed")
    return this.client.closed
  }

  /** Whether both ends hold the same key under this id. */
  agree(keyId: number): boolean {
    const ours = this.client.keys.get(keyId)
    return ours !== undefined && Bun.deepEquals(ours, this.server.keys.get(keyId))
  }
}

export const staticKey = Uint8Array.from({ length: 256 }, (_, index) => index)
export const tlsAuth = (direction: 0 | 1 | undefined): ControlWrapping => ({
  _tag: "TlsAuth",
  key: Redacted.make(staticKey),
  direction,
})
/** `wrapped` is opaque to the client. */
export const tlsCryptV2: ControlWrapping = {
  _tag: "TlsCryptV2",
  key: Redacted.make(staticKey),
  wrapped: Redacted.make(Uint8Array.from({ length: 299 }, (_, index) => (index * 7) & 255)),
}
export const tlsCrypt: ControlWrapping = { _tag: "TlsCrypt", key: Redacted.make(staticKey) }

/** What the user has, as a mounted Secret has it: it may change under the session. */
export const anna = (own: Partial<Record<"password" | "code", string>> = {}, form?: "scrv1" | "concat"): Login =>
  new Login({
    read: () =>
      Result.succeed({
        username: "anna",
        password: Redacted.make(own.password ?? "s3cret"),
        code: own.code === undefined ? undefined : Redacted.make(own.code),
      }),
    staticChallenge: form,
  })

export const timers = {
  handWindow: 60,
  tranWindow: 3600,
  tlsTimeout: 2,
  renegSec: 3600,
  renegBytes: 0,
  renegPackets: 0,
}

export const pushReply =
  "PUSH_REPLY,route-gateway 10.8.0.1,topology subnet,ping 10,ping-restart 60,ifconfig 10.8.0.2 255.255.255.0,peer-id 7,cipher AES-256-GCM"

/** What `sessionDefaults` and `serverDefaults` lack depends on the pair. */
export const sessionDefaults: Omit<SessionOptions, "tls" | "random" | "wrapping" | "login"> = {
  deviceType: "tun",
  transport: "udp",
  outerFamily: "ipv4",
  auth: "SHA1",
  crypto,
  unixTime: 0x65000000,
  pull: true,
  pushPolicy: { pullFilters: [], routeNopull: false },
  dataCiphers: ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"],
  dataCiphersFallback: undefined,
  compression: undefined,
  tunMtu: 1500,
  maxPacketSize: 1250,
  peerInfo: { push: false, variables: [] },
  timers,
  connectTimeoutSeconds: 120,
  explicitExitNotify: undefined,
  versions: { version: "2.6.14", platform: "linux" },
}

const serverDefaults: Omit<ServerOptions, "accept" | "random" | "wrapping"> = {
  crypto,
  auth: "SHA1",
  cipher: "AES-256-GCM",
  derivation: "prf",
  peerId: 7,
  push: [pushReply],
  unasked: true,
  optionsString: "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-server",
  stop: "never",
  payload: 1100,
}

const authority = new Authority()
const stranger = new Authority()
const serverCertificate = authority.issue("server", "ec", SERVER)
const clientCertificate = authority.issue("client", "ec", CLIENT)

// What is needed of it is in memory now.
authority.remove()
stranger.remove()

const contexts = new Map<string, TlsContext>()

const tlsContext = (options: PairOptions): { client: TlsContext; server: TlsContext } => {
  const version = options.tlsVersion ?? "1.3"
  const trust: ServerTrust = {
    ca: undefined,
    fingerprints: [],
    issuerFingerprints: undefined,
    revoked: undefined,
    remoteCertTls: "server",
    remoteCertKu: undefined,
    remoteCertEku: undefined,
    nsCertType: undefined,
    verifyX509Name: undefined,
    x509UsernameFields: ["2.5.4.3"],
  }
  const make = (side: string, create: () => TlsContext): TlsContext => {
    const name = `${side} ${version} ${options.wrongAuthority === true}`
    const context = contexts.get(name) ?? create()
    contexts.set(name, context)
    return context
  }
  const common = { minimum: version, maximum: version, certProfile: "legacy" } as const
  const ca = options.wrongAuthority === true ? stranger.certificate : authority.certificate
  const client = () =>
    TlsContext.create({
      ...common,
      ...clientCertificate,
      ca,
      verify: options.verify ?? ((peer) => verifyPeer(trust, peer)),
    })
  return {
    client: options.verify === undefined ? make("client", client) : client(),
    server: make("server", () =>
      TlsContext.create({
        ...common,
        ...serverCertificate,
        ca: authority.certificate,
        verify: () => undefined,
        requirePeer: true,
      }),
    ),
  }
}
