import { expect, test } from "bun:test"
import type { Route } from "../../src/linux/index.ts"
import { hostFacts } from "../../src/network/ip.ts"

const route = (target: string, link: number | undefined, more: Partial<Route> = {}): Route => ({
  ...{ target, isUnicast: true, protocol: 2, link, gateway: undefined, source: undefined, mtu: undefined },
  ...more,
})

test("the pod apart from us: gateways, addresses and routes, without loopback, the tunnel and what we set ourselves", () => {
  const facts = hostFacts(
    {
      links: [
        { index: 1, name: "lo", mtu: 65_536 },
        { index: 2, name: "eth0", mtu: 1500 },
        { index: 3, name: "tun0", mtu: 1500 },
      ],
      routes: [
        route("0.0.0.0/1", 3, { protocol: 149 }),
        route("0.0.0.0/0", 3),
        route("0.0.0.0/0", 2, { gateway: "10.244.1.1", mtu: 1440 }),
        route("10.244.1.0/24", 2),
        route("169.254.1.1/32", 2),
        route("10.96.0.0/12", 2, { gateway: "10.244.1.1", protocol: 149 }),
        route("10.66.0.0/24", 3),
        route("fd24::/64", 2),
        route("fe80::/64", 2),
        route("2000::/4", 1, { isUnicast: false }),
        // Over several links.
        route("10.1.0.0/16", undefined),
      ],
      addresses: [
        { link: 1, address: "127.0.0.1" },
        { link: 2, address: "10.244.1.5" },
        { link: 2, address: "fd24::5" },
        { link: 3, address: "10.66.0.2" },
      ],
    },
    "tun0",
  )
  expect(facts).toEqual({
    gateway: { ipv4: { device: "eth0", gateway: "10.244.1.1", mtu: 1440 }, ipv6: undefined },
    addresses: ["10.244.1.5", "fd24::5"],
    routes: [
      { target: "10.244.1.0/24", hop: { device: "eth0", gateway: undefined } },
      { target: "169.254.1.1/32", hop: { device: "eth0", gateway: undefined } },
      { target: "fd24::/64", hop: { device: "eth0", gateway: undefined } },
    ],
  })
})
