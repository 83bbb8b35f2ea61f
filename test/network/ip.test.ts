import { expect, test } from "bun:test"
import { hostFacts } from "../../src/network/ip.ts"

test("the pod apart from us: gateways, addresses and routes, without loopback, the tunnel and what we set ourselves", () => {
  const facts = hostFacts(
    [
      { dst: "0.0.0.0/1", dev: "tun0", protocol: "149" },
      { dst: "default", dev: "tun0" },
      { dst: "default", dev: "eth0", gateway: "10.244.1.1" },
      { dst: "10.244.1.0/24", dev: "eth0", protocol: "kernel" },
      { dst: "169.254.1.1", dev: "eth0" },
      { dst: "10.96.0.0/12", dev: "eth0", gateway: "10.244.1.1", protocol: "149" },
      { dst: "10.66.0.0/24", dev: "tun0", protocol: "kernel" },
    ],
    [
      { dst: "fd24::/64", dev: "eth0", protocol: "kernel", type: "unicast" },
      { dst: "fe80::/64", dev: "eth0", protocol: "kernel" },
      { dst: "2000::/4", dev: "lo", type: "unreachable" },
    ],
    [
      { ifname: "lo", addr_info: [{ local: "127.0.0.1" }] },
      { ifname: "eth0", addr_info: [{ local: "10.244.1.5" }, {}, { local: "fd24::5" }] },
      { ifname: "tun0", addr_info: [{ local: "10.66.0.2" }] },
    ],
    "tun0",
  )
  expect(facts).toEqual({
    gateway: { ipv4: { device: "eth0", gateway: "10.244.1.1" }, ipv6: undefined },
    addresses: ["10.244.1.5", "fd24::5"],
    routes: [
      { target: "10.244.1.0/24", hop: { device: "eth0", gateway: undefined } },
      { target: "169.254.1.1/32", hop: { device: "eth0", gateway: undefined } },
      { target: "fd24::/64", hop: { device: "eth0", gateway: undefined } },
    ],
  })
})
