/**
 * The first part of a connection: a way to the server, a session over it, the server's configuration and the first data key.
 * Changes nothing of the host but the way to the server itself, so it can happen beside a connection that is up.
 */
import { Effect, Queue, type Scope } from "effect"
import type { Profile, Pushed, Remote } from "../config/index.ts"
import { hostRoute, Network } from "../network/index.ts"
import type { Output } from "../protocol/index.ts"
import { Credentials } from "./credentials.ts"
import { DataPlane, type Link, type Through } from "./dataplane.ts"
import { type Driver, drive, type Fact, failed } from "./driver.ts"
import { followServer } from "./float.ts"
import { networkRefused } from "./network.ts"
import { firstHop, relayOf, throughProxy } from "./proxy.ts"
import { allow, type Peer } from "./reach.ts"
import type { Address } from "./resolve.ts"
import type { Candidate } from "./retry.ts"
import { openSession } from "./session.ts"
import { dial, type Endpoint, TransportError } from "./socket.ts"
import { StatusRef } from "./status.ts"

/** A session has begun over a link of its own; the scope that made it holds both. */
export interface Opened {
  readonly profile: Profile
  readonly remote: Remote
  /** The one of the server, or of its proxy, that was to be tried. */
  readonly address: Address
  readonly peer: { readonly current: Peer }
  /** Bytes that a relay wants in front of each packet. */
  readonly headerLength: number
  readonly link: Link
  readonly driver: Driver
}

/** Milliseconds after the first packet. */
export type BeforeIntroducing = (milliseconds: number) => Effect.Effect<void>

/** Everything is in place to carry packets. */
export interface Established extends Opened {
  /** Undefined: the server pushed nothing. */
  readonly pushed: Pushed | undefined
  readonly first: Extract<Output, { readonly type: "installKey" }>
}

/**
 * Opens the link and sends the first packet. `beforeIntroducing` gets the milliseconds since then, and the server learns who we
 * are when it has ended. Closing the scope says good-bye to the server.
 */
export const open = Effect.fnUntraced(function* (
  profile: Profile,
  { remote, address }: Candidate,
  beforeIntroducing?: BeforeIntroducing,
) {
  const plane = yield* DataPlane
  const began = plane.now()
  const { endpoint, hop } = yield* way(profile, remote, address)
  // The worker has closed the socket before its way is closed, so that the last packets get through.
  yield* Effect.addFinalizer(() => plane.flush)
  const link = yield* openLink(endpoint, remote)
  yield* transportOpen(link, remote)

  // One limit for everything until the server's first answer.
  const connectTimeout = Math.max(1, Math.ceil(remote.connectTimeout - (plane.now() - began) / 1000))
  const session = yield* openSession(profile, { ...remote, connectTimeout }, endpoint, hop?.device)
  const started = plane.now()
  const introducing = beforeIntroducing && Effect.suspend(() => beforeIntroducing(plane.now() - started))
  const driver = yield* drive(session, link, profile, plane.now, introducing)
  yield* sayGoodbye(driver, link)
  driver.step((at) => session.start(at))
  const peer = {
    current: { address: { address: endpoint.address, family: endpoint.family }, port: endpoint.port, hop },
  }
  if (endpoint.strays !== undefined) yield* Effect.forkScoped(followServer(remote, link, driver.moves, peer))
  const headerLength = endpoint.relay?.header.length ?? 0
  const opened: Opened = { profile, remote, address, peer, headerLength, link, driver }
  return opened
})

/** Waits for the server's configuration and the first key. */
export const complete = Effect.fnUntraced(function* (opened: Opened) {
  const { pushed, first } = yield* Effect.raceFirst(firstKey(opened.driver), opened.driver.ended)
  const established: Established = { ...opened, pushed, first }
  return established
})

/** With a static key the key is there before the peer is. */
const firstKey = Effect.fnUntraced(function* (driver: Driver) {
  let pushed: Pushed | undefined
  let first: Established["first"] | undefined
  for (;;) {
    const fact = yield* Queue.take(driver.facts)
    if (fact.type === "installKey") first = fact
    else if (fact.type === "pushed") pushed = fact.options
    else yield* tell(fact, driver)
    const isThere = first?.key.staticKey === undefined || fact.type === "peerHeard"
    if (first !== undefined && isThere) return { pushed, first }
  }
})

/** What is the same before and after the connection is up. */
export const tell = Effect.fnUntraced(function* (fact: Exclude<Fact, { readonly type: "installKey" }>, driver: Driver) {
  const status = yield* StatusRef
  switch (fact.type) {
    case "pushed":
    case "pushUpdated":
    case "peerHeard":
      return
    case "renegotiationFailed":
      Queue.offerUnsafe(driver.keyEvents, "failed")
      return yield* status.event("renegotiation_failed", `${fact.message}; the old key stays in use`, { level: "Warn" })
    case "controlChannelLost":
      Queue.offerUnsafe(driver.keyEvents, "lost")
      return yield* status.event(
        "control_channel_lost",
        `${fact.message}; data passes, and a new key will be asked for`,
        {
          level: "Warn",
        },
      )
    case "authPending":
      return yield* status.event("auth_pending", "the server waits for a second authentication step")
    case "notice":
      return yield* status.event(fact.event.replaceAll("-", "_"), fact.message, { level: noticeLevels[fact.level] })
    case "closed":
      return yield* failed(fact.reason, driver.established())
  }
})

const noticeLevels = { debug: "Debug", info: "Info", warn: "Warn" } as const

/** Where packets are to be sent to: routes and kill switch let them through, and a proxy relays them if there is one. */
const way = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  const { port } = firstHop(remote)
  const { proxy, transport, local, float, controlWrapping } = remote
  const strays = float ? { hasControlKey: controlWrapping._tag !== "Plain" } : undefined
  const endpoint: Endpoint = { transport, ...address, port, local, socket: profile.socket, strays }
  if (proxy === undefined || transport === "tcp") return { endpoint, hop: yield* allow(endpoint) }
  const control: Endpoint = { ...endpoint, transport: "tcp", local: local && { ...local, port: undefined } }
  const controlHop = yield* allow(control)
  const relay = yield* bounded(remote, relayOf(proxy, address.address, remote, yield* proxyUser, dial(control)))
  const family = relay.address.includes(":") ? ("ipv6" as const) : ("ipv4" as const)
  const relayed: Endpoint = { ...endpoint, address: relay.address, family, port: relay.port, relay }
  // The plan of the network looks after one address; a tunnel's routes must not take the other.
  if (controlHop !== undefined && relay.address !== address.address) {
    const { keep } = yield* Network
    yield* keep([hostRoute(address.address, controlHop)]).pipe(Effect.mapError(networkRefused))
  }
  return { endpoint: relayed, hop: yield* allow(relayed) }
})

const openLink = Effect.fnUntraced(function* (endpoint: Endpoint, remote: Remote) {
  const plane = yield* DataPlane
  const user = yield* proxyUser
  const { proxy } = remote
  const isDirect = proxy === undefined || endpoint.relay !== undefined
  const through = isDirect ? undefined : (dial: Dial) => throughProxy(proxy, remote, user, dial)
  return yield* bounded(remote, plane.open(endpoint, through))
})

type Dial = Parameters<Through>[0]

const proxyUser = Effect.map(Credentials, (credentials) =>
  Effect.suspend(() => Effect.fromResult(credentials.proxyUser())).pipe(
    Effect.mapError((message) => new TransportError({ message })),
  ),
)

/** The way through a proxy is bounded by connect-timeout as well. */
const bounded = <A, R>(remote: Remote, opening: Effect.Effect<A, TransportError, R>) =>
  opening.pipe(
    Effect.mapError((error) => failed({ tag: "Transport", retry: "advance", message: error.message })),
    Effect.timeoutOrElse({
      duration: remote.connectTimeout * 1000,
      orElse: () => {
        const message = `no way through the proxy within ${remote.connectTimeout} s`
        return Effect.fail(failed({ tag: "NoAnswer", retry: "advance", message }))
      },
    }),
  )

/** A TCP connection is bounded by connect-timeout like the first answer on UDP. */
const transportOpen = Effect.fnUntraced(function* (link: Link, remote: Remote) {
  for (;;) {
    const event = yield* Queue.take(link.events).pipe(
      Effect.timeoutOrElse({
        duration: remote.connectTimeout * 1000,
        orElse: () =>
          Effect.fail(
            failed({ tag: "NoAnswer", retry: "advance", message: `no connection within ${remote.connectTimeout} s` }),
          ),
      }),
    )
    if (event.type === "transportOpen") return
    if (event.type === "transportFailed") {
      return yield* failed({ tag: "Transport", retry: "advance", message: event.message })
    }
  }
})

/**
 * When the connection ends by our will the server is told, so that it need not wait for its own timeout. Runs before the
 * transport closes, because finalizers run in reverse.
 */
const sayGoodbye = (driver: Driver, link: Link): Effect.Effect<void, never, DataPlane | Scope.Scope> =>
  Effect.gen(function* () {
    const plane = yield* DataPlane
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        const times = driver.exitNotify.times
        if (driver.established() && times !== undefined && driver.session.exitNotification === "data") {
          for (let sent = 0; sent < Math.min(times, 5); sent++) link.occExit()
        }
        driver.step((at) => driver.session.close(at))
        return plane.flush
      }),
    )
  })
