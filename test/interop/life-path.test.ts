/** The way to the server changes or breaks: what the protocol can ride out is ridden out, all else ends in a new connection. */
import { expect } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { eventually } from "../support/child.ts"
import { outer } from "../support/lab.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const answers = async () => (await ping(bench.lab.client, tunnel.ipv4, 1)) ?? true

testCulvert(
  "the link is gone for a while, and the firewall refuses: traffic goes on over the same connection",
  async () => {
    const { client: pod } = bench.lab
    const options: ServerOptions = { keepalive: [1, 30] }
    await using _ = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    await pod.succeed(["ip", "link", "set", "outer", "down"])
    await expect(answers()).rejects.toThrow()
    await pod.succeed(["ip", "link", "set", "outer", "up"])
    await pod.succeed(["ip", "address", "replace", `${outer.client.ipv6}/64`, "dev", "outer", "nodad"])
    await eventually(15_000, "traffic after the link came back", answers)
    const chain = "add chain inet refusing out { type filter hook output priority 10; }"
    await pod.succeed(["nft", `add table inet refusing; ${chain}; add rule inet refusing out udp dport 1194 reject`])
    await expect(answers()).rejects.toThrow()
    await pod.succeed(["nft", "delete table inet refusing"])
    await eventually(15_000, "traffic after the firewall let it through", answers)
    expect(client.events("connected")).toHaveLength(1)
    expect(client.events("disconnected")).toHaveLength(0)
    expect((await client.status()).counters?.transportErrors).toBeGreaterThan(0)
    const errors = client.events("transport_error").map(({ error }) => error)
    expect(errors).toContain("EPERM")
    // Thousands of packets met them, and each is told now and then only.
    expect(errors.length).toBeLessThan(10)
  },
)

/** `OUTAGE_SECONDS=60`: the network is away for so long, once for each of these. Shorter ones are part of the other tests. */
const outage = Number(process.env.OUTAGE_SECONDS ?? 0)
const scenes = [
  { transport: "udp", limit: 2 * outage, connects: 1 },
  { transport: "udp", limit: Math.ceil(outage / 2), connects: 2 },
  { transport: "tcp", limit: Math.ceil(outage / 2), connects: 2 },
] as const

testCulvert.skipIf(outage === 0).each(scenes)(
  "%o: the network is away for a while, and nobody says so",
  async ({ transport, limit, connects }) => {
    const { server: far } = bench.lab
    const options: ServerOptions = { transport, keepalive: [1, limit] }
    await using _ = await bench.serve(options)
    await using client = bench.connect(options, { lines: ["connect-timeout 5"] })
    await client.ready()
    const drops = [
      "add chain inet away in { type filter hook prerouting priority raw; }; add rule inet away in iifname outer drop",
      "add chain inet away out { type filter hook output priority raw; }; add rule inet away out oifname outer drop",
    ]
    await far.succeed(["nft", `add table inet away; ${drops.join("; ")}`])
    try {
      await Bun.sleep(outage * 1000)
    } finally {
      await far.succeed(["nft", "delete table inet away"])
    }
    expect(client.events("disconnected").filter(({ established }) => established)).toHaveLength(connects - 1)
    const back = performance.now()
    await eventually(30_000, "traffic", answers)
    const seconds = ((performance.now() - back) / 1000).toFixed(1)
    console.log(
      `${transport}, ping-restart ${limit}, away for ${outage} s: traffic ${seconds} s after the network was back`,
    )
    await bench.carriesTraffic()
    expect(client.events("connected")).toHaveLength(connects)
    await client.becomes("/readyz", 200)
  },
  outage * 1000 + 90_000,
)

testCulvert("the pod gets another address: traffic goes on over the same connection", async () => {
  const { client: pod } = bench.lab
  const options: ServerOptions = { keepalive: [1, 30] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  const [old, other] = [`${outer.client.ipv4}/24`, "10.90.0.77/24"]
  await pod.succeed(["ip", "address", "add", other, "dev", "outer"])
  await pod.succeed(["ip", "address", "del", old, "dev", "outer"])
  // Deleting the first address of a network takes the others of it along.
  await pod.succeed(["ip", "address", "replace", other, "dev", "outer"])
  await eventually(15_000, "traffic from the other address", answers)
  expect((await client.event("local_address_changed")).now).toBe("10.90.0.77")
  await bench.carriesTraffic()
  await eventually(10_000, "the server's word of it", () => /10\.90\.0\.77/.test(server.log.join("\n")))
  await pod.succeed(["ip", "address", "replace", old, "dev", "outer"])
  await pod.succeed(["ip", "address", "del", other, "dev", "outer"])
  await pod.succeed(["ip", "address", "replace", old, "dev", "outer"])
  await eventually(15_000, "traffic from the first address again", answers)
  await bench.carriesTraffic()
  expect(client.events("connected")).toHaveLength(1)
  expect(client.events("disconnected")).toHaveLength(0)
})

testCulvert(
  "the pod's link goes down and loses its address: our routes over it are there again when it is back",
  async () => {
    const { client: pod } = bench.lab
    const options: ServerOptions = { keepalive: [1, 30], lines: ['push "redirect-gateway def1"'] }
    await using _ = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    const ours = async () => (await pod.succeed(["ip", "route", "show", "dev", "outer", "proto", "149"])).trim()
    const before = await ours()
    expect(before).toContain(outer.server.ipv4)
    await pod.succeed(["ip", "link", "set", "outer", "down"])
    await pod.succeed(["ip", "address", "flush", "dev", "outer"])
    expect(await ours()).toBe("")
    await pod.succeed(["ip", "address", "add", `${outer.client.ipv4}/24`, "dev", "outer"])
    await pod.succeed(["ip", "address", "add", `${outer.client.ipv6}/64`, "dev", "outer", "nodad"])
    await pod.succeed(["ip", "link", "set", "outer", "up"])
    await eventually(15_000, "our routes", async () => (await ours()) === before)
    await eventually(15_000, "traffic", answers)
    expect(client.events("connected")).toHaveLength(1)
  },
)

testCulvert("TCP: the pod gets another address: a new connection after the next keepalive failure", async () => {
  const { client: pod } = bench.lab
  const options: ServerOptions = { transport: "tcp", keepalive: [1, 3] }
  await using _ = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  const [old, other] = [`${outer.client.ipv4}/24`, "10.90.0.77/24"]
  await pod.succeed(["ip", "address", "add", other, "dev", "outer"])
  await pod.succeed(["ip", "address", "del", old, "dev", "outer"])
  await pod.succeed(["ip", "address", "replace", other, "dev", "outer"])
  await client.event("disconnected")
  await client.event("connected", 20_000, 2)
  await bench.carriesTraffic()
  await pod.succeed(["ip", "address", "replace", old, "dev", "outer"])
})

testCulvert("the server's name points to another address: found there after the keepalive failed", async () => {
  const { lab } = bench
  const hosts = `/etc/netns/${lab.client.name}/hosts`
  const before = readFileSync(hosts, "utf8")
  const options: ServerOptions = { keepalive: [1, 3] }
  await using first = await bench.serve(options)
  await using client = bench.connect(options, { host: outer.hosts.ipv4, lines: ["connect-timeout 2"] })
  await client.ready()
  await lab.server.succeed(["ip", "address", "add", "10.90.0.9/24", "dev", "outer"])
  try {
    await first.kill()
    await using _ = await bench.serve({ ...options, lines: ["local 10.90.0.9"] })
    writeFileSync(hosts, before.replaceAll(outer.server.ipv4, "10.90.0.9"))
    expect((await client.event("disconnected")).reason).toBe("PingRestart")
    await client.event("connected", 30_000, 2)
    expect((await client.status()).remote).toBe(`udp://10.90.0.9:1194 (${outer.hosts.ipv4})`)
    await bench.carriesTraffic()
  } finally {
    writeFileSync(hosts, before)
    await lab.server.succeed(["ip", "address", "del", "10.90.0.9/24", "dev", "outer"])
  }
})
