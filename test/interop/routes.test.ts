/** Routes as the kernel has them, through a real server: every main form, conflicts, what is left to others. */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import { networkState, outer } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })

const get = (address: string) => bench.lab.client.succeed(["ip", "route", "get", address])
const routes = (...rest: ReadonlyArray<string>) => bench.lab.client.succeed(["ip", ...rest, "route", "show"])

testCulvert("file and push: networks, gateways, metrics, names and keywords", async () => {
  const options: ServerOptions = {
    push: [
      "route 10.77.0.0 255.255.255.0",
      "route 10.78.0.0 255.255.255.0 net_gateway",
      "route-ipv6 fd77::/64",
      "route-metric 7",
    ],
  }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, {
    lines: [
      "route 10.79.0.0 255.255.0.0 vpn_gateway 3",
      `route ${outer.hosts.ipv4} 255.255.255.255 net_gateway`,
      "route remote_host 255.255.255.255 net_gateway 9",
      "route-ipv6 fd79::/32",
    ],
  })
  await client.ready()
  await bench.carriesTraffic()
  const ipv4 = await routes("-4")
  expect(ipv4).toMatch(/^10\.77\.0\.0\/24 dev tun0 .*metric 7/m)
  expect(ipv4).toMatch(new RegExp(`^10\\.78\\.0\\.0/24 via ${outer.server.ipv4} dev outer .*metric 7`, "m"))
  expect(ipv4).toMatch(/^10\.79\.0\.0\/16 dev tun0 .*metric 3/m)
  expect(ipv4).toMatch(/^10\.90\.0\.1 via 10\.90\.0\.1 dev outer .*metric 7/m)
  expect(ipv4).toMatch(/^10\.90\.0\.1 via 10\.90\.0\.1 dev outer .*metric 9/m)
  const ipv6 = await routes("-6")
  expect(ipv6).toMatch(/^fd77::\/64 dev tun0 .*metric 7/m)
  expect(ipv6).toMatch(/^fd79::\/32 dev tun0/m)
})

testCulvert("redirect-gateway block-local: the pod's own network too, but not its gateway nor the server", async () => {
  const options: ServerOptions = { push: ["redirect-gateway def1 ipv6 block-local"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  await bench.carriesTraffic()
  for (const address of ["198.51.100.1", "2001:db8::1", "10.90.0.77", "fd90::77"])
    expect(await get(address)).toContain("dev tun0")
  expect(await get(outer.server.ipv4)).toContain("dev outer")
})

testCulvert("block-ipv6: whoever tries is told at once that there is no way", async () => {
  const options: ServerOptions = { push: ["redirect-gateway def1 ipv6", "block-ipv6"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect((await bench.lab.client.finish(["ip", "route", "get", "2001:db8::1"])).stderr).toContain("No route to host")
  // 7: the connection failed; a packet that vanishes would be a timeout, 28.
  const attempt = await bench.lab.client.finish(["curl", "-s", "--max-time", "5", "http://[2001:db8::1]/"])
  expect(attempt.code).toBe(7)
})

testCulvert("route-noexec and ifconfig-noexec leave routes and addresses to somebody else", async () => {
  const options: ServerOptions = { push: ["route 10.77.0.0 255.255.255.0"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, { lines: ["route-noexec", "ifconfig-noexec"] })
  await client.ready()
  expect(await routes("-4")).not.toContain("10.77.0.0")
  expect(await bench.lab.client.succeed(["ip", "address", "show", "dev", "tun0"])).not.toContain("10.66.0")
})

testCulvert("a tunnel network that the pod has already: one message, not ready, nothing applied", async () => {
  const { lab } = bench
  await lab.client.succeed(["ip", "address", "add", "10.66.0.99/24", "dev", "outer"])
  try {
    const before = await networkState(lab.client)
    await using _server = await bench.serve()
    await using client = bench.connect({})
    const { message } = await client.event("disconnected")
    expect(message).toContain("10.66.0.0/24")
    expect(message).toMatch(/give .* another network/)
    expect(await client.probe("/readyz")).toBe(503)
    expect(await lab.client.succeed(["ip", "-4", "-o", "address", "show", "dev", "tun0"])).toBe("")
    await client.stop()
    await eventually(5_000, "as before", async () => (await networkState(lab.client)) === before)
  } finally {
    await lab.client.succeed(["ip", "address", "del", "10.66.0.99/24", "dev", "outer"])
  }
})
