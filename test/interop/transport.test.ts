/** Where the server is, and how fast the way there: addresses and names of both families, over UDP and TCP. */
import { expect, test } from "bun:test"
import { outer } from "../support/lab.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { iperf3 } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

for (const transport of ["udp", "tcp"] as const) {
  test.each([
    ["an IPv4 address", "ipv4", outer.server.ipv4],
    ["an IPv6 address", "ipv6", outer.server.ipv6],
    ["a name with an IPv4 address", "ipv4", outer.hosts.ipv4],
    ["a name with an IPv6 address", "ipv6", outer.hosts.ipv6],
    ["a name with both", "any", outer.hosts.any],
  ] as const)(`${transport} to %s`, async (_what, family, host) => {
    const options: ServerOptions = { transport, family }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options, { host })
    await client.ready()
    await bench.carriesTraffic()
  })

  test(`${transport} carries iperf3 both ways`, async () => {
    await using _server = await bench.serve({ transport })
    await using client = bench.connect({ transport })
    await client.ready()
    const up = await iperf3(bench.lab, tunnel.ipv4, 2)
    const down = await iperf3(bench.lab, tunnel.ipv6, 2, ["-R"])
    expect(up.bitsPerSecond).toBeGreaterThan(1e6)
    expect(down.bitsPerSecond).toBeGreaterThan(1e6)
  })
}

test("a name whose first address does not answer: the next one is tried", async () => {
  await using _server = await bench.serve({ family: "ipv4" })
  await using client = bench.connect({ family: "any" }, { host: outer.hosts.any, lines: ["connect-timeout 2"] })
  await client.ready()
  await bench.carriesTraffic()
})
