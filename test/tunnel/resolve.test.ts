import { expect } from "bun:test"
import { Effect } from "effect"
import { type Lookup, Resolver } from "../../src/tunnel/resolve.ts"
import { it } from "../support/effect.ts"

const over = (lookup: Lookup) => Effect.provide(Resolver.layerOver(lookup))
const refused = Object.assign(new Error("no"), { code: "ENOTFOUND" })

it.effect("all addresses of a name, both families, in the resolver's order", () =>
  Effect.gen(function* () {
    const resolver = yield* Resolver
    expect(yield* resolver.resolve("vpn.example", "any")).toEqual([
      { address: "2001:db8::1", family: "ipv6" },
      { address: "192.0.2.1", family: "ipv4" },
    ])
  }).pipe(
    over(() =>
      Promise.resolve([
        { address: "2001:db8::1", family: 6 },
        { address: "192.0.2.1", family: 4 },
      ]),
    ),
  ),
)

it.effect("an address is not looked up, and has to be of the family that proto asks for", () =>
  Effect.gen(function* () {
    const resolver = yield* Resolver
    expect(yield* resolver.resolve("192.0.2.1", "any", true)).toEqual([{ address: "192.0.2.1", family: "ipv4" }])
    const wrong = yield* Effect.flip(resolver.resolve("192.0.2.1", "ipv6"))
    expect(wrong.message).toBe("resolving 192.0.2.1: no ipv6 address, which proto asks for")
  }).pipe(over(() => Promise.reject(refused))),
)

it.effect("remote-random-hostname: twelve hex characters and a dot before the name, others each time", () => {
  const asked: Array<string> = []
  return Effect.gen(function* () {
    const resolver = yield* Resolver
    yield* resolver.resolve("vpn.example", "any", true)
    yield* resolver.resolve("vpn.example", "any", true)
    expect(asked).toHaveLength(2)
    for (const name of asked) expect(name).toMatch(/^[0-9a-f]{12}\.vpn\.example$/)
    expect(asked[0]).not.toBe(asked[1]!)
  }).pipe(
    over((host) => {
      asked.push(host)
      return Promise.resolve([{ address: "192.0.2.1", family: 4 }])
    }),
  )
})

it.effect("a name that resolved once keeps its addresses while the resolver fails, random or not", () => {
  let answers = true
  return Effect.gen(function* () {
    const resolver = yield* Resolver
    const unknown = yield* Effect.flip(
      Effect.suspend(() => {
        answers = false
        return resolver.resolve("vpn.example", "any")
      }),
    )
    expect(unknown.message).toBe("resolving vpn.example: no such name")
    answers = true
    const found = yield* resolver.resolve("vpn.example", "any", true)
    answers = false
    expect(yield* resolver.resolve("vpn.example", "any", true)).toEqual(found)
  }).pipe(over(() => (answers ? Promise.resolve([{ address: "192.0.2.1", family: 4 }]) : Promise.reject(refused))))
})
