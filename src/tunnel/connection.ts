/**
 * One attempt at one address, as one scope: transport, session, timer, then the policies that live as long as the
 * connection. The session is driven synchronously (`Driver`); fibers only wait: for packets, for the deadline, for facts.
 */
import { Clock, Effect, Option, Queue, type Scope } from "effect"
import type { KeepaliveOptions, Profile, Pushed, Remote } from "../config/index.ts"
import { KillSwitch, mergeNetwork, Network, type NextHop } from "../network/index.ts"
import type { DataKey, Output, Session } from "../protocol/index.ts"
import { Credentials } from "./credentials.ts"
import { DataPlane, type Endpoint, type Link, type Through, TransportError } from "./dataplane.ts"
import { TunDevice } from "./device.ts"
import { AttemptFailed, type AttemptReason } from "./errors.ts"
import { type Activity, keepalive } from "./keepalive.ts"
import { followPath } from "./mtu.ts"
import { applyNetwork, networkRefused } from "./network.ts"
import { firstHop, throughProxy } from "./proxy.ts"
import { type KeyEvent, rekey } from "./rekey.ts"
import type { Address } from "./resolve.ts"
import { openSession } from "./session.ts"
import { StatusRef } from "./status.ts"

/** Connects, carries traffic, and fails with the reason when it ends. Interrupting it says good-bye to the server. */
export const connection = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  const status = yield* StatusRef
  const { attempts } = yield* status.get
  const described = describe(remote, address)
  yield* status.update({
    phase: "connecting",
    attempts: attempts + 1,
    remote: firstHop(remote).host === address.address ? described : `${described} (${firstHop(remote).host})`,
    deadAfter: undefined,
  })
  yield* status.event("connecting", `connecting to ${described}`, {
    facts: { remote: described, attempt: attempts + 1 },
  })
  return yield* Effect.scoped(attempt(profile, remote, address)).pipe(
    Effect.catch((failure) => Effect.flatMap(suspectOthers(failure), Effect.fail)),
    Effect.tapError((failed) =>
      status.update({ phase: "waiting", lastError: failed.message }).pipe(
        Effect.andThen(
          status.event(failed.reason.tag === "AuthFailed" ? "auth_failed" : "disconnected", failed.message, {
            level: "Warn",
            facts: { reason: failed.reason.tag, established: failed.established },
          }),
        ),
      ),
    ),
  )
})

/** Nothing came back: when somebody else filters what leaves, that is worth a look. */
const suspectOthers = Effect.fnUntraced(function* (failure: AttemptFailed) {
  if (failure.reason.tag !== "NoAnswer" && failure.reason.tag !== "Transport") return failure
  const killSwitch = yield* KillSwitch
  const others = yield* killSwitch.others
  if (failure.established || others.length === 0) return failure
  const message = `${failure.reason.message}; other firewall tables filter what leaves here (${others.join(", ")}): see with 'nft list ruleset' that they let the server through`
  return failed({ ...failure.reason, message })
})

const describe = (remote: Remote, { address, family }: Address): string => {
  const first = `${family === "ipv6" ? `[${address}]` : address}:${firstHop(remote).port}`
  return remote.proxy === undefined
    ? `${remote.transport}://${first}`
    : `${remote.transport}://${remote.host}:${remote.port} through the proxy ${first}`
}

const attempt = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  const plane = yield* DataPlane
  const device = yield* TunDevice
  const network = yield* Network
  const killSwitch = yield* KillSwitch
  const hop = yield* network.reach(address.address, device.name)
  yield* killSwitch
    .server({ transport: remote.transport, address: address.address, port: firstHop(remote).port })
    .pipe(Effect.mapError(networkRefused))
  const began = plane.now()
  const endpoint = { transport: remote.transport, ...address, port: firstHop(remote).port, local: remote.local }
  const link = yield* openLink(endpoint, remote)
  yield* transportOpen(link, remote)

  // One limit for everything until the server's first answer.
  const connectTimeout = Math.max(1, Math.ceil(remote.connectTimeout - (plane.now() - began) / 1000))
  const session = yield* openSession(profile, { ...remote, connectTimeout }, address)
  const driver = yield* makeDriver(session, link, profile, plane.now)
  yield* sayGoodbye(driver, link)
  driver.step((at) => session.start(at))

  const receive = Effect.forever(
    Effect.flatMap(Queue.take(link.events), (event) => {
      switch (event.type) {
        case "control":
          driver.step((at) => session.receive(at, event.packet))
          return Effect.void
        case "transportFailed":
          return Effect.fail(
            failed(
              { tag: "Transport", retry: driver.established() ? "same" : "advance", message: event.message },
              driver.established(),
            ),
          )
        case "remoteExit":
          return Effect.fail(
            failed(
              { tag: "ServerExit", retry: "same", message: "the server said that it stops" },
              driver.established(),
            ),
          )
        case "keyUsed":
          driver.step(() => session.peerUsesKey(event.keyId))
          return Effect.void
        case "keyExhausted":
          Queue.offerUnsafe(driver.keyEvents, "exhausted")
          return Effect.void
        case "transportOpen":
          return Effect.void
      }
    }),
  )
  return yield* Effect.raceAllFirst([receive, driver.timer, supervise(profile, remote, address, hop, driver, link)])
})

/** The way through a proxy is bounded by connect-timeout as well. */
const openLink = Effect.fnUntraced(function* (endpoint: Endpoint, remote: Remote) {
  const plane = yield* DataPlane
  const credentials = yield* Credentials
  const { proxy } = remote
  const user = Effect.suspend(() => Effect.fromResult(credentials.proxyUser())).pipe(
    Effect.mapError((message) => new TransportError({ message })),
  )
  const through = proxy === undefined ? undefined : (dial: Dial) => throughProxy(proxy, remote, user, dial)
  return yield* plane.open(endpoint, through).pipe(
    Effect.mapError((error) => failed({ tag: "Transport", retry: "advance", message: error.message })),
    Effect.timeoutOrElse({
      duration: remote.connectTimeout * 1000,
      orElse: () => {
        const message = `no way through the proxy within ${remote.connectTimeout} s`
        return Effect.fail(failed({ tag: "NoAnswer", retry: "advance", message }))
      },
    }),
  )
})

type Dial = Parameters<Through>[0]

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

/** What fibers have to act on: everything of the session but packets and the choice of keys. */
type Fact = Exclude<Output, { readonly type: "transmit" | "useKey" | "retireKey" }>

interface Driver {
  readonly session: Session
  /** Changes the session and carries out everything it then wants, in order. */
  readonly step: (change: (now: number) => void) => void
  /** Calls the session back at its own deadlines. */
  readonly timer: Effect.Effect<never>
  /** In the order of the session. */
  readonly facts: Queue.Dequeue<Fact>
  readonly keyEvents: Queue.Queue<KeyEvent>
  readonly established: () => boolean
  readonly setEstablished: () => void
  readonly exitNotify: { times: number | undefined }
}

const makeDriver = Effect.fnUntraced(function* (session: Session, link: Link, profile: Profile, now: () => number) {
  const facts = yield* Queue.unbounded<Fact>()
  const keyEvents = yield* Queue.unbounded<KeyEvent>()
  const rearm = yield* Queue.sliding<void>(1)
  let deadline: number | undefined
  let established = false

  const step = (change: (now: number) => void) => {
    change(now())
    for (let output = session.poll(); output !== undefined; output = session.poll()) {
      switch (output.type) {
        case "transmit":
          link.transmit(output.packet)
          break
        case "useKey":
          link.useKey(output.keyId)
          break
        case "retireKey":
          link.retireKey(output.keyId)
          break
        case "installKey":
          link.installKey(output.key, profile.replayWindow)
          Queue.offerUnsafe(facts, output)
          break
        default:
          Queue.offerUnsafe(facts, output)
      }
    }
    const next = session.nextTimeout()?.at
    if (next !== deadline) {
      deadline = next
      Queue.offerUnsafe(rearm, undefined)
    }
  }
  const timer = Effect.gen(function* () {
    for (;;) {
      if (deadline === undefined) {
        yield* Queue.take(rearm)
        continue
      }
      const remaining = deadline - now()
      // Rounded up: a timer that fires a fraction of a millisecond early would only come back for the rest.
      const changed =
        remaining > 0 ? yield* Queue.take(rearm).pipe(Effect.timeoutOption(Math.ceil(remaining))) : Option.none()
      if (Option.isNone(changed)) step((at) => session.timeout(at))
    }
  })
  const driver: Driver = {
    session,
    step,
    timer,
    facts,
    keyEvents,
    established: () => established,
    setEstablished: () => {
      established = true
    },
    exitNotify: { times: undefined },
  }
  return driver
})

/** Waits for the push and the first key, makes the host's network so, then runs the policies until one of them ends it. */
const supervise = Effect.fnUntraced(function* (
  profile: Profile,
  remote: Remote,
  address: Address,
  hop: NextHop | undefined,
  driver: Driver,
  link: Link,
) {
  const status = yield* StatusRef
  const plane = yield* DataPlane
  let pushed: Pushed | undefined
  let key: DataKey | undefined
  while (key === undefined) {
    const fact = yield* Queue.take(driver.facts)
    if (fact.type === "pushed") pushed = fact.options
    if (fact.type === "installKey") key = fact.key
    yield* handle(fact, driver)
  }
  const path = yield* followPath(remote, address, key)
  /** Makes the host what file and server want; also while the tunnel is up, when the server changes its mind. */
  const configure = Effect.fnUntraced(function* (pushed: Pushed | undefined) {
    const network = pushed === undefined ? profile.network : mergeNetwork(profile.network, pushed.network)
    const { mtu } = yield* path.sizes(pushed, network.ifconfigIpv6 !== undefined)
    const addresses = yield* applyNetwork(profile, network, mtu, address, hop)
    const hostNetwork = yield* Network
    const killSwitch = yield* KillSwitch
    const device = yield* TunDevice
    yield* killSwitch.tunnel({ device: device.name, addresses }).pipe(Effect.mapError(networkRefused))
    yield* status.update({ routes: yield* hostNetwork.current, addresses, mtu })
    return { addresses, mtu }
  })
  const { addresses, mtu } = yield* configure(pushed)
  driver.exitNotify.times = remote.explicitExitNotify ?? pushed?.explicitExitNotify
  driver.setEstablished()

  const limits = keepaliveOf(profile.keepalive, pushed?.keepalive, remote.transport, profile.pull)
  const { connects, since } = yield* status.get
  yield* status.update({
    phase: "connected",
    connects: connects + 1,
    lastError: undefined,
    deadAfter: limits.pingRestart || limits.pingExit || undefined,
  })
  const { cipher, tls } = yield* status.get
  yield* status.event("connected", `connected: ${cipher}, ${tls}, ${addresses.join(" ") || "no address"}`, {
    facts: { cipher, tls, addresses, mtu, seconds: ((yield* Clock.currentTimeMillis) - since) / 1000 },
  })

  const activity: Activity = {
    now: plane.now,
    lastSend: () => plane.counter("lastSend"),
    lastReceive: () => Math.max(plane.counter("lastReceive"), driver.session.lastReceive ?? 0),
    tunnelBytes: () => plane.counter("tunReadBytes") + plane.counter("tunWriteBytes"),
    ping: link.ping,
  }
  const facts = Effect.forever(
    Effect.flatMap(Queue.take(driver.facts), (fact) =>
      fact.type === "pushUpdated"
        ? Effect.andThen(configure(fact.options), status.event("push_updated", "the server changed its configuration"))
        : handle(fact, driver),
    ),
  )
  return yield* Effect.raceAllFirst([
    facts,
    path.following,
    keepalive(limits, activity),
    rekey(profile.timers, {
      events: driver.keyEvents,
      now: plane.now,
      bytes: () => plane.counter("keyBytes"),
      packets: () => plane.counter("sealedPackets") + plane.counter("openedPackets"),
      renegotiate: Effect.sync(() => driver.step((at) => driver.session.renegotiate(at))),
    }),
  ])
})

/** The part of every fact that is the same before and after the connection is up. */
const handle = Effect.fnUntraced(function* (fact: Fact, driver: Driver) {
  const status = yield* StatusRef
  switch (fact.type) {
    case "pushed":
    case "pushUpdated":
      return
    case "installKey": {
      const { renegotiations } = yield* status.get
      const cipher = fact.key.cipher
      const tls = `${fact.tls.version} ${fact.tls.cipher}`
      const renegotiated = driver.established()
      yield* status.update({
        cipher,
        tls,
        keyId: fact.key.keyId,
        keySince: yield* Clock.currentTimeMillis,
        ...(renegotiated ? { renegotiations: renegotiations + 1 } : {}),
      })
      if (renegotiated) {
        Queue.offerUnsafe(driver.keyEvents, "installed")
        yield* status.event("renegotiated", `new data key ${fact.key.keyId}: ${cipher}, ${tls}`, {
          facts: { keyId: fact.key.keyId },
        })
      }
      return
    }
    case "renegotiationFailed":
      Queue.offerUnsafe(driver.keyEvents, "failed")
      return yield* status.event("renegotiation_failed", `${fact.message}; the old key stays in use`, { level: "Warn" })
    case "authPending":
      return yield* status.event("auth_pending", "the server waits for a second authentication step")
    case "notice":
      return yield* status.event(fact.event.replaceAll("-", "_"), fact.message, { level: noticeLevels[fact.level] })
    case "closed":
      return yield* failed(fact.reason, driver.established())
  }
})

const noticeLevels = { debug: "Debug", info: "Info", warn: "Warn" } as const

/** The server's values win; without any, a UDP client that pulls assumes a dead server after 120 s, as OpenVPN does. */
export const keepaliveOf = (
  file: KeepaliveOptions,
  pushed: KeepaliveOptions | undefined,
  transport: Remote["transport"],
  pull: boolean,
): KeepaliveOptions => {
  const merged = {
    ping: pushed?.ping ?? file.ping,
    pingRestart: pushed?.pingRestart ?? file.pingRestart,
    pingExit: pushed?.pingExit ?? file.pingExit,
    inactive: pushed?.inactive ?? file.inactive,
    sessionTimeout: pushed?.sessionTimeout ?? file.sessionTimeout,
  }
  const silent = merged.pingRestart === undefined && merged.pingExit === undefined
  return silent && pull && transport === "udp" ? { ...merged, pingRestart: 120 } : merged
}

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

const failed = (reason: AttemptReason, established = false) => new AttemptFailed({ reason, established })
