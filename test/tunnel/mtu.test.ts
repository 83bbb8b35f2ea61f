import { expect, test } from "bun:test"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { Remote } from "../../src/config/index.ts"
import { Network } from "../../src/network/index.ts"
import { TunDevice } from "../../src/tunnel/device.ts"
import { followPath, sizesFor } from "../../src/tunnel/mtu.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"

const remote = (rest: Partial<Remote> = {}): Remote =>
  ({ transport: "udp", mssfix: { size: 1492, counts: "mtu" }, fragment: undefined, ...rest }) as Remote
const aead = { cipher: "AES-256-GCM", digest: undefined, peerId: 1, compression: undefined } as const
const sizes = (
  path: number | undefined,
  rest: Partial<Remote> = {},
  hasIpv6 = false,
  family: "ipv4" | "ipv6" = "ipv4",
) => sizesFor(path, 1500, hasIpv6, remote(rest), family, aead)

test("the sealed packet fits the path, over either family", () => {
  expect(sizes(1500)).toMatchObject({ mtu: 1448, mss: { ipv4: 1400 } })
  expect(sizes(1280)).toMatchObject({ mtu: 1228, mss: { ipv4: 1188, ipv6: 1168 } })
  expect(sizes(1280, {}, false, "ipv6").mtu).toBe(1208)
})

test("what file or server say is not exceeded, and holds where the path is unknown", () => {
  expect(sizes(9000).mtu).toBe(1500)
  expect(sizes(undefined)).toMatchObject({ mtu: 1500, mss: { ipv4: 1400 } })
  expect(sizes(1500, { mssfix: { size: 1200, counts: "fixed" } }).mss.ipv4).toBe(1160)
  expect(sizes(1500, { mssfix: "off" }).mss).toEqual({ ipv4: 0, ipv6: 0 })
})

test("IPv6 inside keeps the device at 1280, while TCP still fits the path", () => {
  expect(sizes(1280, {}, true)).toMatchObject({ mtu: 1280, mss: { ipv4: 1188, ipv6: 1168 } })
  expect(sizes(300).mtu).toBe(576)
})

test("a stream and the directive fragment need no smaller device", () => {
  expect(sizes(1280, { transport: "tcp" }).mtu).toBe(1500)
  expect(sizes(1280, { fragment: { size: 1200, counts: "payload" } }).mtu).toBe(1500)
})

/** A host whose path to the server carries `path` bytes, and what it was told. */
const host = (path: number | undefined) => {
  const state = { path, set: [] as Array<number> }
  const network = Network.of({
    direct: [],
    fitPod: () => Effect.succeed([]),
    converge: () => Effect.succeed([]),
    keep: () => Effect.succeed([]),
    reach: () => Effect.succeed(undefined),
    facts: () => Effect.die("not asked"),
    pathMtu: () => Effect.sync(() => state.path),
    renewRoutes: Effect.succeed(true),
    setMtu: (_device, mtu) => Effect.sync(() => void state.set.push(mtu)),
    current: Effect.succeed([]),
  })
  return { state, network }
}

/** Follows the path of `host` for a connection that is up. */
const followed = (network: Network["Service"], plane: MemoryPlane, headerLength = 0) =>
  Effect.gen(function* () {
    const path = yield* followPath(
      remote({ tunMtu: 1500 }),
      { current: { address: { address: "192.0.2.1", family: "ipv4" }, port: 1194, hop: undefined } },
      headerLength,
      aead,
    )
    yield* path.sizes(undefined, false)
    yield* Effect.forkScoped(path.following)
    yield* Effect.yieldNow
    return yield* StatusRef
  }).pipe(
    Effect.provide(plane.layer),
    Effect.provideService(Network, network),
    Effect.provideService(TunDevice, { name: "tun0", type: "tun", managed: true }),
    Effect.provide(StatusRef.layer),
  )

it.effect("a packet that does not fit is news: the path is looked at without a wait, device and MSS follow", () =>
  Effect.gen(function* () {
    const { state, network } = host(1500)
    const plane = new MemoryPlane(() => undefined)
    const status = yield* followed(network, plane)
    state.path = 1380
    plane.datagramTooLarge()
    yield* TestClock.adjust("1 milli")
    expect(state.set).toEqual([1328])
    expect(plane.clamped).toEqual([1400, 1288])
    expect((yield* status.get).timeline.map(({ event }) => event)).toEqual(["path_mtu"])
    // The same news again changes nothing.
    plane.datagramTooLarge()
    yield* TestClock.adjust("1 milli")
    expect(state.set).toEqual([1328])
  }),
)

it.effect("what a proxy's relay has in front of each packet is taken off the path", () =>
  Effect.gen(function* () {
    const { network } = host(1380)
    const plane = new MemoryPlane(() => undefined)
    yield* followed(network, plane, 10)
    expect(plane.clamped).toEqual([1278])
  }),
)

it.effect("a path that grew says nothing: it is looked at every five seconds", () =>
  Effect.gen(function* () {
    const { state, network } = host(1380)
    yield* followed(network, new MemoryPlane(() => undefined))
    state.path = 1500
    yield* TestClock.adjust("4900 millis")
    expect(state.set).toEqual([])
    yield* TestClock.adjust("200 millis")
    expect(state.set).toEqual([1448])
  }),
)
