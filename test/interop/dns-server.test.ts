/**
 * The server's resolvers as a real one is: DoT and DoH with their certificates, DNSSEC, several of them, long answers, and many
 * questions at once.
 */
import { afterAll, beforeAll, expect } from "bun:test"
import { readdirSync, writeFileSync } from "node:fs"
import { eventually } from "../support/child.ts"
import { Client } from "../support/culvert.ts"
import { Resolver } from "../support/dnsmasq.ts"
import { flood, lookup } from "../support/lookup.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { installPackages } from "../support/packages.ts"
import { certificateName, Unbound, unboundPackages, zones } from "../support/unbound.ts"
import { testCulvert, useBench } from "./bench.ts"

const available = await installPackages(...unboundPackages)
const testUnbound = available ? testCulvert : testCulvert.skip
const bench = useBench({ pod: true })

const cluster = "10.96.0.10"
const vpn = "10.53.0.1"
/** It has a route into the tunnel, and nobody is there. */
const silent = "10.53.0.9"
let clusterDns: Resolver
let unbound: Unbound | undefined

beforeAll(async () => {
  const { lab } = bench
  await lab.node.succeed(["ip", "address", "add", `${cluster}/32`, "dev", "lo"])
  for (const address of [vpn, silent]) await lab.server.succeed(["ip", "address", "add", `${address}/32`, "dev", "lo"])
  const quiet = lab.write(
    "quiet.nft",
    `table ip quiet { chain in { type filter hook input priority 0; ip daddr ${silent} drop; }; }`,
  )
  await lab.server.succeed(["nft", "-f", quiet])
  writeFileSync(`/etc/netns/${lab.client.name}/resolv.conf`, `nameserver ${cluster}\nsearch svc.cluster.local\n`)
  clusterDns = await Resolver.start(lab, lab.node, [cluster], { "web.svc.cluster.local": "10.96.0.80" })
  if (available) unbound = await Unbound.start(lab, lab.server, vpn)
})
afterAll(async () => {
  await clusterDns?.[Symbol.asyncDispose]()
  await unbound?.[Symbol.asyncDispose]()
})

const server = (...lines: ReadonlyArray<string>) => lines.map((line) => `dns server ${line}`)
const start = (options: ServerOptions, environment: Readonly<Record<string, string>> = {}) =>
  Client.start(bench.lab, clientConfiguration(bench.lab, options), { environment })
/** With an authority of our own trusted beside the well-known ones. */
const trusting = () => ({ NODE_EXTRA_CA_CERTS: unbound!.authorityFile })
const ask = (name: string, transport?: "udp" | "tcp", udpSize?: number) =>
  lookup(bench.lab.client, "8.8.8.8", name, transport, udpSize)

for (const transport of ["DoT", "DoH"] as const) {
  testUnbound(`${transport}: asked over TLS only, and only with the right certificate`, async () => {
    const { lab } = bench
    const plain = lab.write(
      "plain.nft",
      `table ip plain { chain in { type filter hook input priority 0; ip daddr ${vpn} th dport 53 counter drop; }; }`,
    )
    await lab.server.succeed(["nft", "-f", plain])
    try {
      const pushed = (name: string) => server(`1 address ${vpn}`, `1 transport ${transport}`, `1 sni ${name}`)
      const options: ServerOptions = { push: pushed(certificateName) }
      {
        await using _server = await bench.serve(options)
        {
          await using client = start(options, trusting())
          await client.ready()
          expect(await ask("www.plain.test")).toMatchObject({ rcode: "NOERROR", addresses: [zones.plain] })
          expect((await ask("large.plain.test", "tcp")).addresses).toHaveLength(60)
        }
        // Nobody vouches for this authority.
        await using client = start(options)
        await client.event("connected")
        expect(await ask("www.plain.test")).toMatchObject({ rcode: "SERVFAIL" })
        expect(await client.body("/readyz?verbose")).toMatch(/dns.*no answer from 10\.53\.0\.1/)
      }
      const other: ServerOptions = { push: pushed("other.corp.example") }
      await using _server = await bench.serve(other)
      await using client = start(other, trusting())
      await client.event("connected")
      expect(await ask("www.plain.test")).toMatchObject({ rcode: "SERVFAIL" })
      expect(await client.probe("/readyz")).toBe(503)
      expect(await lab.server.succeed(["nft", "list", "table", "ip", "plain"])).toContain("packets 0 ")
    } finally {
      await lab.server.finish(["nft", "delete", "table", "ip", "plain"])
    }
  })
}

testUnbound(
  "dnssec yes: only what the server has validated; otherwise what is not signed as well; never what is forged",
  async () => {
    for (const [wanted, unsigned] of [
      ["yes", "SERVFAIL"],
      ["optional", "NOERROR"],
      ["no", "NOERROR"],
    ] as const) {
      const options: ServerOptions = { push: server(`1 address ${vpn}`, `1 dnssec ${wanted}`) }
      await using _server = await bench.serve(options)
      await using client = start(options)
      await client.event("connected")
      const rcodes = [await ask("www.signed.test"), await ask("www.plain.test"), await ask("www.bogus.test")]
      expect({ wanted, rcodes: rcodes.map(({ rcode }) => rcode) }).toEqual({
        wanted,
        rcodes: ["NOERROR", unsigned, "SERVFAIL"],
      })
    }
  },
)

testUnbound("long answers: cut to what the asker takes, whole with EDNS0 or over TCP", async () => {
  const options: ServerOptions = { push: [`dhcp-option DNS ${vpn}`] }
  await using _server = await bench.serve(options)
  await using client = start(options)
  await client.ready()
  expect(await ask("large.plain.test")).toMatchObject({ truncated: true, addresses: [] })
  expect(await ask("large.plain.test", "udp", 512)).toMatchObject({ truncated: true, addresses: [] })
  expect(await ask("large.plain.test", "udp", 1232)).toMatchObject({ truncated: false })
  expect((await ask("large.plain.test", "udp", 1232)).addresses).toHaveLength(60)
  expect((await ask("large.plain.test", "tcp")).addresses).toHaveLength(60)
})

testUnbound(
  "several servers: in their order, past one that is silent, which the next questions do not wait for",
  async () => {
    const options: ServerOptions = { push: server(`1 address ${silent}`, `2 address ${vpn}`) }
    await using _server = await bench.serve(options)
    await using client = start(options)
    await client.ready()
    await eventually(10_000, "an answer", async () => (await ask("www.plain.test")).addresses.length > 0)
    const counts = async () => (await client.status()).dnsQueries as Counts
    const before = (await counts())[`${silent} TIMEOUT`]
    for (const zone of ["signed", "plain"]) expect((await ask(`ns.${zone}.test`)).addresses).toHaveLength(1)
    expect((await counts())[`${silent} TIMEOUT`]).toBe(before)
  },
)

testUnbound("many questions over TCP are all answered, over a few connections", async () => {
  const options: ServerOptions = { push: [`dhcp-option DNS ${vpn}`] }
  await using _server = await bench.serve(options)
  await using client = start(options)
  await client.ready()
  expect(await flood(bench.lab.client, "8.8.8.8", 300, "tcp")).toEqual({ NXDOMAIN: 300 })
  // The kernel keeps the ends of closed connections for a minute.
  const ports = await bench.lab.client.succeed(["ss", "-tanH", "dst", `${vpn}:53`])
  expect(ports.trim().split("\n").length).toBeLessThan(10)
})

testUnbound("many questions that nobody answers cost a bounded amount, and the cluster's names go on", async () => {
  const { lab } = bench
  const options: ServerOptions = {
    push: server(`1 address ${vpn}`, `2 address ${silent}`, "2 resolve-domains flood.test"),
  }
  await using _server = await bench.serve(options)
  await using client = start(options)
  await client.event("connected")
  const sockets = () => readdirSync(`/proc/${client.child.pid}/fd`).length
  const [before, memory] = [sockets(), client.residentMemory()]
  const flooded = flood(lab.client, "8.8.8.8", 20_000)
  await eventually(10_000, "the flood", async () => ((await client.status()).dnsQueries as Counts)[`${silent} TIMEOUT`])
  expect(await ask("web.svc.cluster.local")).toMatchObject({ addresses: ["10.96.0.80"] })
  expect(sockets()).toBeLessThan(before + 20)
  expect(client.residentMemory()).toBeLessThan(memory + 50e6)
  const { SERVFAIL = 0, none = 0, ...others } = await flooded
  expect({ count: SERVFAIL + none, others }).toEqual({ count: 20_000, others: {} })
  expect((await ask("www.plain.test")).addresses).toEqual([zones.plain])
})

type Counts = Readonly<Record<string, number>>
