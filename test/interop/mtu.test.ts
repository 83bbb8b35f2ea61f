/**
 * Sizes by the path: bulk data over small and large outer links, counted by the kernel, without a fragment. `MTU_SECONDS` (1 unless
 * said) is how long it goes each way.
 */
import { describe, expect } from "bun:test"
import { eventually } from "../support/child.ts"
import type { Namespace } from "../support/lab.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { iperf3, ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const seconds = Number(process.env.MTU_SECONDS ?? 1)

/** Fragments made and put together again in a namespace since its start. */
async function fragments(namespace: Namespace): Promise<number> {
  const text = await namespace.succeed([
    "nstat",
    "-asz",
    "IpFragCreates",
    "IpReasmReqds",
    "Ip6FragCreates",
    "Ip6ReasmReqds",
  ])
  return [...text.matchAll(/^Ip\S+\s+(\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

for (const mtu of [1280, 9000]) {
  describe(`an outer link of ${mtu} bytes`, () => {
    const bench = useBench({ mtu })

    testCulvert("bulk data each way without a fragment", async () => {
      const { lab } = bench
      const options: ServerOptions = {}
      await using _server = await bench.serve(options)
      await using client = bench.connect(options)
      await client.ready()
      expect((await client.status()).mtu).toBe(mtu === 1280 ? 1280 : 1500)
      const before = (await fragments(lab.client)) + (await fragments(lab.server))
      for (const address of [tunnel.ipv4, tunnel.ipv6]) {
        for (const way of [[], ["-R"]]) {
          const { bitsPerSecond } = await iperf3(lab, address, seconds, way)
          expect(bitsPerSecond).toBeGreaterThan(0)
        }
      }
      expect((await fragments(lab.client)) + (await fragments(lab.server))).toBe(before)
    })
  })
}

describe("a path that turns out smaller than the link", () => {
  const bench = useBench({ pod: true })

  testCulvert("is learned by ICMP, and the tunnel follows", async () => {
    const { lab } = bench
    const options: ServerOptions = { push: ["tun-mtu 1500"], keepalive: [1, 10] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    expect((await client.status()).mtu).toBe(1448)
    await lab.node.succeed(["ip", "link", "set", "wan", "mtu", "1380"])
    // The first packet that is too large makes the node say so.
    await eventually(20_000, "the tunnel follows", async () => {
      await lab.client.finish(["ping", "-n", "-c", "1", "-w", "1", "-s", "1400", tunnel.ipv4])
      return client.events("path_mtu").length > 0
    })
    expect((await client.event("path_mtu")).message).toContain("1380")
    expect((await client.status()).mtu).toBe(1328)
    await ping(lab.client, tunnel.ipv4)
    await bench.carriesTraffic()
  })
})
