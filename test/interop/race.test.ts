/** `CULVERT_CONNECT=race`: several servers of which the first in the list is not the one to have. */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import { outer } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { ProxyServer, proxyPort, relayPort } from "../support/proxy.ts"
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

const killDead = () => {
  const chain = "add chain inet dead in { type filter hook input priority 0; }; flush chain inet dead in"
  const rule = "add rule inet dead in meta l4proto { udp, tcp } th dport 1198 drop"
  return bench.lab.server.succeed(["nft", `add table inet dead; ${chain}; ${rule}`])
}

const ways = async (): Promise<ReadonlyArray<string>> => {
  const table = await bench.lab.client.succeed(["nft", "list", "chain", "inet", "culvert", "output"])
  return [...table.matchAll(/to the VPN server: udp \S+ port (\d+)/g)].map((match) => match[1]!).sort()
}

testCulvert(
  "a dead one and a slow one are overtaken; the kill switch is open for all of them, then for the winner alone",
  async () => {
    await killDead()
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

testCulvert.each([
  { kind: "http", transport: "tcp", way: `tcp dport ${proxyPort}` },
  { kind: "socks", transport: "tcp", way: `tcp dport ${proxyPort}` },
  { kind: "socks", transport: "udp", way: `udp dport ${relayPort + 1}` },
] as const)("through a proxy ($kind, $transport): the server behind it that answers is taken", async (scene) => {
  const { kind, transport, way } = scene
  const { lab } = bench
  await killDead()
  await using proxy = await ProxyServer.start(lab, kind)
  await using _ = await bench.serve({ transport })
  const proxied = `${kind}-proxy ${outer.server.ipv4} ${proxyPort}`
  const configuration = { lines: [proxied, `remote ${outer.server.ipv4} 1194`] }
  await using client = bench.connect({ transport, port: 1198 }, configuration, race)
  await client.ready()
  const taken = `${transport}://${outer.server.ipv4}:1194 through the proxy ${outer.server.ipv4}:${proxyPort}`
  expect((await client.event("race_won")).remote).toBe(taken)
  expect((await client.status()).remote).toBe(taken)
  expect(client.events("connecting")).toHaveLength(1)
  expect(client.events("disconnected")).toHaveLength(0)
  await bench.carriesTraffic()
  expect(proxy.log.some((line) => line.includes(":1198"))).toBe(true)
  // The relay that the dead one had is closed as well.
  const table = await lab.client.succeed(["nft", "list", "chain", "inet", "culvert", "output"])
  const open = [...table.matchAll(/(?:tcp|udp) dport \d+ counter .* "to the VPN server/g)].map(([line]) => line)
  expect(open.every((line) => line.startsWith(way) || line.startsWith(`tcp dport ${proxyPort}`))).toBe(true)
  expect(open.some((line) => line.startsWith(way))).toBe(true)
})
