/**
 * Sizes by the path: bulk data over small and large outer links, and over a path that becomes smaller on the way, counted by the
 * kernel, without a fragment. `MTU_BYTES` (25 million unless said) is how much goes each way; `npm run mtu` takes a gigabyte.
 */
import { describe, expect } from "bun:test"
import { eventually } from "../support/child.ts"
import type { Namespace } from "../support/lab.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { iperf3, ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bytes = Number(process.env.MTU_BYTES ?? 25_000_000)
const deadline = 60_000 + bytes / 10_000

/** Fragments made and put together again in these namespaces since their start. */
async function fragments(...namespaces: ReadonlyArray<Namespace>): Promise<number> {
  const names = ["IpFragCreates", "IpReasmReqds", "Ip6FragCreates", "Ip6ReasmReqds"]
  const texts = await Promise.all(namespaces.map((namespace) => namespace.succeed(["nstat", "-asz", ...names])))
  const counts = texts.flatMap((text) => [...text.matchAll(/^Ip\S+\s+(\d+)/gm)].map(([, count]) => Number(count)))
  return counts.reduce((sum, count) => sum + count, 0)
}

for (const mtu of [1280, 9000]) {
  describe(`an outer link of ${mtu} bytes`, () => {
    const bench = useBench({ mtu })

    for (const transport of ["udp", "tcp"] as const) {
      for (const family of ["ipv4", "ipv6"] as const) {
        testCulvert(
          `bulk data each way over ${transport} and ${family} without a fragment`,
          async () => {
            const { lab } = bench
            const options: ServerOptions = { transport, family }
            await using _server = await bench.serve(options)
            await using client = bench.connect(options)
            await client.ready()
            expect((await client.status()).mtu).toBe(mtu === 1280 && transport === "udp" ? 1280 : 1500)
            const before = await fragments(lab.client, lab.server)
            await iperf3(lab, tunnel.ipv4, { bytes })
            await iperf3(lab, tunnel.ipv6, { bytes }, ["-R"])
            expect(await fragments(lab.client, lab.server)).toBe(before)
          },
          deadline,
        )
      }
    }
  })
}

describe("a path that turns out smaller than the link", () => {
  const bench = useBench({ pod: true })

  for (const family of ["ipv4", "ipv6"] as const) {
    testCulvert(
      `over ${family}: is learned by ICMP from the router, the tunnel follows, and nothing is cut from then on`,
      async () => {
        const { lab } = bench
        const options: ServerOptions = { family, push: ["tun-mtu 1500"], keepalive: [1, 10] }
        await using _server = await bench.serve(options)
        await using client = bench.connect(options)
        await client.ready()
        expect((await client.status()).mtu).toBe(family === "ipv4" ? 1448 : 1428)
        await lab.node.succeed(["ip", "link", "set", "wan", "mtu", "1380"])
        try {
          // The first packet that is too large makes the node say so.
          await eventually(20_000, "the tunnel follows", async () => {
            await lab.client.finish(["ping", "-n", "-c", "1", "-w", "1", "-s", "1390", tunnel.ipv4])
            return client.events("path_mtu").length > 0
          })
          expect((await client.event("path_mtu")).message).toContain("1380")
          expect((await client.status()).mtu).toBe(family === "ipv4" ? 1328 : 1308)
          const before = await fragments(lab.client, lab.node, lab.server)
          await iperf3(lab, tunnel.ipv4, { bytes: 5_000_000 })
          await iperf3(lab, tunnel.ipv6, { bytes: 5_000_000 }, ["-R"])
          await ping(lab.client, tunnel.ipv4, 5, ["-s", "1250"])
          expect(await fragments(lab.client, lab.node, lab.server)).toBe(before)
        } finally {
          await lab.node.succeed(["ip", "link", "set", "wan", "mtu", "1500"])
        }
      },
    )
  }

  testCulvert("in the middle of a transfer: it goes on, and TCP takes to the smaller path", async () => {
    const { lab } = bench
    const options: ServerOptions = { push: ["tun-mtu 1500"], keepalive: [1, 10] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    const transfer = iperf3(lab, tunnel.ipv4, 3)
    await eventually(10_000, "it runs", async () => {
      const { counters } = await client.status()
      return (counters?.tunReadBytes ?? 0) > 1_000_000
    })
    await lab.node.succeed(["ip", "link", "set", "wan", "mtu", "1380"])
    try {
      await client.event("path_mtu")
      const after = (await client.status()).counters?.tunReadBytes ?? 0
      await transfer
      expect((await client.status()).counters?.tunReadBytes ?? 0).toBeGreaterThan(after + 1_000_000)
      await bench.carriesTraffic()
    } finally {
      await lab.node.succeed(["ip", "link", "set", "wan", "mtu", "1500"])
    }
  })
})
