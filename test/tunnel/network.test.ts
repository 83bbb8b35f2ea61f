import { expect } from "bun:test"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import type { NetworkOptions, Profile } from "../../src/config/index.ts"
import { type Change, KillSwitch, Network, type Tunnel } from "../../src/network/index.ts"
import { TunDevice } from "../../src/tunnel/device.ts"
import { Dns } from "../../src/tunnel/dns.ts"
import { applyNetwork } from "../../src/tunnel/network.ts"
import { Resolver } from "../../src/tunnel/resolve.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

const none: NetworkOptions = {
  topology: "subnet",
  ifconfig: { local: "10.8.0.2", second: "255.255.255.0" },
  ifconfigIpv6: undefined,
  routeGateway: "10.8.0.1",
  routeIpv6Gateway: undefined,
  routeMetric: undefined,
  routeDelay: undefined,
  routes: [{ network: "10.9.0.0", prefix: 16, gateway: undefined, metric: undefined }],
  routesIpv6: [],
  redirectGateway: undefined,
  redirectPrivate: undefined,
  blockIpv6: false,
  dhcpOptions: [],
  dns: { servers: [], searchDomains: [] },
}

/** A host that notes what it is made, as the last word but one of each line's target: "link", "address" or "route". */
const host = (present: ReadonlyArray<string> = []) => {
  const told: Array<string> = []
  const tunnels: Array<Tunnel | undefined> = []
  let current: ReadonlyArray<string> = present
  const network = Network.of({
    ...({} as Network["Service"]),
    direct: [],
    fitPod: () => Effect.succeed([]),
    facts: () => Effect.succeed({ gateway: { ipv4: undefined, ipv6: undefined }, addresses: [], routes: [] }),
    converge: (changes: ReadonlyArray<Change>) =>
      Effect.sync(() => {
        current = changes.map(({ apply }) => apply)
        told.push(current.map((line) => line.split(" ")[0]).join(" "))
        return []
      }),
    current: Effect.sync(() => current),
  })
  const beside: Array<string> = []
  const layer = Layer.mergeAll(
    Layer.succeed(Network, network),
    Layer.succeed(TunDevice, { name: "tun0", type: "tun", managed: true }),
    Layer.succeed(KillSwitch, {
      ...KillSwitch.none,
      tunnel: (tunnel) =>
        Effect.sync(() => {
          tunnels.push(tunnel)
          told.push("kill switch")
        }),
    }),
    Layer.succeed(Dns, { ...Dns.none, beside: (names) => Effect.sync(() => void beside.push(...names)) }),
    Resolver.layerOver(async (name) => [{ address: name === "a.example" ? "10.1.1.1" : "10.1.1.2", family: 4 }]),
    StatusRef.layer,
  )
  return { told, tunnels, beside, layer, current: () => current }
}

const apply = (options: Partial<NetworkOptions>, profile: Partial<Profile> = {}) =>
  applyNetwork(
    profile as Profile,
    { ...none, ...options },
    1500,
    { address: { address: "192.0.2.1", family: "ipv4" }, port: 1194, hop: undefined },
    false,
  )

it.effect("the kill switch knows of the tunnel before its addresses and routes are there", () =>
  Effect.gen(function* () {
    const { told, tunnels, layer } = host()
    yield* apply({ blockIpv6: true, routes: [] }, { allowRecursiveRouting: true }).pipe(Effect.provide(layer))
    expect(told[0]).toBe("kill switch")
    expect(tunnels).toEqual([{ device: "tun0", addresses: ["10.8.0.2/24"], allowsServers: true, blocksIpv6: true }])
  }),
)

it.effect("route-delay: addresses at once, routes after it", () =>
  Effect.gen(function* () {
    const { told, layer } = host()
    const applied = yield* apply({ routeDelay: 5 }).pipe(Effect.provide(layer), Effect.forkChild)
    yield* TestClock.adjust("4900 millis")
    expect(told).toEqual(["kill switch", "link address"])
    yield* TestClock.adjust("200 millis")
    yield* Fiber.join(applied)
    expect(told).toEqual(["kill switch", "link address", "link address route"])
  }),
)

it.effect("routes of the connection before stay, without a delay in which packets would go another way", () =>
  Effect.gen(function* () {
    const { told, layer } = host(["route replace 10.9.0.0/16 dev tun0 proto 149"])
    yield* apply({ routeDelay: 5 }).pipe(Effect.provide(layer))
    expect(told).toEqual(["kill switch", "link address route"])
  }),
)

it.effect("host names in routes are looked up beside the tunnel", () =>
  Effect.gen(function* () {
    const { beside, current, layer } = host()
    const route = { network: "a.example", prefix: 32, gateway: "b.example", metric: undefined }
    yield* apply({ routes: [route] }).pipe(Effect.provide(layer))
    expect(beside).toEqual(["a.example", "b.example"])
    expect(current().at(-1)).toBe("route replace 10.1.1.1/32 via 10.1.1.2 dev tun0 proto 149")
  }),
)
