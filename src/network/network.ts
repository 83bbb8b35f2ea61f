/**
 * Keeps the host's network equal to the latest plan. Between two connections the plan stays applied, so that packets for
 * the tunnel wait or drop in tun and never leave another way; a new plan changes only what differs. The scope's end
 * takes everything back in reverse.
 */
import { Context, Effect, Layer } from "effect"
import type { HostFacts } from "./beside.ts"
import { type Change, hostRoute, leftovers, linkChange, type NextHop } from "./change.ts"
import { Ip, type IpError } from "./ip.ts"

export class Network extends Context.Service<
  Network,
  {
    /** Addresses and networks that are reached beside the tunnel. */
    readonly direct: ReadonlyArray<string>
    /** Applies the difference to the changes in force. Returns warnings: IPv6 changes that the host refused. */
    readonly converge: (changes: ReadonlyArray<Change>) => Effect.Effect<ReadonlyArray<string>, IpError>
    /** Makes a server reachable beside a tunnel whose routes are still there, before a reconnect to another address. */
    readonly reach: (address: string, device: string) => Effect.Effect<NextHop | undefined>
    readonly facts: (device: string) => Effect.Effect<HostFacts>
    /** Bytes that fit into one packet on the way to an address; undefined: unknown. */
    readonly pathMtu: (address: string) => Effect.Effect<number | undefined>
    readonly setMtu: (device: string, mtu: number) => Effect.Effect<void, IpError>
    /** The lines in force, in order. */
    readonly current: Effect.Effect<ReadonlyArray<string>>
  }
>()("culvert/network/Network") {
  /** The scope of this layer is the time for which addresses and routes exist. `direct`: what is reached beside the tunnel. */
  static readonly layer = (direct: ReadonlyArray<string>) =>
    Layer.effect(
      Network,
      Effect.gen(function* () {
        const ip = yield* Ip
        let current: ReadonlyArray<Change> = []
        const undo = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
          for (const family of ["ipv6", "ipv4"] as const) {
            const lines = changes.filter((change) => change.family === family).map((change) => change.undo)
            yield* ip.batchForced(lines.filter((line) => line !== undefined).reverse(), family)
          }
        })
        for (const family of ["ipv4", "ipv6"] as const) yield* ip.batchForced(leftovers, family)

        yield* Effect.addFinalizer(() => Effect.suspend(() => undo(current)))

        const converge = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
          const wanted = new Set(changes.map((change) => change.apply))
          const removed = current.filter((change) => !wanted.has(change.apply))
          // With the last IPv4 address of a device the kernel drops its routes, also those that the new plan keeps.
          const isAddress = (change: Change) => change.family === "ipv4" && change.apply.startsWith("address ")
          const isRoute = (change: Change) => change.family === "ipv4" && change.apply.startsWith("route ")
          const routesAreLost = removed.some(isAddress)
          const stays = (change: Change) => wanted.has(change.apply) && !(routesAreLost && isRoute(change))
          const present = new Set(current.filter(stays).map((change) => change.apply))
          yield* undo(removed)
          const warnings: Array<string> = []
          current = current.filter(stays)
          for (const family of ["ipv4", "ipv6"] as const) {
            let added = changes.filter((change) => change.family === family && !present.has(change.apply))
            while (added.length > 0) {
              const result = yield* Effect.result(
                ip.batch(
                  added.map((change) => change.apply),
                  family,
                ),
              )
              const done = result._tag === "Success" ? added.length : (result.failure.done ?? 0)
              current = [...current, ...added.slice(0, done)]
              if (result._tag === "Success") break
              if (family === "ipv4") {
                // Nothing stays half applied.
                yield* undo(added.slice(0, done))
                current = current.slice(0, current.length - done)
                return yield* result.failure
              }
              warnings.push(result.failure.message)
              added = added.slice(done + 1)
            }
          }
          // Reverse order must undo the plan's order, also for what an earlier plan had applied.
          const order = new Map(changes.map((change, index) => [change.apply, index]))
          current = [...current].sort((a, b) => order.get(a.apply)! - order.get(b.apply)!)
          return warnings
        }, Effect.uninterruptible)

        const reach = Effect.fnUntraced(function* (address: string, device: string) {
          const direct = yield* ip.nextHop(address, device)
          if (direct !== undefined) return direct
          const facts = yield* ip.facts(device)
          const hop = address.includes(":") ? facts.gateway.ipv6 : facts.gateway.ipv4
          if (hop === undefined) return undefined
          const change = hostRoute(address, hop)
          yield* ip.batch([change.apply], change.family).pipe(Effect.ignore)
          if (!current.some((present) => present.apply === change.apply)) current = [...current, change]
          return hop
        }, Effect.uninterruptible)

        return Network.of({
          direct,
          converge,
          reach,
          facts: (device) => ip.facts(device),
          pathMtu: ip.pathMtu,
          setMtu: Effect.fnUntraced(function* (device, mtu) {
            const change = linkChange(device, mtu)
            yield* ip.batch([change.apply], change.family)
            // A later plan compares with what is in force now.
            const isOld = (line: string) => line.startsWith(`link set dev ${device} `)
            current = current.map((present) => (isOld(present.apply) ? change : present))
          }, Effect.uninterruptible),
          current: Effect.sync(() => current.map((change) => change.apply)),
        })
      }),
    )

  /**
   * Without CAP_NET_ADMIN: nothing is changed. The caller logs what the administrator has to set.
   */
  static readonly layerObserver = Layer.effect(
    Network,
    Effect.gen(function* () {
      const ip = yield* Ip
      return Network.of({
        direct: [],
        converge: () => Effect.succeed([]),
        reach: (address, device) => ip.nextHop(address, device),
        facts: (device) => ip.facts(device),
        setMtu: () => Effect.void,
        pathMtu: ip.pathMtu,
        current: Effect.succeed([]),
      })
    }),
  )
}
