/**
 * Keeps the host's network equal to the latest plan. Between two connections the plan stays applied, so that packets for
 * the tunnel wait or drop in tun and never leave another way; a new plan changes only what differs. The scope's end
 * takes everything back in reverse.
 */
import { Context, Effect, Layer, type Scope, Semaphore } from "effect"
import { type HostFacts, planBeside } from "./beside.ts"
import { type Change, hostRoute, leftovers, linkChange, type NextHop } from "./change.ts"
import { Ip, type IpError } from "./ip.ts"

export class Network extends Context.Service<
  Network,
  {
    /** Addresses and networks that are reached beside the tunnel. */
    readonly direct: ReadonlyArray<string>
    /**
     * Makes what goes on beside the tunnel fit the pod's addresses and routes of now, whatever plan is; returns warnings. `device`: of
     * the tunnel.
     */
    readonly fitPod: (device: string) => Effect.Effect<ReadonlyArray<string>, IpError>
    /** Applies the difference to the changes in force. Returns warnings: IPv6 changes that the host refused. */
    readonly converge: (changes: ReadonlyArray<Change>) => Effect.Effect<ReadonlyArray<string>, IpError>
    /** Until the scope ends these are in force as well, whatever plan is; before the plan where the order matters. */
    readonly keep: (changes: ReadonlyArray<Change>) => Effect.Effect<ReadonlyArray<string>, IpError, Scope.Scope>
    /** Until the scope ends a server is reachable beside a tunnel whose routes would take what is sent there. */
    readonly reach: (address: string, device: string) => Effect.Effect<NextHop | undefined, never, Scope.Scope>
    readonly facts: (device: string) => Effect.Effect<HostFacts>
    /** Bytes that fit into one packet on the way to an address; undefined: unknown. */
    readonly pathMtu: (address: string) => Effect.Effect<number | undefined>
    readonly setMtu: (device: string, mtu: number) => Effect.Effect<void, IpError>
    /** Sets the routes in force again, of which the kernel drops some when a link goes down or loses its addresses; false: not all. */
    readonly renewRoutes: Effect.Effect<boolean>
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
        const turns = yield* Semaphore.make(1)
        const inTurn = <A, E>(effect: Effect.Effect<A, E>) => turns.withPermit(effect).pipe(Effect.uninterruptible)
        /** In force, in order. */
        let current: ReadonlyArray<Change> = []
        let beside: ReadonlyArray<Change> = []
        let plan: ReadonlyArray<Change> = []
        let kept: ReadonlyArray<ReadonlyArray<Change>> = []
        const undo = Effect.fnUntraced(function* (changes: ReadonlyArray<Change>) {
          for (const family of ["ipv6", "ipv4"] as const) {
            const lines = changes.filter((change) => change.family === family).map((change) => change.undo)
            yield* ip.batchForced(lines.filter((line) => line !== undefined).reverse(), family)
          }
        })
        if (yield* ip.hasLeftovers) {
          for (const family of ["ipv4", "ipv6"] as const) yield* ip.batchForced(leftovers, family)
        }

        yield* Effect.addFinalizer(() => Effect.suspend(() => undo(current)))

        const apply = Effect.gen(function* () {
          const changes = [
            ...new Map([...beside, ...kept.flat(), ...plan].map((change) => [change.apply, change])).values(),
          ]
          const wanted = new Set(changes.map((change) => change.apply))
          const removed = current.filter((change) => !wanted.has(change.apply))
          // With the last IPv4 address of a device the kernel drops its routes, also those that the new plan keeps.
          const isAddress = (change: Change) => change.family === "ipv4" && change.apply.startsWith("address ")
          const isRoute = (change: Change) => change.family === "ipv4" && change.apply.startsWith("route ")
          const routesAreLost =
            removed.some(isAddress) && !current.some((change) => isAddress(change) && wanted.has(change.apply))
          const stays = (change: Change) => wanted.has(change.apply) && !(routesAreLost && isRoute(change))
          const present = new Set(current.filter(stays).map((change) => change.apply))
          // What is taken back by the same line is the same thing: it is replaced, without a moment in which it is not there.
          const replaced = new Set(changes.map((change) => change.undo))
          yield* undo(removed.filter((change) => !replaced.has(change.undo)))
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
                const isPresent = ({ apply }: Change) => current.some((present) => present.apply === apply)
                beside = beside.filter(isPresent)
                plan = plan.filter(isPresent)
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
        })
        const keep = (changes: ReadonlyArray<Change>) => {
          const own = [...changes]
          const release = Effect.suspend(() => {
            kept = kept.filter((other) => other !== own)
            return Effect.ignore(apply)
          })
          return Effect.acquireRelease(
            inTurn(
              Effect.suspend(() => {
                kept = [...kept, own]
                return apply
              }).pipe(Effect.onError(() => release)),
            ),
            () => inTurn(release),
          )
        }

        return Network.of({
          direct,
          fitPod: (device) =>
            inTurn(
              Effect.gen(function* () {
                beside = planBeside(yield* ip.facts(device), direct)
                return yield* apply
              }),
            ),
          converge: (changes) =>
            inTurn(
              Effect.suspend(() => {
                plan = changes
                return apply
              }),
            ),
          keep,
          reach: Effect.fnUntraced(function* (address, device) {
            const direct = yield* ip.nextHop(address, device)
            if (direct !== undefined) return direct
            const facts = yield* ip.facts(device)
            const hop = address.includes(":") ? facts.gateway.ipv6 : facts.gateway.ipv4
            if (hop !== undefined) yield* Effect.ignore(keep([hostRoute(address, hop)]))
            return hop
          }),
          facts: (device) => ip.facts(device),
          pathMtu: ip.pathMtu,
          setMtu: (device, mtu) =>
            inTurn(
              Effect.gen(function* () {
                const change = linkChange(device, mtu)
                yield* ip.batch([change.apply], change.family)
                // A later plan compares with what is in force now.
                const renew = (present: Change) =>
                  present.apply.startsWith(`link set dev ${device} mtu `) ? change : present
                current = current.map(renew)
                plan = plan.map(renew)
              }),
            ),
          renewRoutes: inTurn(
            Effect.gen(function* () {
              let isWhole = true
              for (const family of ["ipv4", "ipv6"] as const) {
                const routes = current.filter((change) => change.family === family && change.apply.startsWith("route "))
                isWhole =
                  (yield* ip.batchForced(
                    routes.map(({ apply }) => apply),
                    family,
                  )) && isWhole
              }
              return isWhole
            }),
          ),
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
        fitPod: () => Effect.succeed([]),
        converge: () => Effect.succeed([]),
        keep: () => Effect.succeed([]),
        reach: (address, device) => ip.nextHop(address, device),
        facts: (device) => ip.facts(device),
        setMtu: () => Effect.void,
        pathMtu: ip.pathMtu,
        renewRoutes: Effect.succeed(true),
        current: Effect.succeed([]),
      })
    }),
  )
}
