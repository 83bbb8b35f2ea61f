/**
 * The second part of a connection: the host becomes what the server wants, and the policies run that live as long as the
 * connection does.
 */
import { Clock, Effect, Queue } from "effect"
import type { KeepaliveOptions, Pushed, Remote } from "../config/index.ts"
import { mergeNetwork, Network } from "../network/index.ts"
import { DataPlane } from "./dataplane.ts"
import { type Established, tell } from "./establish.ts"
import { type Activity, keepalive } from "./keepalive.ts"
import { followPath } from "./mtu.ts"
import { applyNetwork } from "./network.ts"
import { rekey } from "./rekey.ts"
import { StatusRef } from "./status.ts"

export interface ServeOptions {
  /** Connections use other addresses of the tunnel still. */
  readonly hasFormer: boolean
  /** The host is this connection's now, and the status is for it to change. */
  readonly onUp: (up: Up) => Effect.Effect<void, never, StatusRef>
}

export interface Up {
  readonly cipher: string
  readonly tls: string
  readonly addresses: ReadonlyArray<string>
  readonly mtu: number
}

/** Carries traffic until one of the policies or the link ends it, and fails with the reason. */
export const serve = Effect.fnUntraced(function* (connection: Established, { hasFormer, onUp }: ServeOptions) {
  const { profile, remote, peer, link, driver, pushed, first } = connection
  const status = yield* StatusRef
  const plane = yield* DataPlane
  const path = yield* followPath(remote, peer, connection.headerLength, first.key)
  const limits = yield* Queue.sliding<KeepaliveOptions>(1)
  /** Makes the host what file and server want; also while the tunnel is up, when the server changes its mind. */
  const configure = Effect.fnUntraced(function* (pushed: Pushed | undefined) {
    const network = pushed === undefined ? profile.network : mergeNetwork(profile.network, pushed.network)
    const { mtu } = yield* path.sizes(pushed, network.ifconfigIpv6 !== undefined)
    const addresses = yield* applyNetwork(profile, network, mtu, peer.current, hasFormer)
    const hostNetwork = yield* Network
    const keptAlive = keepaliveOf(profile.keepalive, pushed?.keepalive, remote.transport, profile.pull)
    Queue.offerUnsafe(limits, keptAlive)
    // 0 says nothing.
    if (pushed?.sndbuf || pushed?.rcvbuf) link.resizeBuffers(pushed.sndbuf || undefined, pushed.rcvbuf || undefined)
    driver.exitNotify.times = remote.explicitExitNotify ?? pushed?.explicitExitNotify
    const deadAfter = keptAlive.silence?.seconds || undefined
    yield* status.update({ routes: yield* hostNetwork.current, addresses, mtu, deadAfter })
    return { addresses, mtu }
  })
  const takeHost = Effect.gen(function* () {
    const { addresses, mtu } = yield* configure(pushed)
    link.carry()
    driver.setEstablished()
    yield* tellKey(first)
    yield* onUp({ cipher: first.key.cipher, tls: describeKeys(first.tls), addresses, mtu })
  })
  const facts = Effect.forever(
    Effect.flatMap(Queue.take(driver.facts), (fact) => {
      switch (fact.type) {
        case "pushUpdated":
          return Effect.andThen(
            configure(fact.options),
            status.event("push_updated", "the server changed its configuration"),
          )
        case "installKey":
          Queue.offerUnsafe(driver.keyEvents, "installed")
          return Effect.andThen(tellKey(fact), tellRenewal(fact))
        default:
          return tell(fact, driver)
      }
    }),
  )
  const policies = Effect.suspend(() =>
    Effect.raceAllFirst([
      facts,
      path.following,
      keepalive(limits, activityOf(connection, plane.now)),
      rekey(profile.timers, {
        events: driver.keyEvents,
        now: plane.now,
        bytes: () => link.counter("keyBytes"),
        packets: () => link.counter("sealedPackets") + link.counter("openedPackets"),
        renegotiate: Effect.sync(() => driver.step((at) => driver.session.renegotiate(at))),
      }),
    ]),
  )
  return yield* Effect.raceFirst(Effect.andThen(takeHost, policies), driver.ended)
})

/** Control packets count as life where a key of their own proves that they are the server's. */
export const activityOf = ({ link, driver, remote }: Established, now: () => number): Activity => ({
  now,
  lastSend: () => link.counter("lastSend"),
  lastReceive: () =>
    remote.controlWrapping._tag === "Plain"
      ? link.counter("lastReceive")
      : Math.max(link.counter("lastReceive"), driver.session.lastReceive ?? 0),
  tunnelBytes: () => link.counter("tunBytes"),
  ping: link.ping,
})

const tellKey = Effect.fnUntraced(function* ({ key, tls }: Established["first"]) {
  const status = yield* StatusRef
  yield* status.update({
    cipher: key.cipher,
    tls: describeKeys(tls),
    keyId: key.keyId,
    keySince: yield* Clock.currentTimeMillis,
  })
})

const tellRenewal = Effect.fnUntraced(function* ({ key, tls }: Established["first"]) {
  const status = yield* StatusRef
  const { renegotiations } = yield* status.get
  yield* status.update({ renegotiations: renegotiations + 1 })
  const message = `new data key ${key.keyId}: ${key.cipher}, ${describeKeys(tls)}`
  yield* status.event("renegotiated", message, { facts: { keyId: key.keyId } })
})

const describeKeys = (tls: Established["first"]["tls"]): string =>
  tls === undefined ? "static key" : `${tls.version} ${tls.cipher}`

/** The server's values win; without any, a UDP client that pulls assumes a dead server after 120 s, as OpenVPN does. */
export const keepaliveOf = (
  file: KeepaliveOptions,
  pushed: KeepaliveOptions | undefined,
  transport: Remote["transport"],
  pull: boolean,
): KeepaliveOptions => {
  const merged = {
    ping: pushed?.ping ?? file.ping,
    silence: pushed?.silence ?? file.silence,
    inactive: pushed?.inactive ?? file.inactive,
    sessionTimeout: pushed?.sessionTimeout ?? file.sessionTimeout,
  }
  if (merged.silence !== undefined || !pull || transport !== "udp") return merged
  return { ...merged, silence: { seconds: 120, then: "restart" } }
}
