/**
 * The kill switch as a service: one `Firewall` value, and every change of it is the whole table anew. The table is there
 * before the first name is resolved and stays when the program ends, however it ends.
 */
import { Context, Effect, Ref, Semaphore } from "effect"
import { earlierSet, type Firewall, ruleset, type ServerEndpoint } from "./firewall.ts"
import { type FirewallError, Nft, type NftObject } from "./nft.ts"

export class KillSwitch extends Context.Service<
  KillSwitch,
  {
    /** "none": there is no right to set one. */
    readonly state: "on" | "off" | "none"
    /** Opens the way to this server and closes that to the one before; to be called before a socket sends. */
    readonly server: (endpoint: ServerEndpoint | undefined) => Effect.Effect<void, FirewallError>
    readonly tunnel: (tunnel: Firewall["tunnel"]) => Effect.Effect<void, FirewallError>
    /** While `lookup` runs the pod's resolvers may be asked. */
    readonly resolving: <A, E, R>(lookup: Effect.Effect<A, E, R>) => Effect.Effect<A, E | FirewallError, R>
    /** Sets it again when the kernel holds another table than was set, or none: somebody else removed or changed it. True: it was so. */
    readonly restore: Effect.Effect<boolean, FirewallError>
    /** Tables of others that may be in our way. */
    readonly others: Effect.Effect<ReadonlyArray<string>>
    /** Packets refused since the table last changed. */
    readonly refused: Effect.Effect<{ readonly ipv4: number; readonly ipv6: number }>
  }
>()("culvert/network/KillSwitch") {
  /** Raises it. When the scope ends it stays, without the way to the server; one that refuses nothing goes. */
  static readonly raise = Effect.fnUntraced(function* (initial: Firewall) {
    const nft = yield* Nft
    const before = yield* nft.read
    const state = yield* Ref.make<Firewall>({
      ...initial,
      // Sockets that are there now were opened behind the present table, if there is one.
      earlierUdpPorts: before === undefined ? initial.earlierUdpPorts : earlierPorts(before),
    })
    const turns = yield* Semaphore.make(1)
    /** The table as the kernel shows it, which is not how it was written. */
    let shown = ""
    const set = (firewall: Firewall) =>
      Effect.gen(function* () {
        yield* nft.apply(ruleset(firewall))
        shown = yield* nft.text
      })
    const inTurn = <A, E>(effect: Effect.Effect<A, E>) => turns.withPermit(effect).pipe(Effect.uninterruptible)
    const change = (alter: (firewall: Firewall) => Firewall) =>
      inTurn(
        Effect.gen(function* () {
          const present = yield* Ref.get(state)
          const next = alter(present)
          if (ruleset(next) !== ruleset(present)) yield* set(next)
          yield* Ref.set(state, next)
        }),
      )
    const open = (resolving: boolean) =>
      initial.dns.forwarded ? Effect.void : change((firewall) => ({ ...firewall, dns: { ...firewall.dns, resolving } }))

    yield* set(yield* Ref.get(state))
    yield* Effect.addFinalizer(() =>
      Effect.ignore(
        initial.enforced ? change((firewall) => ({ ...firewall, server: undefined, tunnel: undefined })) : nft.clear,
      ),
    )
    return KillSwitch.of({
      state: initial.enforced ? "on" : "off",
      server: (server) => change((firewall) => ({ ...firewall, server })),
      tunnel: (tunnel) => change((firewall) => ({ ...firewall, tunnel })),
      resolving: (lookup) =>
        Effect.acquireUseRelease(
          open(true),
          () => lookup,
          () => Effect.ignore(open(false)),
        ),
      restore: inTurn(
        Effect.gen(function* () {
          if ((yield* nft.text) === shown) return false
          yield* set(yield* Ref.get(state))
          return true
        }),
      ),
      others: Effect.orElseSucceed(nft.others, () => []),
      refused: Effect.map(
        Effect.orElseSucceed(nft.read, () => undefined),
        (objects) => ({ ipv4: counted(objects, "refused_ipv4"), ipv6: counted(objects, "refused_ipv6") }),
      ),
    })
  })

  /** Nothing is set and nothing refused. */
  static readonly none = KillSwitch.of({
    state: "none",
    server: () => Effect.void,
    tunnel: () => Effect.void,
    resolving: (lookup) => lookup,
    restore: Effect.succeed(false),
    others: Effect.succeed([]),
    refused: Effect.succeed({ ipv4: 0, ipv6: 0 }),
  })
}

const earlierPorts = (objects: ReadonlyArray<NftObject>): ReadonlyArray<number> =>
  objects
    .flatMap((object) => ("set" in object && object.set.name === earlierSet ? (object.set.elem ?? []) : []))
    .filter((element) => typeof element === "number")

const counted = (objects: ReadonlyArray<NftObject> | undefined, name: string): number =>
  (objects ?? []).reduce(
    (sum, object) => sum + ("counter" in object && object.counter.name === name ? object.counter.packets : 0),
    0,
  )
