import { expect } from "bun:test"
import { Clock, Effect, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { type Profile, parse } from "../../src/config/index.ts"
import { KillSwitch } from "../../src/network/index.ts"
import type { Login } from "../../src/protocol/index.ts"
import { Credentials, credentialsFrom } from "../../src/tunnel/credentials.ts"
import { AttemptFailed, type AttemptReason } from "../../src/tunnel/errors.ts"
import { ResolveError, Resolver } from "../../src/tunnel/resolve.ts"
import { type Attempt, advance, makeTries, waitSeconds } from "../../src/tunnel/retry.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { anna } from "../protocol/pair.ts"
import { it } from "../support/effect.ts"

const profile = (directives: string): Profile => {
  const text = `client\ndev tun\npeer-fingerprint ${"00:".repeat(31)}00\nauth-user-pass\n${directives}\n`
  const parsed = parse(text, { file: "test.ovpn", read: () => Result.fail("no file") })
  if (Result.isFailure(parsed)) throw new Error(parsed.failure.map((diagnostic) => diagnostic.message).join("\n"))
  return parsed.success.profile
}

const nowhere = { file: undefined, directory: "/nonexistent" }

const addresses: Readonly<Record<string, ReadonlyArray<string>>> = {
  one: ["192.0.2.1", "192.0.2.2"],
  two: ["192.0.2.3"],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((number) => [`random-${number}`, [`192.0.2.${number}`]])),
}

const resolver = Layer.succeed(
  Resolver,
  Resolver.of({
    resolve: (host) =>
      addresses[host] === undefined
        ? Effect.fail(new ResolveError({ host, reason: "no such name" }))
        : Effect.succeed(addresses[host].map((address) => ({ address, family: "ipv4" as const }))),
  }),
)

const world = (login: Login) =>
  Layer.mergeAll(
    StatusRef.layer,
    resolver,
    Layer.succeed(KillSwitch, KillSwitch.none),
    Layer.succeed(Credentials, Credentials.of({ ...credentialsFrom(nowhere), login: () => login })),
  )

/** The policy without anything beside it. */
const retry = <A, R>(file: Profile, alone: Attempt<A, R>) =>
  Effect.flatMap(makeTries(file, "sequential", { alone, beside: alone }), (tries) => tries.connect())

/** Runs the policy against attempts that end as `outcome` says; collects `[seconds, address]`. */
const attempts = (text: string, outcome: (attempt: number) => AttemptFailed, login = anna()) =>
  Effect.gen(function* () {
    const tried: Array<readonly [number, string]> = []
    const policy = retry(profile(text), ([{ address }]) =>
      Effect.gen(function* () {
        tried.push([Math.round((yield* Clock.currentTimeMillis) / 1000), address.address])
        return yield* outcome(tried.length)
      }),
    ).pipe(Effect.provide(world(login)))
    const fiber = yield* Effect.forkScoped(policy, { startImmediately: true })
    return { tried, fiber }
  })

const failure = (reason: Partial<AttemptReason> & { readonly tag: AttemptReason["tag"] }, established = false) =>
  new AttemptFailed({ reason: { message: reason.tag, retry: "advance", ...reason } as AttemptReason, established })

it.effect("goes through all addresses of a remote, then to the next, and round again", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote one 1194\nremote two 1194", () => failure({ tag: "NoAnswer" }))
    yield* TestClock.adjust("4 seconds")
    expect(tried.slice(0, 4).map(([, address]) => address)).toEqual([
      "192.0.2.1",
      "192.0.2.2",
      "192.0.2.3",
      "192.0.2.1",
    ])
  }),
)

it.effect("remote-random: another order at each start, of all servers, and the same one round after round", () =>
  Effect.gen(function* () {
    const servers = Array.from({ length: 6 }, (_, index) => `192.0.2.${index + 1}`)
    const text = `remote-random\n${servers.map((_, index) => `remote random-${index + 1} 1194`).join("\n")}`
    const orders = new Set<string>()
    for (let start = 0; start < 8; start++) {
      const { tried, fiber } = yield* attempts(text, () => failure({ tag: "NoAnswer" }))
      yield* TestClock.adjust("30 seconds")
      const order = tried.map(([, address]) => address)
      expect(order.slice(0, 6).toSorted()).toEqual(servers)
      expect(order.slice(6, 12)).toEqual(order.slice(0, 6))
      orders.add(order.slice(0, 6).join())
      yield* Fiber.interrupt(fiber)
    }
    expect(orders.size).toBeGreaterThan(1)
  }),
)

it.effect("a name that does not resolve is passed over", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote unknown 1194\nremote two 1194", () => failure({ tag: "NoAnswer" }))
    yield* TestClock.adjust("10 seconds")
    expect(new Set(tried.map(([, address]) => address))).toEqual(new Set(["192.0.2.3"]))
  }),
)

it.effect("resolv-retry is how long it goes on while no name resolves; without it that is for ever", () =>
  Effect.gen(function* () {
    const { tried, fiber } = yield* attempts("remote unknown 1194\nresolv-retry 30", () => failure({ tag: "NoAnswer" }))
    yield* TestClock.adjust("29 seconds")
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* TestClock.adjust("10 seconds")
    expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({
      _tag: "GaveUp",
      message: "no server name resolved for 30 s (resolv-retry); the last one: resolving unknown: no such name",
    })
    expect(tried).toEqual([])

    const patient = yield* attempts("remote unknown 1194", () => failure({ tag: "NoAnswer" }))
    yield* TestClock.adjust("1 day")
    expect(patient.fiber.pollUnsafe()).toBeUndefined()

    const other = yield* attempts("remote unknown 1194\nremote two 1194\nresolv-retry 30", () =>
      failure({ tag: "NoAnswer" }),
    )
    yield* TestClock.adjust("1 hour")
    expect(other.fiber.pollUnsafe()).toBeUndefined()
  }),
)

it.effect("a server that was waited for needs no pause after it", () =>
  Effect.gen(function* () {
    const tried: Array<number> = []
    const silent = Effect.gen(function* () {
      tried.push(Math.round((yield* Clock.currentTimeMillis) / 1000))
      yield* Effect.sleep("20 seconds")
      return yield* failure({ tag: "NoAnswer" })
    })
    const policy = retry(profile("remote one 1194\nconnect-timeout 20\nconnect-retry 15"), () => silent)
    yield* Effect.forkScoped(policy.pipe(Effect.provide(world(anna()))), { startImmediately: true })
    yield* TestClock.adjust("70 seconds")
    expect(tried).toEqual([0, 20, 40, 60])
  }),
)

it.effect("waits longer from the fifth round on, up to the maximum", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote two 1194\nconnect-retry 1 8", () => failure({ tag: "NoAnswer" }))
    yield* TestClock.adjust("10 minutes")
    const gaps = tried.slice(1).map(([at], index) => at - tried[index]![0])
    expect(gaps.slice(0, 4)).toEqual([1, 1, 1, 1])
    expect(Math.max(...gaps)).toBeLessThanOrEqual(9)
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(7)
  }),
)

it.effect("traffic resets the back-off and the same address is tried first", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote one 1194\nremote two 1194\nconnect-retry 1 64", (attempt) =>
      attempt === 20 ? failure({ tag: "PingRestart", retry: "same" }, true) : failure({ tag: "NoAnswer" }),
    )
    yield* TestClock.adjust("10 minutes")
    const [at, address] = tried[19]!
    expect(tried[20]![1]).toBe(address)
    expect(tried[20]![0] - at).toBeLessThanOrEqual(2)
  }),
)

it.effect("connect-retry-max counts rounds over the list", () =>
  Effect.gen(function* () {
    const { tried, fiber } = yield* attempts("remote two 1194\nremote two 1195\nconnect-retry-max 2", () =>
      failure({ tag: "NoAnswer" }),
    )
    yield* TestClock.adjust("1 minute")
    expect(tried).toHaveLength(4)
    expect((yield* Effect.flip(Fiber.join(fiber)))._tag).toBe("GaveUp")
  }),
)

const refused = {
  tag: "AuthFailed",
  retry: "same",
  temporary: false,
  again: false,
  backoffSeconds: undefined,
  message: "refused",
} as const

it.effect("a refused login ends it with auth-retry none", () =>
  Effect.gen(function* () {
    const { tried, fiber } = yield* attempts("remote two 1194", () => failure(refused))
    yield* TestClock.adjust("1 minute")
    expect(tried).toHaveLength(1)
    expect((yield* Effect.flip(Fiber.join(fiber)))._tag).toBe("AuthenticationRefused")
  }),
)

it.effect("auth-retry nointeract tries again after ten seconds or so", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote two 1194\nauth-retry nointeract", () => failure(refused))
    yield* TestClock.adjust("8 seconds")
    expect(tried).toHaveLength(1)
    yield* TestClock.adjust("4 seconds")
    expect(tried).toHaveLength(2)
  }),
)

it.effect("auth-retry interact waits until there is another one-time code, and only for one that was asked for", () =>
  Effect.gen(function* () {
    const own = { code: "1" }
    const login = anna(own, "scrv1")
    const interact = "remote two 1194\nauth-retry interact"
    const challenged = yield* attempts(interact, () => failure(login.next() && refused), login)
    const plain = yield* attempts(interact, () => failure(refused), anna(own))
    yield* TestClock.adjust("1 hour")
    expect(challenged.tried).toHaveLength(1)
    own.code = "2"
    yield* TestClock.adjust("1 second")
    expect(challenged.tried).toHaveLength(2)
    yield* TestClock.adjust("1 hour")
    expect([challenged.tried.length, plain.tried.length]).toEqual([2, 1])
  }),
)

it.effect("a login that has something else to offer is tried again soon, whatever auth-retry says", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote two 1194", () => failure({ ...refused, again: true }))
    yield* TestClock.adjust("1200 millis")
    expect(tried).toHaveLength(2)
  }),
)

it.effect("a temporary refusal waits as long as the server asks, whatever auth-retry says", () =>
  Effect.gen(function* () {
    const { tried } = yield* attempts("remote two 1194", () =>
      failure({ ...refused, temporary: true, backoffSeconds: 30 }),
    )
    yield* TestClock.adjust("26 seconds")
    expect(tried).toHaveLength(1)
    yield* TestClock.adjust("8 seconds")
    expect(tried).toHaveLength(2)
  }),
)

it.effect("what must not be retried gives up with its message", () =>
  Effect.gen(function* () {
    const { fiber } = yield* attempts("remote two 1194", () =>
      failure({ tag: "ServerHalt", retry: "never", message: "the server halts" }),
    )
    const error = yield* Effect.flip(Fiber.join(fiber))
    expect(error).toMatchObject({ _tag: "GaveUp", message: "the server halts" })
  }),
)

it.effect("the position is a pure function", () =>
  Effect.sync(() => {
    const last = { remote: 1, address: 0, failures: 3 }
    expect(advance(last, { retry: "advance", established: false, addresses: 1, remotes: 2 })).toEqual({
      remote: 0,
      address: 0,
      failures: 4,
    })
    expect(advance(last, { retry: "same", established: false, addresses: 1, remotes: 2 })).toEqual({
      ...last,
      failures: 4,
    })
    expect(advance(last, { retry: "advance", established: true, addresses: 1, remotes: 2 })).toEqual({
      ...last,
      failures: 0,
    })
    expect([0, 4, 5, 6, 60].map((rounds) => waitSeconds({ wait: 1, maximum: 300 }, rounds))).toEqual([1, 1, 2, 4, 300])
  }),
)
