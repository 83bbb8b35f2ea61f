import { expect, test } from "bun:test"
import type { NetworkOptions } from "../../src/config/index.ts"
import { mergeNetwork, type PlanInput, planNetwork, prefixOfMask } from "../../src/network/plan.ts"

const none: NetworkOptions = {
  topology: undefined,
  ifconfig: undefined,
  ifconfigIpv6: undefined,
  routeGateway: undefined,
  routeIpv6Gateway: undefined,
  routeMetric: undefined,
  routes: [],
  routesIpv6: [],
  redirectGateway: undefined,
  redirectPrivate: undefined,
  blockIpv6: false,
  clientNat: [],
  dhcpOptions: [],
  dns: { servers: [], searchDomains: [] },
}
const subnet: NetworkOptions = {
  ...none,
  topology: "subnet",
  ifconfig: { local: "10.8.0.2", second: "255.255.255.0" },
  ifconfigIpv6: { local: "fd00:8::1000", prefix: 64, remote: "fd00:8::1" },
  routeGateway: "10.8.0.1",
}
const route = (network: string, prefix: number, gateway?: string, metric?: number) => ({
  network,
  prefix,
  gateway,
  metric,
})

const input = (options: NetworkOptions): PlanInput => ({
  device: "tun0",
  mtu: 1500,
  options,
  server: { address: "192.0.2.1", via: { device: "eth0", gateway: "10.244.1.1" } },
  host: { gateway: { ipv4: { device: "eth0", gateway: "10.244.1.1" }, ipv6: undefined } },
})
const lines = (options: NetworkOptions) => planNetwork(input(options)).changes.map((change) => change.apply)

test("topology subnet: address with prefix, IPv6 without duplicate address detection", () => {
  const plan = planNetwork(input(subnet))
  expect(plan.changes.map((change) => change.apply)).toEqual([
    "link set dev tun0 mtu 1500 up",
    "address replace 10.8.0.2/24 dev tun0",
    "address replace fd00:8::1000/64 dev tun0 nodad",
  ])
  expect(plan.addresses).toEqual(["10.8.0.2/24", "fd00:8::1000/64"])
})

test("net30 and p2p: peer address", () => {
  expect(lines({ ...none, ifconfig: { local: "10.8.0.6", second: "10.8.0.5" } })).toContain(
    "address replace 10.8.0.6 peer 10.8.0.5 dev tun0",
  )
})

test("redirect-gateway keeps the default route, covers it by halves, and leaves a way to the server", () => {
  expect(lines({ ...subnet, redirectGateway: ["def1", "ipv6"] }).slice(3)).toEqual([
    "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
    "route replace 0.0.0.0/1 dev tun0",
    "route replace 128.0.0.0/1 dev tun0",
    "route replace ::/3 dev tun0",
    "route replace 2000::/4 dev tun0",
    "route replace 3000::/4 dev tun0",
    "route replace fc00::/7 dev tun0",
  ])
  expect(lines({ ...subnet, redirectGateway: ["local"] }).some((line) => line.includes("192.0.2.1"))).toBe(false)
  expect(lines({ ...subnet, redirectGateway: ["!ipv4"] }).some((line) => line.includes("/1"))).toBe(false)
})

test("routes: tunnel, host gateway, explicit gateway, metric", () => {
  const options = {
    ...subnet,
    routeMetric: 7,
    routes: [route("10.9.0.0", 16), route("10.10.0.0", 16, "net_gateway"), route("10.11.0.0", 16, "10.8.0.9", 3)],
    routesIpv6: [route("fd09::", 32)],
  }
  expect(lines(options).slice(3)).toEqual([
    "route replace 10.9.0.0/16 dev tun0 metric 7",
    "route replace 10.10.0.0/16 via 10.244.1.1 dev eth0 metric 7",
    "route replace 10.11.0.0/16 via 10.8.0.9 dev tun0 metric 3",
    "route replace fd09::/32 dev tun0 metric 7",
  ])
})

test("what cannot be done is a note, never a guess", () => {
  const plan = planNetwork(
    input({
      ...none,
      routes: [route("intranet.example", 32)],
      routesIpv6: [route("fd09::", 32), route("fd0a::", 32, "net_gateway")],
    }),
  )
  expect(plan.notes).toHaveLength(3)
  expect(plan.changes).toHaveLength(1)
})

test("a pushed value with shell or batch syntax never reaches ip", () => {
  const plan = planNetwork(input({ ...none, routes: [route("10.0.0.0\nlink del eth0", 8)] }))
  expect(plan.changes).toHaveLength(1)
  expect(plan.notes).toHaveLength(1)
})

test("every change but the link has its undo", () => {
  const { changes } = planNetwork(input({ ...subnet, redirectGateway: ["def1"] }))
  expect(changes.filter((change) => change.undo === undefined).map((change) => change.apply)).toEqual([
    "link set dev tun0 mtu 1500 up",
  ])
  expect(changes.at(-1)!.undo).toBe("route del 128.0.0.0/1 dev tun0")
})

test("the server's values win over the file's, routes of both count", () => {
  const merged = mergeNetwork(
    { ...none, routes: [route("10.1.0.0", 16)], topology: "net30", redirectGateway: ["def1"] },
    { ...subnet, routes: [route("10.2.0.0", 16)] },
  )
  expect(merged.topology).toBe("subnet")
  expect(merged.routes).toHaveLength(2)
  expect(merged.redirectGateway).toEqual(["def1"])
})

test("netmasks", () => {
  expect(prefixOfMask("255.255.255.252")).toBe(30)
  expect(prefixOfMask("0.0.0.0")).toBe(0)
  expect(prefixOfMask("255.255.255.255")).toBe(32)
  expect(prefixOfMask("255.0.255.0")).toBeUndefined()
  expect(prefixOfMask("10.8.0.5")).toBeUndefined()
  expect(prefixOfMask("255.255.256.0")).toBeUndefined()
})
