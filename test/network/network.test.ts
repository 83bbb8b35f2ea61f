import { expect } from "bun:test"
import { Effect, Exit, Layer, Scope } from "effect"
import { type Change, leftovers, routeChange } from "../../src/network/change.ts"
import { Ip, IpError } from "../../src/network/ip.ts"
import { Network } from "../../src/network/network.ts"
import { it } from "../support/effect.ts"

const change = (name: string, family: Change["family"] = "ipv4"): Change => ({
  apply: `add ${name}`,
  undo: `del ${name}`,
  family,
})
const plan = (...changes: ReadonlyArray<Change>) => changes

/** An `ip` that notes its lines and refuses those that contain a word; of a pod with these addresses. */
const host = (refused?: string, hasLeftovers = false) => {
  const addresses: Array<string> = []
  const lines: Array<string> = []
  const cleaned: Array<string> = []
  const ip = Layer.succeed(
    Ip,
    Ip.of({
      batch: Effect.fnUntraced(function* (batch) {
        for (const [index, line] of batch.entries()) {
          if (refused !== undefined && line.includes(refused)) {
            return yield* Object.assign(new IpError({ line, reason: "refused" }), { done: index })
          }
          lines.push(line)
        }
      }),
      batchForced: (batch, family) =>
        Effect.sync(() => {
          if (batch === leftovers) cleaned.push(family)
          else lines.push(...batch)
          return true
        }),
      hasLeftovers: Effect.succeed(hasLeftovers),
      facts: () =>
        Effect.succeed({
          gateway: { ipv4: { device: "eth0", gateway: "10.0.0.1" }, ipv6: undefined },
          addresses: [...addresses],
          routes: [],
        }),
      pathMtu: () => Effect.succeed(undefined),
      nextHop: () => Effect.succeed(undefined),
    }),
  )
  return { addresses, lines, cleaned, layer: Network.layer([]).pipe(Layer.provide(ip)) }
}

it.effect("applies a plan in order and takes it back in reverse when the scope ends", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(change("a"), change("b")))
    }).pipe(Effect.provide(layer))
    expect(lines).toEqual(["add a", "add b", "del b", "del a"])
  }),
)

it.effect("routes that the kernel dropped are set again, and nothing else is", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(
        plan(change("a"), routeChange({ target: "10.9.0.0/16", hop: { device: "eth0", gateway: undefined } })),
      )
      lines.length = 0
      expect(yield* network.renewRoutes).toBe(true)
      expect(lines).toEqual(["route replace 10.9.0.0/16 dev eth0 proto 149"])
    }).pipe(Effect.provide(layer))
  }),
)

it.effect("what a predecessor that was killed left behind is removed first, in both families", () =>
  Effect.gen(function* () {
    const killed = host(undefined, true)
    yield* Layer.build(killed.layer)
    expect(killed.cleaned).toEqual(["ipv4", "ipv6"])
    expect(killed.lines).toEqual([])
    const none = host()
    yield* Layer.build(none.layer)
    expect(none.cleaned).toEqual([])
  }),
)

it.effect("a new plan changes only what differs", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(change("a"), change("b"), change("c")))
      lines.length = 0
      yield* network.converge(plan(change("a"), change("x"), change("c")))
      expect(lines).toEqual(["del b", "add x"])
      expect(yield* network.current).toEqual(["add a", "add x", "add c"])
      lines.length = 0
    }).pipe(Effect.provide(layer))
    expect(lines).toEqual(["del c", "del x", "del a"])
  }),
)

it.effect("another address takes the routes with it in the kernel: they are set anew", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    const line = (apply: string): Change => ({ apply, undo: `undo ${apply}`, family: "ipv4" })
    const [route, rule] = [line("route replace 0.0.0.0/1 dev tun0"), line("rule add from 10.0.0.2 lookup 4911")]
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(line("address replace 10.8.0.2/24 dev tun0"), route, rule))
      lines.length = 0
      yield* network.converge(plan(line("address replace 10.8.0.3/24 dev tun0"), route, rule))
      expect(lines).toEqual([
        "undo address replace 10.8.0.2/24 dev tun0",
        "address replace 10.8.0.3/24 dev tun0",
        route.apply,
      ])
      lines.length = 0
    }).pipe(Effect.provide(layer))
    expect(lines).toEqual([`undo ${rule.apply}`, `undo ${route.apply}`, "undo address replace 10.8.0.3/24 dev tun0"])
  }),
)

it.effect("IPv6 that the host refuses is a warning; IPv4 is a failure, and nothing of the plan stays", () =>
  Effect.gen(function* () {
    const six = host("v6")
    yield* Effect.gen(function* () {
      const network = yield* Network
      const warnings = yield* network.converge(plan(change("a"), change("v6-address", "ipv6"), change("other", "ipv6")))
      expect(warnings).toEqual(["ip add v6-address: refused"])
      expect(yield* network.current).toEqual(["add a", "add other"])
    }).pipe(Effect.provide(six.layer))

    const four = host("b")
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(four.layer, scope)
    const result = yield* Effect.exit(
      Effect.flatMap(Network, (network) => network.converge(plan(change("a"), change("b"), change("c")))).pipe(
        Effect.provide(context),
      ),
    )
    expect(Exit.isFailure(result)).toBe(true)
    expect(four.lines).toEqual(["add a", "del a"])
    yield* Scope.close(scope, Exit.void)
    expect(four.lines).toEqual(["add a", "del a"])
  }),
)

it.effect("what is kept is in force beside every plan, and goes when its scope ends, unless the plan has it too", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(change("a"), change("b")))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* network.keep(plan(change("kept"), change("c")))
          yield* network.converge(plan(change("a"), change("c")))
          expect(yield* network.current).toEqual(["add kept", "add c", "add a"])
        }),
      )
      expect(yield* network.current).toEqual(["add a", "add c"])
    }).pipe(Effect.provide(layer))
    expect(lines).toEqual(["add a", "add b", "add kept", "add c", "del b", "del kept", "del c", "del a"])
  }),
)

it.effect("what is taken back by the same line is replaced, not taken away first", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    const [fresh, deprecated] = ["", " preferred_lft 0"].map(
      (lifetime): Change => ({
        apply: `address replace fd00::2${lifetime}`,
        undo: "address del fd00::2",
        family: "ipv6",
      }),
    )
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(fresh!))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* network.keep(plan(deprecated!))
          yield* network.converge(plan())
          expect(lines).toEqual([fresh!.apply, deprecated!.apply])
        }),
      )
      expect(lines).toEqual([fresh!.apply, deprecated!.apply, "address del fd00::2"])
    }).pipe(Effect.provide(layer))
  }),
)

it.effect("as long as one address stays the routes stay with it: nothing is set anew", () =>
  Effect.gen(function* () {
    const { lines, layer } = host()
    const line = (apply: string): Change => ({ apply, undo: `undo ${apply}`, family: "ipv4" })
    const [old, kept, route] = [line("address replace 1/24"), line("address replace 1/32"), line("route replace 2")]
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(old, route))
      yield* network.keep(plan(kept))
      lines.length = 0
      yield* network.converge(plan(route))
      expect(lines).toEqual([`undo ${old.apply}`])
    }).pipe(Effect.scoped, Effect.provide(layer))
  }),
)

it.effect("what is kept and refused is not kept", () =>
  Effect.gen(function* () {
    const { lines, layer } = host("b")
    yield* Effect.gen(function* () {
      const network = yield* Network
      expect(Exit.isFailure(yield* Effect.exit(network.keep(plan(change("a"), change("b")))))).toBe(true)
      yield* network.converge(plan(change("c")))
      expect(yield* network.current).toEqual(["add c"])
    }).pipe(Effect.scoped, Effect.provide(layer))
    expect(lines).toEqual(["add a", "del a", "add c", "del c"])
  }),
)

it.effect(
  "another server is reached beside a tunnel that already has the default route, as long as its link lives",
  () =>
    Effect.gen(function* () {
      const { lines, layer } = host()
      const route = "192.0.2.9/32 via 10.0.0.1 dev eth0 proto 149"
      yield* Effect.gen(function* () {
        const network = yield* Network
        yield* Effect.scoped(
          Effect.gen(function* () {
            expect(yield* network.reach("192.0.2.9", "tun0")).toEqual({ device: "eth0", gateway: "10.0.0.1" })
            expect(lines).toEqual([`route replace ${route}`])
          }),
        )
        expect(lines).toEqual([`route replace ${route}`, `route del ${route}`])
      }).pipe(Effect.provide(layer))
    }),
)

it.effect("answers leave from the addresses that the pod has now, and the plan stays", () =>
  Effect.gen(function* () {
    const { addresses, lines, layer } = host()
    yield* Effect.gen(function* () {
      const network = yield* Network
      yield* network.converge(plan(change("a")))
      addresses.push("10.0.0.2")
      yield* network.fitPod("tun0")
      expect(lines.splice(0)).toEqual([
        "add a",
        "route replace 0.0.0.0/0 via 10.0.0.1 dev eth0 onlink proto 149 table 4911",
        "rule add from 10.0.0.2 lookup 4911 pref 4911",
      ])
      addresses[0] = "10.0.0.77"
      yield* network.fitPod("tun0")
      expect(lines.splice(0)).toEqual([
        "rule del from 10.0.0.2 lookup 4911 pref 4911",
        "rule add from 10.0.0.77 lookup 4911 pref 4911",
      ])
      yield* network.converge(plan(change("b")))
      expect(lines.splice(0)).toEqual(["del a", "add b"])
    }).pipe(Effect.provide(layer))
  }),
)
