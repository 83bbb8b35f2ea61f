/**
 * Links that another one has taken over from. One whose address the new link has as well only takes what is still on its way.
 * One with an address of its own goes on carrying the connections that began with it, until they have ended.
 */
import { Clock, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { KillSwitch, Network, planFormer } from "../network/index.ts"
import { DataPlane } from "./dataplane.ts"
import { TunDevice } from "./device.ts"
import type { Established } from "./establish.ts"
import { keepalive } from "./keepalive.ts"
import { networkRefused } from "./network.ts"
import { activityOf, keepaliveOf } from "./serve.ts"
import type { Held } from "./serving.ts"
import { StatusRef } from "./status.ts"

/** ms; for packets that are on their way when the server already has the new link. */
export const afterglow = 2000
/** ms; a link on which nothing but pings has passed for so long has no connections any more. */
export const idleLimit = 30_000
/** ms; however busy it is. */
export const longestDrain = 300_000
/** Beside one that carries and one that is about to. */
export const mostFormer = 4

interface Former {
  readonly addresses: ReadonlyArray<string>
  readonly lastActivity: () => number
  readonly fiber: Fiber.Fiber<void>
}

/** The former links of one tunnel; none outlives the scope. */
export const makeFormers = Effect.gen(function* () {
  const above = yield* Effect.scope
  const plane = yield* DataPlane
  const device = yield* TunDevice
  const network = yield* Network
  const killSwitch = yield* KillSwitch
  const status = yield* StatusRef
  let all: ReadonlyArray<Former> = []

  const end = (former: Former) => Fiber.interrupt(former.fiber)

  const settled = Effect.fnUntraced(function* ({ connection }: Held, addresses: ReadonlyArray<string>) {
    if (addresses.length === 0) return yield* Effect.sleep(afterglow)
    yield* Effect.raceAllFirst([
      idle(connection, plane.now),
      Effect.sleep(longestDrain),
      Effect.ignore(stayAlive(connection, plane.now)),
      Effect.ignore(connection.driver.ended),
    ])
  })

  return {
    get isEmpty(): boolean {
      return all.every(({ addresses }) => addresses.length === 0)
    },

    /** The addresses that are about to be the tunnel's are no former ones. */
    release: Effect.fnUntraced(function* (addresses: ReadonlyArray<string>) {
      const bare = addresses.map(withoutPrefix)
      yield* Effect.forEach(
        all.filter((former) => former.addresses.some((address) => bare.includes(withoutPrefix(address)))),
        end,
      )
    }),

    /** There may be one more: the one that has been idle for longest ends. */
    makeRoom: Effect.suspend(() => {
      const [longest] = [...all].sort((a, b) => a.lastActivity() - b.lastActivity())
      return longest === undefined || all.length < mostFormer ? Effect.void : end(longest)
    }),

    /** From now on what is sent from these addresses goes through this link, until the scope that is given is closed. */
    keep: Effect.fnUntraced(function* ({ link, peer }: Established, addresses: ReadonlyArray<string>) {
      const scope = yield* Scope.fork(above)
      if (addresses.length === 0) return scope
      yield* Effect.gen(function* () {
        const { address, hop } = peer.current
        const server = { address: address.address, via: hop }
        yield* network.keep(planFormer({ device: device.name, addresses, server }))
        yield* killSwitch.formerAddresses(addresses)
        yield* Effect.acquireRelease(
          Effect.sync(() => link.drain(addresses)),
          () => Effect.sync(() => link.drain([])),
        )
      }).pipe(
        Scope.provide(scope),
        Effect.mapError(networkRefused),
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
      )
      return scope
    }, Effect.uninterruptible),

    /** Closes the link and what was kept for it when nothing needs them any more. */
    linger: Effect.fnUntraced(function* (held: Held, addresses: ReadonlyArray<string>, kept: Scope.Closeable) {
      const began = yield* Clock.currentTimeMillis
      const since = plane.now()
      const tell = Effect.gen(function* () {
        if (addresses.length === 0) return
        const seconds = ((yield* Clock.currentTimeMillis) - began) / 1000
        const message = `the connection of before is closed, and with it ${addresses.join(" ")}`
        yield* status.event("drained", message, { facts: { addresses, seconds } })
      })
      const fiber = yield* settled(held, addresses).pipe(
        Effect.onExit(() =>
          Effect.suspend(() => {
            all = all.filter((other) => other !== former)
            return Scope.close(kept, Exit.void).pipe(
              Effect.andThen(held.close),
              Effect.andThen(Effect.flatMap(network.current, (routes) => status.update({ routes }))),
              Effect.andThen(tell),
            )
          }),
        ),
        Effect.forkIn(above, { startImmediately: false }),
      )
      const { link } = held.connection
      const former: Former = {
        addresses,
        lastActivity: () => Math.max(link.counter("lastTunActivity"), since),
        fiber,
      }
      all = [...all, former]
    }),
  }
})

export type Formers = Effect.Success<typeof makeFormers>

const idle = Effect.fnUntraced(function* ({ link }: Established, now: () => number) {
  const since = now()
  for (;;) {
    const remaining = idleLimit - (now() - Math.max(link.counter("lastTunActivity"), since))
    if (remaining <= 0) return
    yield* Effect.sleep(remaining)
  }
})

/** The server hears of us, and we notice when it is gone. What it says otherwise is of no interest any more. */
const stayAlive = Effect.fnUntraced(function* (connection: Established, now: () => number) {
  const { profile, pushed, remote, driver } = connection
  const limits = keepaliveOf(profile.keepalive, pushed?.keepalive, remote.transport, profile.pull)
  const queue = yield* Queue.sliding<typeof limits>(1)
  Queue.offerUnsafe(queue, { ...limits, inactive: undefined, sessionTimeout: undefined })
  const closed = Effect.gen(function* () {
    while ((yield* Queue.take(driver.facts)).type !== "closed");
  })
  yield* Effect.raceFirst(keepalive(queue, activityOf(connection, now)), closed)
})

export const withoutPrefix = (address: string): string => address.split("/")[0]!
