/**
 * The kill switch as a service: one `Firewall` value, and every change of it is the whole table anew. The table is there
 * before the first name is resolved and stays when the program ends, however it ends.
 */
import { Context, Effect, Ref, type Scope, Semaphore } from "effect"
import { UNKNOWN_GENERATION } from "../linux/index.ts"
import { doesSomething, earlierSet, type Firewall, ruleset, type ServerEndpoint } from "./firewall.ts"
import { type FirewallError, Nft, type NftObject } from "./nft.ts"

export class KillSwitch extends Context.Service<
  KillSwitch,
  {
    /** "none": there is no right to set one. */
    readonly state: "on" | "off" | "none"
    /** The way to this server is open until the scope ends; to be called before a socket sends. */
    readonly server: (endpoint: ServerEndpoint) => Effect.Effect<void, FirewallError, Scope.Scope>
    /** These belong to the tunnel as well until the scope ends, whatever `tunnel` says. */
    readonly formerAddresses: (addresses: ReadonlyArray<string>) => Effect.Effect<void, FirewallError, Scope.Scope>
    readonly tunnel: (tunnel: Firewall["tunnel"]) => Effect.Effect<void, FirewallError>
    /** The same with the next change: a tunnel that nothing goes through yet needs none of its own. */
    readonly announce: (tunnel: Firewall["tunnel"]) => Effect.Effect<void>
    /** While `lookup` runs the pod's resolvers may be asked. */
    readonly resolving: <A, E, R>(lookup: Effect.Effect<A, E, R>) => Effect.Effect<A, E | FirewallError, R>
    /**
     * Sets it again if one of these generations of the packet filter, in which the table changed or was removed, came after the last
     * that was made here: it was somebody else's. True: it was so.
     */
    readonly restore: (generations: ReadonlyArray<number>) => Effect.Effect<boolean, FirewallError>
    /** Tables of others that may be in our way. */
    readonly others: Effect.Effect<ReadonlyArray<string>>
    /** Packets refused since the table last changed. */
    readonly refused: Effect.Effect<{ readonly ipv4: number; readonly ipv6: number }>
  }
>()("culvert/network/KillSwitch") {
  /** Raises it. When the scope ends it stays, without any way to a server; one that refuses nothing goes. */
  static readonly raise = Effect.fnUntraced(function* (initial: Firewall) {
    const nft = yield* Nft
    const before = yield* nft.read
    const state = yield* Ref.make<Firewall>({
      ...initial,
      // Sockets that are there now were opened behind the present table, if there is one.
      earlierUdpPorts: before === undefined ? initial.earlierUdpPorts : earlierPorts(before),
    })
    const turns = yield* Semaphore.make(1)
    /** As it would be set; whether there is a table. */
    let applied = ruleset(initial)
    let isThere = false
    const scope = yield* Effect.scope
    /** The generation of the packet filter in which all of the table was set last. What changed before it was undone by it. */
    let last: number | undefined
    const set = (firewall: Firewall, chains: ReadonlyArray<string> = []) =>
      Effect.gen(function* () {
        last = yield* nft.apply(ruleset(firewall, chains))
        applied = ruleset(firewall)
        isThere = true
      })
    const inTurn = <A, E>(effect: Effect.Effect<A, E>) => turns.withPermit(effect).pipe(Effect.uninterruptible)
    const change = (alter: (firewall: Firewall) => Firewall) =>
      inTurn(
        Effect.gen(function* () {
          const next = alter(yield* Ref.get(state))
          if (ruleset(next) !== applied) yield* set(next)
          yield* Ref.set(state, next)
        }),
      )
    const note = (alter: (firewall: Firewall) => Firewall) => inTurn(Ref.update(state, alter))
    /** Where nothing is refused nobody has to wait for it; what the kernel does not take comes with the next change. */
    const open = (alter: (firewall: Firewall) => Firewall) =>
      initial.enforced
        ? change(alter)
        : Effect.andThen(note(alter), Effect.forkIn(Effect.ignore(change((firewall) => firewall)), scope))
    /** What the kernel refuses to close counts as closed all the same: the next change tries again. */
    const during = (
      opened: (firewall: Firewall) => Partial<Firewall>,
      close: (firewall: Firewall) => Partial<Firewall>,
    ) => {
      const closed = (firewall: Firewall) => ({ ...firewall, ...close(firewall) })
      return Effect.acquireRelease(
        open((firewall) => ({ ...firewall, ...opened(firewall) })),
        () => change(closed).pipe(Effect.catch(() => Ref.update(state, closed))),
      )
    }
    const openResolvers = (resolving: boolean) =>
      initial.dns.forwarded ? Effect.void : change((firewall) => ({ ...firewall, dns: { ...firewall.dns, resolving } }))

    if (before !== undefined || doesSomething(initial)) yield* set(yield* Ref.get(state), chainNames(before))
    yield* Effect.addFinalizer(() => {
      const closed = (firewall: Firewall) => ({ ...firewall, servers: [], tunnel: undefined })
      return Effect.ignore(initial.enforced ? change(closed) : isThere ? nft.clear : Effect.void)
    })
    return KillSwitch.of({
      state: initial.enforced ? "on" : "off",
      server: (endpoint) => {
        // Two links to one server are two entries; this object is ours.
        const own = { ...endpoint }
        return during(
          ({ servers }) => ({ servers: [...servers, own] }),
          ({ servers }) => ({ servers: servers.filter((server) => server !== own) }),
        )
      },
      formerAddresses: (addresses) =>
        during(
          ({ formerAddresses }) => ({ formerAddresses: [...formerAddresses, ...addresses] }),
          ({ formerAddresses }) => ({
            formerAddresses: formerAddresses.filter((address) => !addresses.includes(address)),
          }),
        ),
      tunnel: (tunnel) => change((firewall) => ({ ...firewall, tunnel })),
      announce: (tunnel) => note((firewall) => ({ ...firewall, tunnel })),
      resolving: (lookup) =>
        Effect.acquireUseRelease(
          openResolvers(true),
          () => lookup,
          () => Effect.ignore(openResolvers(false)),
        ),
      restore: (generations) =>
        inTurn(
          Effect.gen(function* () {
            if (generations.every((generation) => isUpTo(generation, last))) return false
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
    formerAddresses: () => Effect.void,
    tunnel: () => Effect.void,
    announce: () => Effect.void,
    resolving: (lookup) => lookup,
    restore: () => Effect.succeed(false),
    others: Effect.succeed([]),
    refused: Effect.succeed({ ipv4: 0, ipv6: 0 }),
  })
}

const earlierPorts = (objects: ReadonlyArray<NftObject>): ReadonlyArray<number> =>
  objects
    .flatMap((object) => ("set" in object && object.set.name === earlierSet ? (object.set.elem ?? []) : []))
    .filter((element) => typeof element === "number")

const chainNames = (objects: ReadonlyArray<NftObject> | undefined): ReadonlyArray<string> =>
  (objects ?? []).flatMap((object) => ("chain" in object ? [object.chain.name] : []))

const counted = (objects: ReadonlyArray<NftObject> | undefined, name: string): number =>
  (objects ?? []).reduce(
    (sum, object) => sum + ("counter" in object && object.counter.name === name ? object.counter.packets : 0),
    0,
  )

/** Of generations the lower 16 bits are known: half of them lie before a given one. */
const isUpTo = (generation: number, last: number | undefined): boolean =>
  generation !== UNKNOWN_GENERATION && last !== undefined && ((last - generation) & 0xffff) < 0x8000
