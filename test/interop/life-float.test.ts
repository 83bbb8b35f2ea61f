/** `float`: the server goes on from another address, and the same connection carries on. */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import { bun } from "../support/culvert.ts"
import { pod } from "../support/lab.ts"
import { type OpenVpnServer, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { fullQueues, iperf3 } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ pod: true })
const [first, second, stranger] = ["10.90.0.1", "10.90.0.9", "10.90.0.66"]

/** Every packet that the server sends from its first address leaves from the second, and the first takes no more. */
const move = [
  "add table inet moved",
  `add chain inet moved out { type filter hook output priority raw; }`,
  `add rule inet moved out ip saddr ${first} udp sport 1194 notrack ip saddr set ${second} udp sport set 1200`,
  `add chain inet moved in { type filter hook prerouting priority raw; }`,
  `add rule inet moved in ip daddr ${second} udp dport 1200 notrack ip daddr set ${first} udp dport set 1194`,
].join("; ")
const loseTheFirst = `insert rule inet moved in ip daddr ${first} udp dport 1194 drop`

const haveAddresses = async () => {
  for (const address of [second, stranger])
    await bench.lab.server.succeed(["ip", "address", "replace", `${address}/24`, "dev", "outer"])
}

const handshakes = ({ log }: OpenVpnServer) => log.filter((line) => /Control Channel: TLSv/.test(line)).length

/** Where the kill switch lets packets of the tunnel go. */
const ways = async () => {
  const table = await bench.lab.client.succeed(["nft", "list", "chain", "inet", "culvert", "output"])
  return [...table.matchAll(/to the VPN server: udp (\S+) port (\d+)/g)]
    .map((match) => `${match[1]}:${match[2]}`)
    .sort()
}

testCulvert(
  "the server moves under traffic: nothing is lost, no key changes, and nobody else is let in or answered",
  async () => {
    const { lab } = bench
    await haveAddresses()
    const options: ServerOptions = {
      wrapping: { type: "tls-crypt" },
      keepalive: [1, 30],
      push: ["redirect-gateway def1"],
    }
    await using server = await bench.serve(options)
    await using client = bench.connect(options, { lines: ["float"] })
    await client.ready()
    await using seen = lab.node.start("tcpdump", ["tcpdump", "-l", "-n", "-i", "pod", "host", stranger!])
    await seen.line(/listening on/)
    const port = /10\.244\.1\.5:(\d+)/.exec(server.log.join("\n"))![1]!

    // Whatever begins like a packet of the server's, from somebody who has no key.
    const attack = `const s = await Bun.udpSocket({ hostname: "${stranger}" }); for (let i = 0; i < 512; i++) s.send(Uint8Array.from({ length: 80 }, (_, at) => (at === 0 ? i & 255 : (i * 31 + at) & 255)), ${port}, "${pod.address.ipv4}"); s.close()`
    await lab.server.succeed([bun, "-e", attack])
    await eventually(
      5_000,
      "the attack",
      () => seen.lines.filter((line) => line.includes(`> ${pod.address.ipv4}`)).length >= 512,
    )
    await eventually(5_000, "the attack is dropped", async () => {
      const { counters = {} } = await client.status()
      const drops = Object.entries(counters).filter(([name]) => name.startsWith("drop:"))
      return drops.reduce((sum, [, count]) => sum + count, 0) > 300
    })
    expect(await ways()).toEqual([`${first}:1194`])

    const fullBefore = await fullQueues(lab)
    const datagrams = ["-u", "-b", "4.8M", "-l", "600", "-w", "1M"]
    const flows = Promise.all([
      iperf3(lab, tunnel.ipv4, 2, datagrams),
      iperf3(lab, tunnel.ipv6, 2, [...datagrams, "-R"], 5202),
    ])
    await eventually(5_000, "traffic both ways", async () => {
      const { tunReadPackets = 0, tunWritePackets = 0 } = (await client.status()).counters ?? {}
      return Math.min(tunReadPackets, tunWritePackets) > 200
    })
    await lab.server.succeed(["nft", move])
    const moved = await client.event("remote_address_changed")
    expect([moved.before, moved.now]).toEqual([`udp://${first}:1194`, `udp://${second}:1200`])
    await lab.server.succeed(["nft", loseTheFirst])
    const lost = (await flows).reduce((sum, flow) => sum + flow.lost, 0)
    expect(Math.max(0, lost - ((await fullQueues(lab)) - fullBefore))).toBe(0)
    await bench.carriesTraffic()
    expect((await client.status()).remote).toBe(`udp://${second}:1200 (${first})`)
    expect(await ways()).toEqual([`${first}:1194`, `${second}:1200`])

    await lab.server.succeed(["nft", "delete table inet moved"])
    await client.event("remote_address_changed", 10_000, 2)
    await bench.carriesTraffic()
    expect(await ways()).toEqual([`${first}:1194`])
    expect(handshakes(server)).toBe(1)
    expect(client.events("connected")).toHaveLength(1)
    expect(client.events("disconnected")).toHaveLength(0)
    expect(client.events("remote_address_changed")).toHaveLength(2)
    expect(seen.lines.filter((line) => line.includes(`> ${stranger}`))).toEqual([])
    await client.stop()
  },
)

testCulvert.each(["plain", "tls-crypt"] as const)(
  "%s: a server with several addresses answers from another one than was asked, and is taken from its first packet on",
  async (type) => {
    const { lab } = bench
    await haveAddresses()
    await lab.server.succeed(["nft", move])
    try {
      await using _ = await bench.serve({ wrapping: { type } })
      await using client = bench.connect({ wrapping: { type } }, { lines: ["float"] })
      await client.ready()
      expect((await client.status()).remote).toBe(`udp://${second}:1200 (${first})`)
      expect(client.events("connecting")).toHaveLength(1)
      await bench.carriesTraffic()
    } finally {
      await lab.server.succeed(["nft", "delete table inet moved"])
    }
  },
)
