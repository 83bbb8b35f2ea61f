/** `CULVERT_CONNECT=race`: several servers of which the first in the list is not the one to have. */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const race = { environment: { CULVERT_CONNECT: "race" } }

/** What is sent there is never answered. */
const dead = "remote 10.90.0.1 1198"

/** A second server beside that of the lab, in a network of its own. */
const slow: ServerOptions = {
  port: 1195,
  lines: ["server 10.67.0.0 255.255.255.0", "server-ipv6 fd67::/64"],
}

const ways = async (): Promise<ReadonlyArray<string>> => {
  const table = await bench.lab.client.succeed(["nft", "list", "chain", "inet", "culvert", "output"])
  return [...table.matchAll(/to the VPN server: udp \S+ port (\d+)/g)].map((match) => match[1]!).sort()
}

testCulvert(
  "a dead one and a slow one are overtaken; the kill switch is open for all of them, then for the winner alone",
  async () => {
    const drop =
      "add chain inet dead in { type filter hook input priority 0; }; add rule inet dead in udp dport 1198 drop"
    await bench.lab.server.succeed(["nft", `add table inet dead; ${drop}`])
    await using first = await bench.serve(slow)
    await using second = await bench.serve()
    for (const server of [first, second]) server.suspend()
    const lines = [dead, "remote 10.90.0.1 1194"]
    await using client = bench.connect({ port: 1195 }, { lines }, race)
    await eventually(10_000, "three ways", async () => {
      expect(await ways()).toEqual(["1194", "1195", "1198"])
      return true
    })
    second.resume()
    await client.ready()
    expect((await client.event("race_won")).remote).toBe("udp://10.90.0.1:1194")
    expect(client.events("connecting")).toHaveLength(1)
    expect(await ways()).toEqual(["1194"])
    await bench.carriesTraffic()
    // It hears of a race that is over.
    first.resume()
    await bench.carriesTraffic()
    expect(client.events("disconnected")).toHaveLength(0)
  },
)

testCulvert("one that refuses makes way at once", async () => {
  await using _ = await bench.serve()
  const configuration = { lines: ["remote 10.90.0.1 1194"] }
  await using client = bench.connect({ port: 1199 }, configuration, race)
  await client.ready()
  expect(client.events("connecting")).toHaveLength(1)
  expect(client.events("disconnected")).toHaveLength(0)
  await bench.carriesTraffic()
})
