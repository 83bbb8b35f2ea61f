import { expect } from "bun:test"
import { Effect, Exit, Result, Scope } from "effect"
import { UNKNOWN_GENERATION } from "../../src/linux/index.ts"
import type { Firewall } from "../../src/network/firewall.ts"
import { KillSwitch } from "../../src/network/killswitch.ts"
import { FirewallError, Nft, type NftObject } from "../../src/network/nft.ts"
import { it } from "../support/effect.ts"
import { allClosed } from "../support/firewall.ts"

const initial = {
  ...allClosed,
  dns: { ...allClosed.dns, resolvers: ["10.96.0.10"] },
  earlierUdpPorts: [40000],
}
const first = { transport: "udp", address: "192.0.2.1", port: 1194 } as const
const second = { transport: "udp", address: "192.0.2.2", port: 1194 } as const

/** An nft that remembers each table it was given; "cleared" for its removal. */
const kernel = (
  before: ReadonlyArray<NftObject> | undefined = undefined,
  refuse: Pick<RegExp, "test"> = /^never$/,
  generationOf: (made: number) => number | undefined = (made) => made,
) => {
  const tables: Array<string> = []
  const last = { generation: 0 }
  const nft = Nft.of({
    apply: (text) =>
      refuse.test(text)
        ? Effect.fail(new FirewallError({ reason: "refused" }))
        : Effect.sync(() => {
            tables.push(text)
            return generationOf(++last.generation)
          }),
    read: Effect.succeed(before),
    others: Effect.succeed([]),
    clear: Effect.sync(() => void tables.push("cleared")),
  })
  return {
    tables,
    last,
    raise: (firewall: Firewall) => KillSwitch.raise(firewall).pipe(Effect.provideService(Nft, nft)),
  }
}

it.effect("is up at once, and stays when it ends, without any way to a server", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const scope = yield* Scope.make()
    const killSwitch = yield* raise(initial).pipe(Scope.provide(scope))
    expect(tables).toHaveLength(1)
    yield* killSwitch.server(first)
    expect(tables.at(-1)).toContain("192.0.2.1")
    yield* Scope.close(scope, Exit.void)
    expect(tables.at(-1)).toContain("policy drop")
    expect(tables.at(-1)).not.toContain("192.0.2.1")
  }),
)

it.effect("chains of an earlier process that has others go with the first table, and are not asked for again", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel([{ chain: { name: "output" } }, { chain: { name: "dns" } }])
    const killSwitch = yield* raise(initial)
    yield* killSwitch.tunnel({ device: "tun7", addresses: [] })
    expect(tables.map((text) => text.match(/^delete chain inet culvert \w+$/gm))).toEqual([
      ["delete chain inet culvert dns"],
      null,
    ])
  }),
)

it.effect("an announced tunnel belongs to the table from the next change on, and to one that is set again", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const killSwitch = yield* raise(initial)
    yield* killSwitch.announce({ device: "tun7", addresses: [] })
    expect(tables).toHaveLength(1)
    yield* killSwitch.server(first)
    expect(tables).toHaveLength(2)
    expect(tables.at(-1)).toContain('oifname "tun7" counter accept')
    expect(yield* killSwitch.restore([999])).toBe(true)
    expect(tables).toHaveLength(3)
    expect(tables.at(-1)).toContain('oifname "tun7" counter accept')
  }),
)

it.effect(
  "nobody waits for a way where nothing is refused; what the kernel does not take comes with the next change",
  () =>
    Effect.gen(function* () {
      const refusal = { test: (text: string) => text.includes("192.0.2.1") }
      const { tables, raise } = kernel(undefined, refusal)
      const { announce, server, tunnel } = yield* raise({ ...initial, enforced: false })
      yield* announce({ device: "tun7", addresses: [] })
      yield* server(first)
      expect(Result.isFailure(yield* Effect.result(tunnel({ device: "tun8", addresses: [] })))).toBe(true)
      expect(tables).toHaveLength(0)
      refusal.test = () => false
      yield* tunnel({ device: "tun8", addresses: [] })
      expect(tables).toHaveLength(1)
      expect(tables.at(-1)).toContain('oifname "tun8" ip daddr 192.0.2.1')
    }),
)

it.effect("the way to a server is open as long as one of its links lives, whatever comes and goes beside it", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const killSwitch = yield* raise(initial)
    const open = () => ["192.0.2.1", "192.0.2.2"].filter((address) => tables.at(-1)!.includes(address))
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* killSwitch.server(first)
        yield* Effect.scoped(Effect.andThen(killSwitch.server(first), killSwitch.server(second)))
        expect(open()).toEqual(["192.0.2.1"])
        expect(tables.at(-1)!.match(/to the VPN server/g)).toHaveLength(1)
        yield* killSwitch.server(second)
        expect(open()).toEqual(["192.0.2.1", "192.0.2.2"])
      }),
    )
    expect(open()).toEqual([])
  }),
)

it.effect("a way that the kernel refused to close is closed with the next change", () =>
  Effect.gen(function* () {
    const refused = { now: false }
    const { tables, raise } = kernel(undefined, { test: () => refused.now })
    const killSwitch = yield* raise(initial)
    const scope = yield* Scope.make()
    yield* killSwitch.server(first).pipe(Scope.provide(scope))
    refused.now = true
    yield* Scope.close(scope, Exit.void)
    expect(tables.at(-1)).toContain("192.0.2.1")
    refused.now = false
    yield* killSwitch.tunnel(undefined)
    expect(tables.at(-1)).not.toContain("192.0.2.1")
  }),
)

it.effect("addresses that the tunnel had before are guarded like those of now, for as long as they are used", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const killSwitch = yield* raise(initial)
    const guarded = () =>
      [...tables.at(-1)!.matchAll(/iifname != "tun0" ip daddr (\S+) .* drop/g)].map((match) => match[1])
    yield* killSwitch.tunnel({ device: "tun0", addresses: ["10.8.0.3/24"] })
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* killSwitch.formerAddresses(["10.8.0.2/24"])
        expect(guarded()).toEqual(["10.8.0.3", "10.8.0.2"])
      }),
    )
    expect(guarded()).toEqual(["10.8.0.3"])
  }),
)

it.effect("the resolvers are open only while a name is looked up, also when that fails", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const killSwitch = yield* raise(initial)
    const open = () => tables.at(-1)!.includes("while the server is looked up")
    expect(open()).toBe(false)
    const seen = yield* Effect.result(killSwitch.resolving(Effect.suspend(() => Effect.fail(open()))))
    expect(Result.isFailure(seen) && seen.failure).toBe(true)
    expect(open()).toBe(false)
  }),
)

it.effect("a restart keeps what the table knew of earlier sockets; sockets opened behind it are no earlier ones", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel([{ set: { name: "earlier_udp", elem: [33333] } }])
    yield* raise(initial)
    expect(tables[0]).toContain("elements = { 33333 }")
  }),
)

it.effect(
  "what somebody else removed or changed is set again, as it was last; what was changed here alone is left alone",
  () =>
    Effect.gen(function* () {
      const { tables, last, raise } = kernel()
      const killSwitch = yield* raise(initial)
      yield* killSwitch.server(first)
      expect(yield* killSwitch.restore([1, 2])).toBe(false)
      expect(yield* killSwitch.restore([2])).toBe(false)
      expect(tables).toHaveLength(2)
      for (const foreign of [++last.generation, UNKNOWN_GENERATION]) {
        expect(yield* killSwitch.restore([2, foreign])).toBe(true)
        expect(yield* killSwitch.restore([last.generation])).toBe(false)
        // The whole table was set after it.
        if (foreign !== UNKNOWN_GENERATION) expect(yield* killSwitch.restore([foreign])).toBe(false)
        expect(tables.at(-1)).toBe(tables[1]!)
      }
      expect(tables).toHaveLength(4)
    }),
)

it.effect("generations start anew at 0", () =>
  Effect.gen(function* () {
    const { raise } = kernel(undefined, undefined, () => 0)
    const killSwitch = yield* raise(initial)
    expect(yield* killSwitch.restore([0xffff, 0])).toBe(false)
    expect(yield* killSwitch.restore([1])).toBe(true)
  }),
)

it.effect("a table that was set while somebody else changed something may be another one: it is set again", () =>
  Effect.gen(function* () {
    const { raise } = kernel(undefined, undefined, () => undefined)
    const killSwitch = yield* raise(initial)
    expect(yield* killSwitch.restore([1])).toBe(true)
  }),
)

it.effect("one that refuses nothing is removed at the end", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    const caught = { ...initial.dns, redirectTo: 5300 }
    yield* Effect.scoped(raise({ ...initial, enforced: false, dns: caught }))
    expect(tables.at(-1)).toBe("cleared")
  }),
)

it.effect("one that refuses nothing and catches nothing needs no table before there is a tunnel", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel()
    yield* Effect.scoped(raise({ ...initial, enforced: false }))
    expect(tables).toEqual([])
    yield* Effect.scoped(
      Effect.gen(function* () {
        const killSwitch = yield* raise({ ...initial, enforced: false })
        yield* killSwitch.resolving(Effect.void)
        expect(tables).toEqual([])
        yield* killSwitch.tunnel({ device: "tun7", addresses: [], blocksIpv6: true })
        expect(tables.at(-1)).toContain("IPv6 into the tunnel")
      }),
    )
    expect(tables.at(-1)).toBe("cleared")
  }),
)

it.effect("one that refuses nothing takes the table of an earlier process over all the same", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel([{ chain: { name: "input" } }])
    yield* raise({ ...initial, enforced: false })
    expect(tables.at(-1)).toContain("delete chain inet culvert input")
  }),
)

it.effect("a table that the kernel refuses is an error with the way to mend it, and the state stays", () =>
  Effect.gen(function* () {
    const { tables, raise } = kernel(undefined, /192\.0\.2\.1/)
    const killSwitch = yield* raise(initial)
    expect(Result.isFailure(yield* Effect.result(killSwitch.server(first)))).toBe(true)
    yield* killSwitch.server(second)
    expect(tables).toHaveLength(2)
    for (const [reason, hint] of [
      ["Could not process rule: Operation not permitted", "NET_ADMIN"],
      ["Could not process rule: No such file or directory", "nf_tables"],
      ["the program nft cannot be run", "install the package nftables"],
    ] as const) {
      expect(new FirewallError({ reason }).message).toContain(hint)
    }
  }),
)
