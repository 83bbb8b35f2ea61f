/**
 * The way to a server through a proxy: the socket is opened and talked to here, and what the proxy has connected goes to the
 * data plane as if it were a connection to the server itself.
 */
import { Duration, Effect, type Redacted, type Scope } from "effect"
import { isAddress } from "../config/address.ts"
import type { ProxyServer, Remote, SocksProxy } from "../config/index.ts"
import { closeFd, EAGAIN, errno, PlainArena, readFd, SystemError, socketError, writeFd } from "../linux/index.ts"
import { httpConnect } from "./proxy-http.ts"
import { socksAssociate, socksConnect, socksHeader } from "./proxy-socks.ts"
import { TransportError } from "./socket.ts"

export interface ProxyUser {
  readonly username: string
  readonly password: Redacted.Redacted<string>
}

/** A byte stream that belongs to one connection to the proxy. */
export interface ProxyStream {
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, TransportError>
  /** Exactly so many bytes: what follows them is the server's. */
  readonly read: (length: number) => Effect.Effect<Uint8Array, TransportError>
}

/** What a handshake came to: the way is open, or the proxy wants the whole again over a new connection. */
export type Handshake = (stream: ProxyStream) => Effect.Effect<"open" | Handshake, TransportError>

/** Where a connection leads first: the proxy, or the server itself. */
export const firstHop = (remote: Remote): { readonly host: string; readonly port: number } => remote.proxy ?? remote

/**
 * Opens the way to `remote` through its proxy with sockets from `dial`; gives the descriptor, which is the caller's. `user`: what
 * to say to a proxy that asks, when the file does not tell.
 */
export const throughProxy = Effect.fnUntraced(function* (
  proxy: ProxyServer,
  remote: Remote,
  user: Effect.Effect<ProxyUser, TransportError>,
  dial: Effect.Effect<number, TransportError>,
) {
  const login = loginOf(proxy)
  const asked = login?._tag === "Given" ? Effect.succeed(login) : user
  let handshake: Handshake =
    proxy._tag === "Http"
      ? httpConnect(proxy, remote, asked)
      : socksConnect(remote, login === undefined ? undefined : asked)
  for (;;) {
    const next = yield* connectOnce(dial, handshake).pipe(
      Effect.mapError(
        ({ message }) => new TransportError({ message: `proxy ${proxy.host}:${proxy.port}: ${message}` }),
      ),
    )
    if (typeof next === "number") return next
    handshake = next
  }
})

/** A proxy's relay for datagrams. */
export interface Relay {
  readonly address: string
  readonly port: number
  /** In front of each datagram to the server. */
  readonly header: Uint8Array
  /** Never succeeds: the relay stands as long as the connection that it was asked for over. */
  readonly ended: Effect.Effect<never, TransportError>
}

/** Asks the proxy, which is at `address`, for a relay to `remote`; it is given up when the scope ends. */
export const relayOf = (
  proxy: SocksProxy,
  address: string,
  remote: Remote,
  user: Effect.Effect<ProxyUser, TransportError>,
  dial: Effect.Effect<number, TransportError>,
): Effect.Effect<Relay, TransportError, Scope.Scope> => {
  const login = loginOf(proxy)
  const asked = login?._tag === "Given" ? Effect.succeed(login) : user
  const named = Effect.mapError(
    ({ message }: TransportError) => new TransportError({ message: `proxy ${proxy.host}:${proxy.port}: ${message}` }),
  )
  return Effect.gen(function* () {
    const fd = yield* Effect.acquireRelease(dial, (fd) => Effect.sync(() => closeFd(fd)))
    const stream = socketStream(fd)
    const reply = yield* socksAssociate(stream, login === undefined ? undefined : asked)
    const relay = reply.address ?? address
    if (!isAddress(relay) || reply.port === 0)
      return yield* new TransportError({ message: `it names no address of a relay, but ${relay}:${reply.port}` })
    const ended = stream.ended.pipe(
      Effect.andThen(Effect.fail(new TransportError({ message: "it ended the relay of datagrams" }))),
      named,
    )
    return { address: relay, port: reply.port, header: yield* socksHeader(remote), ended }
  }).pipe(named)
}

const loginOf = (proxy: ProxyServer) => (proxy._tag === "Http" ? proxy.authentication?.login : proxy.login)

/** The descriptor when the way is open; it is closed in every other case. */
const connectOnce = (dial: Effect.Effect<number, TransportError>, handshake: Handshake) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const fd = yield* dial
      const close = Effect.sync(() => closeFd(fd))
      const outcome = yield* restore(handshake(socketStream(fd))).pipe(Effect.onError(() => close))
      if (outcome === "open") return fd
      yield* close
      return outcome
    }),
  )

/**
 * A handshake is a few short messages: the socket is asked for them again and again, which costs less than a second poll loop
 * beside the data plane's.
 */
const socketStream = (fd: number): ProxyStream & { readonly ended: Effect.Effect<void> } => ({
  /** Looks now and then, and takes what else is said. */
  ended: Effect.gen(function* () {
    for (;;) {
      const result = readFd(fd, buffer.at(0, buffer.length), buffer.length)
      if (result === 0 || (result < 0 && errno() !== EAGAIN)) return
      yield* Effect.sleep(patience)
    }
  }),
  write: Effect.fnUntraced(function* (bytes) {
    for (let sent = 0; sent < bytes.length; ) {
      const length = Math.min(bytes.length - sent, buffer.length)
      buffer.bytes.set(bytes.subarray(sent, sent + length))
      const result = writeFd(fd, buffer.at(0, length), length)
      if (result > 0) sent += result
      else yield* notYet(fd, "send")
    }
  }),
  read: Effect.fnUntraced(function* (length) {
    const bytes = new Uint8Array(length)
    for (let received = 0; received < length; ) {
      const wanted = Math.min(length - received, buffer.length)
      const result = readFd(fd, buffer.at(0, wanted), wanted)
      if (result === 0) return yield* new TransportError({ message: "it closed the connection" })
      if (result > 0) {
        bytes.set(buffer.bytes.subarray(0, result), received)
        received += result
      } else yield* notYet(fd, "receive")
    }
    return bytes
  }),
})

/** To be called right after a call that failed: waits when it only came too early. */
const notYet = (fd: number, what: string): Effect.Effect<void, TransportError> => {
  const reason = errno()
  const pending = socketError(fd)
  if (pending === 0 && reason === EAGAIN) return Effect.sleep(interval)
  return Effect.fail(new TransportError({ message: new SystemError(what, pending || reason).message }))
}

const buffer = new PlainArena(4096).allocate(4096)
const interval = Duration.millis(5)
const patience = Duration.millis(500)
