import { describe, expect, test } from "bun:test"
import type { NetworkOptions } from "../../src/config/index.ts"
import { type HostFacts, planBeside } from "../../src/network/beside.ts"
import { mergeNetwork, namesIn, type PlanInput, planNetwork } from "../../src/network/plan.ts"

const none: NetworkOptions = {
  topology: undefined,
  ifconfig: undefined,
  ifconfigIpv6: undefined,
  routeGateway: undefined,
  routeIpv6Gateway: undefined,
  routeMetric: undefined,
  routeDelay: undefined,
  routes: [],
  routesIpv6: [],
  redirectGateway: undefined,
  redirectPrivate: undefined,
  blockIpv6: false,
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

/** A pod of an ordinary bridge: its own /24, the node as gateway. */
const bridged: HostFacts = {
  gateway: { ipv4: { device: "eth0", gateway: "10.244.1.1" }, ipv6: { device: "eth0", gateway: "fd24::1" } },
  addresses: ["10.244.1.5", "fd24::5"],
  routes: [
    { target: "10.244.1.0/24", hop: { device: "eth0", gateway: undefined } },
    { target: "fd24::/64", hop: { device: "eth0", gateway: undefined } },
  ],
}
/** As Calico and Cilium do it: a single address, a gateway in no network. */
const alone: HostFacts = {
  gateway: { ipv4: { device: "eth0", gateway: "169.254.1.1" }, ipv6: undefined },
  addresses: ["10.244.7.9"],
  routes: [{ target: "169.254.1.1/32", hop: { device: "eth0", gateway: undefined } }],
}

const input = (options: NetworkOptions, rest: Partial<PlanInput> = {}): PlanInput => ({
  device: "tun0",
  isEthernet: false,
  mtu: 1500,
  options,
  hasFormer: false,
  server: { address: "192.0.2.1", via: { device: "eth0", gateway: "10.244.1.1" } },
  host: bridged,
  exceptions: [],
  names: new Map(),
  resolvers: [],
  leave: { addresses: false, routes: false },
  ...rest,
})
/** Applied lines without our mark. */
const lines = (options: NetworkOptions, rest?: Partial<PlanInput>) =>
  planNetwork(input(options, rest)).changes.map((change) => change.apply.replace(" proto 149", ""))
/** Those after the link and the two addresses of `subnet`. */
const routes = (options: NetworkOptions, rest?: Partial<PlanInput>) => lines(options, rest).slice(3)
const notes = (options: NetworkOptions, rest?: Partial<PlanInput>) => planNetwork(input(options, rest)).notes

describe("addresses", () => {
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
    for (const topology of ["net30", "p2p", undefined] as const) {
      expect(lines({ ...none, topology, ifconfig: { local: "10.8.0.6", second: "10.8.0.5" } })).toContain(
        "address replace 10.8.0.6 peer 10.8.0.5 dev tun0",
      )
    }
  })

  test("ifconfig-noexec and route-noexec leave theirs to somebody else, and only theirs", () => {
    const options = { ...subnet, routes: [route("10.9.0.0", 16)] }
    expect(lines(options, { leave: { addresses: true, routes: false } })).toEqual([
      "link set dev tun0 mtu 1500 up",
      "route replace 10.9.0.0/16 dev tun0",
    ])
    expect(lines(options, { leave: { addresses: false, routes: true } })).toHaveLength(3)
  })

  test("a network that the pod is in already is a conflict, and so is its address", () => {
    const same = { ...none, topology: "subnet", ifconfig: { local: "10.244.1.77", second: "255.255.255.0" } } as const
    expect(planNetwork(input(same)).conflict).toContain("10.244.1.0/24")
    const wider = { ...same, ifconfig: { local: "10.244.1.5", second: "255.255.0.0" } }
    expect(planNetwork(input(wider)).conflict).toContain("already the pod's own")
    expect(planNetwork(input(subnet)).conflict).toBeUndefined()
  })
})

describe("redirect-gateway", () => {
  test("keeps the default route, covers it by halves, and leaves a way to the server", () => {
    const expected = [
      "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
      "route replace 0.0.0.0/1 dev tun0",
      "route replace 128.0.0.0/1 dev tun0",
    ]
    expect(routes({ ...subnet, redirectGateway: ["def1"] })).toEqual(expected)
    expect(routes({ ...subnet, redirectGateway: [] })).toEqual(expected)
  })

  test("ipv6, where the tunnel has it; !ipv4", () => {
    const targets = ["::/3", "2000::/4", "3000::/4", "fc00::/7"]
    const tunnelled = targets.map((target) => `route replace ${target} dev tun0`)
    expect(routes({ ...subnet, redirectGateway: ["!ipv4", "ipv6"] }).slice(1)).toEqual(tunnelled)
    expect(routes({ ...subnet, ifconfigIpv6: undefined, redirectGateway: ["!ipv4", "ipv6"] })).toHaveLength(0)
  })

  test("local: no way to the server is made; autolocal: none when it is in the pod's own network", () => {
    const near = { address: "10.244.1.9", via: { device: "eth0", gateway: undefined } }
    const toServer = (flags: NetworkOptions["redirectGateway"], rest?: Partial<PlanInput>) =>
      routes({ ...subnet, redirectGateway: flags }, rest).filter((line) => /192\.0\.2\.1|10\.244\.1\.9/.test(line))
    expect(toServer(["local"])).toHaveLength(0)
    expect(toServer(["autolocal"])).toHaveLength(1)
    expect(toServer(["autolocal"], { server: near })).toHaveLength(0)
    expect(toServer(["def1"], { server: near })).toEqual(["route replace 10.244.1.9/32 dev eth0"])
  })

  test("block-local sends the pod's own networks into the tunnel, but not their gateways", () => {
    const planned = routes({ ...subnet, redirectGateway: ["def1", "block-local"] })
    for (const line of [
      "route replace 10.244.1.1/32 dev eth0",
      "route replace fd24::1/128 dev eth0",
      "route replace 10.244.1.0/25 dev tun0",
      "route replace 10.244.1.128/25 dev tun0",
      "route replace fd24::/65 dev tun0",
    ]) {
      expect(planned).toContain(line)
    }
    expect(planned.indexOf("route replace 10.244.1.1/32 dev eth0")).toBeLessThan(
      planned.indexOf("route replace 10.244.1.0/25 dev tun0"),
    )
    // A pod with a single address has no network to block.
    expect(routes({ ...subnet, redirectGateway: ["block-local"] }, { host: alone })).toHaveLength(3)
  })

  test("bypass-dhcp and bypass-dns change nothing on Linux", () => {
    expect(routes({ ...subnet, redirectGateway: ["def1", "bypass-dhcp", "bypass-dns"] })).toEqual(
      routes({ ...subnet, redirectGateway: ["def1"] }),
    )
  })

  test("redirect-private only makes the way to the server", () => {
    expect(routes({ ...subnet, redirectPrivate: ["def1"] })).toEqual([
      "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
    ])
  })

  test("block-ipv6 brings IPv6 to the tunnel's device, where it is refused, whether the tunnel has it or not", () => {
    const refused = ["::/3", "2000::/4", "3000::/4", "fc00::/7"].map((target) => `route replace ${target} dev tun0`)
    expect(routes({ ...subnet, blockIpv6: true })).toEqual(refused)
    expect(routes({ ...subnet, blockIpv6: true, redirectGateway: ["def1", "ipv6"] }).slice(3)).toEqual(refused)
    expect(routes({ ...subnet, blockIpv6: true, routesIpv6: [route("fd09::", 32)] }).at(-1)).toBe(
      "route replace fd09::/32 dev tun0",
    )
  })
})

describe("route", () => {
  test("tunnel, host gateway, explicit gateway, metric", () => {
    const options = {
      ...subnet,
      routeMetric: 7,
      routes: [route("10.9.0.0", 16), route("10.10.0.0", 16, "net_gateway"), route("10.11.0.0", 16, "10.8.0.9", 3)],
      routesIpv6: [route("fd09::", 32), route("fd0a::", 32, "net_gateway")],
    }
    expect(routes(options)).toEqual([
      "route replace 10.9.0.0/16 dev tun0 metric 7",
      "route replace 10.10.0.0/16 via 10.244.1.1 dev eth0 metric 7",
      "route replace 10.11.0.0/16 via 10.8.0.9 dev tun0 metric 3",
      "route replace fd09::/32 dev tun0 metric 7",
      "route replace fd0a::/32 via fd24::1 dev eth0 metric 7",
    ])
  })

  test("keywords as network: the tunnel's gateway, the host's, the server", () => {
    const options = {
      ...subnet,
      routes: [
        route("vpn_gateway", 32),
        route("net_gateway", 32, "net_gateway"),
        route("remote_host", 32, "net_gateway"),
      ],
    }
    expect(routes(options)).toEqual([
      "route replace 10.8.0.1/32 dev tun0",
      "route replace 10.244.1.1/32 via 10.244.1.1 dev eth0",
      "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
    ])
    const p2p = { ...none, ifconfig: { local: "10.8.0.6", second: "10.8.0.5" }, routes: [route("vpn_gateway", 32)] }
    expect(lines(p2p).at(-1)).toBe("route replace 10.8.0.5/32 dev tun0")
  })

  test("host names: a route for each address, a note for a name without", () => {
    const options = { ...subnet, routes: [route("intranet.example", 32), route("gone.example", 32)] }
    expect(namesIn(options)).toEqual(["intranet.example", "gone.example"])
    const names = new Map([["intranet.example", ["10.9.1.1", "10.9.1.2"]]])
    expect(routes(options, { names })).toEqual([
      "route replace 10.9.1.1/32 dev tun0",
      "route replace 10.9.1.2/32 dev tun0",
    ])
    expect(notes(options, { names })).toEqual(["route gone.example/32: this name has no address"])
  })

  test("one that covers the server makes a way to it beside the tunnel, before itself", () => {
    expect(routes({ ...subnet, routes: [route("192.0.0.0", 8)] })).toEqual([
      "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
      "route replace 192.0.0.0/8 dev tun0",
    ])
  })

  test("one inside the pod's network leaves its gateway reachable", () => {
    expect(routes({ ...subnet, routes: [route("10.244.1.0", 25)] })).toEqual([
      "route replace 10.244.1.1/32 dev eth0",
      "route replace 10.244.1.0/25 dev tun0",
    ])
  })

  test("the pod's own network is not replaced; a note says what to do", () => {
    expect(routes({ ...subnet, routes: [route("10.244.1.0", 24)] })).toHaveLength(0)
    expect(notes({ ...subnet, routes: [route("10.244.1.0", 24)] })[0]).toContain("the pod's own network")
    expect(routes({ ...subnet, routes: [route("10.244.1.0", 24, undefined, 50)] })).toContain(
      "route replace 10.244.1.0/24 dev tun0 metric 50",
    )
  })

  test("name servers are asked through the tunnel, whether a route covers them or not", () => {
    expect(routes(subnet, { resolvers: ["9.9.9.9", "fd00:9::53"] })).toEqual([
      "route replace 9.9.9.9/32 dev tun0",
      "route replace fd00:9::53/128 dev tun0",
    ])
    expect(routes({ ...subnet, routes: [route("9.0.0.0", 8)] }, { resolvers: ["9.9.9.9"] })).toHaveLength(1)
  })

  test("what cannot be done is a note, never a guess", () => {
    const plan = planNetwork(
      input(
        {
          ...none,
          routes: [route("vpn_gateway", 32)],
          routesIpv6: [route("fd09::", 32), route("fd0a::", 32, "net_gateway")],
        },
        { host: alone },
      ),
    )
    expect(plan.notes).toHaveLength(3)
    expect(plan.changes).toHaveLength(1)
  })

  test("a pushed value with shell or batch syntax never reaches ip", () => {
    const plan = planNetwork(input({ ...none, routes: [route("10.0.0.0\nlink del eth0", 8)] }))
    expect(plan.changes).toHaveLength(1)
    expect(plan.notes).toHaveLength(1)
  })
})

describe("a tap device", () => {
  const tap = { device: "tap0", isEthernet: true }

  test("has a netmask whatever the topology, and routes that lead to a neighbour", () => {
    const options: NetworkOptions = {
      ...subnet,
      topology: undefined,
      redirectGateway: ["def1", "ipv6"],
      routes: [route("10.9.0.0", 16), route("10.10.0.0", 16, "10.8.0.9"), route("10.11.0.0", 16, "net_gateway")],
      routesIpv6: [route("fd09::", 32)],
    }
    expect(planNetwork(input(options, tap)).addresses).toEqual(["10.8.0.2/24", "fd00:8::1000/64"])
    expect(routes(options, tap)).toEqual([
      "route replace 192.0.2.1/32 via 10.244.1.1 dev eth0",
      "route replace 0.0.0.0/1 via 10.8.0.1 dev tap0",
      "route replace 128.0.0.0/1 via 10.8.0.1 dev tap0",
      "route replace ::/3 via fd00:8::1 dev tap0",
      "route replace 2000::/4 via fd00:8::1 dev tap0",
      "route replace 3000::/4 via fd00:8::1 dev tap0",
      "route replace fc00::/7 via fd00:8::1 dev tap0",
      "route replace 10.9.0.0/16 via 10.8.0.1 dev tap0",
      "route replace 10.10.0.0/16 via 10.8.0.9 dev tap0",
      "route replace 10.11.0.0/16 via 10.244.1.1 dev eth0",
      "route replace fd09::/32 via fd00:8::1 dev tap0",
    ])
  })

  test("without a gateway has its own network only, and a note says so", () => {
    const options = { ...subnet, routeGateway: undefined, redirectGateway: ["def1" as const] }
    expect(routes(options, tap)).toEqual(["route replace 192.0.2.1/32 via 10.244.1.1 dev eth0"])
    expect(notes(options, tap)).toEqual([expect.stringContaining("(route-gateway)")])
  })

  test("asks a name server in its own network without a route, another one over its gateway", () => {
    expect(routes(subnet, { ...tap, resolvers: ["10.8.0.53", "fd00:8::53"] })).toEqual([])
    expect(routes(subnet, { ...tap, resolvers: ["9.9.9.9"] })).toEqual([
      "route replace 9.9.9.9/32 via 10.8.0.1 dev tap0",
    ])
  })
})

test("every change but the link has its undo", () => {
  const { changes } = planNetwork(input({ ...subnet, redirectGateway: ["def1"], blockIpv6: true }))
  expect(changes.filter((change) => change.undo === undefined).map((change) => change.apply)).toEqual([
    "link set dev tun0 mtu 1500 up",
  ])
  expect(changes.map(({ undo }) => undo)).toContain("route del 128.0.0.0/1 dev tun0 proto 149")
  expect(changes.at(-1)!.undo).toBe("route del fc00::/7 dev tun0 proto 149")
})

test("an exception that overlaps with the tunnel's network is reported, and which of the two wins", () => {
  const wide = notes(subnet, { exceptions: ["10.0.0.0/8", "172.16.0.0/12"] })
  expect(wide).toHaveLength(1)
  expect(wide[0]).toContain("goes through the tunnel")
  expect(notes(subnet, { exceptions: ["10.8.0.53"] })[0]).toContain("beside the tunnel")
})

describe("beside the tunnel", () => {
  const beside = (host: HostFacts, direct: ReadonlyArray<string>) =>
    planBeside(host, direct).map(({ apply }) => apply.replace(" proto 149", ""))

  test("whoever connects to the pod's address is answered from a table of our own", () => {
    expect(beside(bridged, [])).toEqual([
      "route replace 10.244.1.0/24 dev eth0 table 4911",
      "route replace fd24::/64 dev eth0 table 4911",
      "route replace 0.0.0.0/0 via 10.244.1.1 dev eth0 onlink table 4911",
      "route replace ::/0 via fd24::1 dev eth0 onlink table 4911",
      "rule add from 10.244.1.5 lookup 4911 pref 4911",
      "rule add from fd24::5 lookup 4911 pref 4911",
    ])
  })

  test("a single address with a gateway in no network", () => {
    expect(beside(alone, ["10.96.0.10"])).toEqual([
      "route replace 169.254.1.1/32 dev eth0 table 4911",
      "route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink table 4911",
      "rule add from 10.244.7.9 lookup 4911 pref 4911",
      "route replace 10.96.0.10/32 via 169.254.1.1 dev eth0",
    ])
  })

  test("a size that a route of the pod says is kept: an overlay may carry less than its device", () => {
    const gateway = { ipv4: { device: "eth0", gateway: "169.254.1.1", mtu: 1440 }, ipv6: undefined }
    expect(beside({ ...alone, gateway }, ["10.96.0.10"]).filter((line) => line.includes("mtu"))).toEqual([
      "route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink table 4911 mtu 1440",
      "route replace 10.96.0.10/32 via 169.254.1.1 dev eth0 mtu 1440",
    ])
  })

  test("exceptions have routes past the tunnel, unless the pod is in their network", () => {
    const direct = beside(bridged, ["10.96.0.0/12", "10.244.1.53", "fd96::/112", "not a network"]).slice(6)
    expect(direct).toEqual([
      "route replace 10.96.0.0/12 via 10.244.1.1 dev eth0",
      "route replace fd96::/112 via fd24::1 dev eth0",
    ])
  })

  test("a pod without a gateway has nothing to keep", () => {
    expect(beside({ ...bridged, gateway: { ipv4: undefined, ipv6: undefined } }, ["10.96.0.0/12"])).toEqual([])
  })
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

test("while the device has addresses of before, routes say which one new connections take; IPv6 has a mark for that", () => {
  const options: NetworkOptions = {
    ...subnet,
    routes: [route("10.9.0.0", 16), route("10.10.0.0", 16, "net_gateway")],
    routesIpv6: [route("fd00:9::", 48)],
  }
  const lines = planNetwork(input(options, { hasFormer: true })).changes.map(({ apply }) => apply)
  expect(lines).toContain("route replace 10.9.0.0/16 dev tun0 proto 149 src 10.8.0.2")
  expect(lines).toContain("route replace 10.10.0.0/16 via 10.244.1.1 dev eth0 proto 149")
  expect(lines).toContain("route replace fd00:9::/48 dev tun0 proto 149")
  const before = planNetwork(input(options)).changes
  expect(before.map(({ undo }) => undo)).toEqual(
    planNetwork(input(options, { hasFormer: true })).changes.map(({ undo }) => undo),
  )
})
