/** Renegotiation under load: new data keys every few seconds, and not a packet is lost to it. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { eventually } from "../support/child.ts"
import { type Client, subject } from "../support/culvert.ts"
import type { Lab } from "../support/lab.ts"
import { type OpenVpnServer, tunnel } from "../support/openvpn.ts"
import { iperf3, ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

/** One line for every TLS handshake that the server completed: the first and each renegotiation. */
const handshakes = (server: OpenVpnServer) => server.log.filter((line) => /Control Channel: TLSv/.test(line)).length

/** What the server says when a packet cannot be opened, or a renegotiation fails. */
const complaint =
  /keys are out of sync|key not available|Authenticate\/Decrypt|bad packet ID|TLS Error|TLS key negotiation failed|unroutable/i

/** The kinds of complaint, with numbers blanked and counted: a flood of them is one line of a failed test. */
function complaints(server: OpenVpnServer): Readonly<Record<string, number>> {
  const kinds: Record<string, number> = {}
  for (const line of server.log) {
    if (!complaint.test(line)) continue
    const kind = line.replace(/^\S+ \S+ \S+ /, "").replace(/[0-9a-f]{8}/g, "#")
    const blanked = kind.replace(/\d+(?=[:.\]]|$)/g, "#").slice(0, 300)
    kinds[blanked] = (kinds[blanked] ?? 0) + 1
  }
  return kinds
}

/** What Culvert dropped for a reason that has to do with keys. */
async function keyDrops(client: Client): Promise<Readonly<Record<string, unknown>>> {
  if (subject !== "culvert") return {}
  const counters = (await client.status()).counters ?? {}
  return Object.fromEntries(
    Object.entries(counters).filter(
      ([name, value]) => /^drop:.*(key|authentic|decrypt|open|seal)/i.test(name) && value > 0,
    ),
  )
}

/** Packets that the kernel threw away because a queue was full, on both sides: tun queues, socket buffers, CPU backlogs. */
async function fullQueues({ client, server }: Lab): Promise<number> {
  let sum = 0
  for (const side of [client, server]) {
    const [links, queues, ipv4, ipv6] = await Promise.all(
      ["ip -s -j link show tun0", "tc -s -j qdisc show dev tun0", "cat /proc/net/snmp", "cat /proc/net/snmp6"].map(
        (command) => side.succeed(command.split(" ")),
      ),
    )
    for (const { stats64 } of JSON.parse(links ?? "[]")) sum += stats64.rx.dropped + stats64.tx.dropped
    for (const { drops } of JSON.parse(queues ?? "[]")) sum += drops
    const [names = "", values = ""] = (ipv4 ?? "").split("\n").filter((line) => line.startsWith("Udp:"))
    sum += Number(values.split(" ")[names.split(" ").indexOf("RcvbufErrors")])
    sum += Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(ipv6 ?? "")?.[1])
  }
  const backlogs = readFileSync("/proc/net/softnet_stat", "utf8").trim().split("\n")
  return backlogs.reduce((total, line) => total + Number.parseInt(line.split(" ")[1] ?? "", 16), sum)
}

test.each([
  { who: "the server", server: { renegSec: 10 }, client: [], seconds: 34, rekeys: 3 },
  { who: "the client", server: { renegSec: 0 }, client: ["reneg-sec 10"], seconds: 34, rekeys: 3 },
])(
  "started by $who every 10 s: sequence-numbered datagrams both ways all arrive",
  async (scene) => {
    const { lab } = bench
    await using server = await bench.serve(scene.server)
    await using client = bench.connect(scene.server, { lines: scene.client })
    await client.ready()
    // A rate that two busy cores carry without dropping: what is lost then, is lost to the renegotiation.
    const fullBefore = await fullQueues(lab)
    const datagrams = ["-u", "-b", "10M", "-l", "1200", "-w", "1M"]
    const [up, down] = await Promise.all([
      iperf3(lab, tunnel.ipv4, scene.seconds, datagrams),
      iperf3(lab, tunnel.ipv6, scene.seconds, [...datagrams, "-R"], 5202),
    ])
    expect(handshakes(server)).toBeGreaterThanOrEqual(1 + scene.rekeys)
    for (const flow of [up, down]) expect(flow.total).toBeGreaterThan(scene.seconds * 500)
    // On a busy machine a reader comes too late and the kernel's queues overflow: it counts those, and they are not ours.
    const lost = Math.max(0, up.lost + down.lost - ((await fullQueues(lab)) - fullBefore))
    expect({ lost, complaints: complaints(server), drops: await keyDrops(client) }).toEqual({
      lost: 0,
      complaints: {},
      drops: {},
    })
    if (subject === "culvert") expect(client.events("disconnected")).toHaveLength(0)
  },
  90_000,
)

test.each(["udp", "tcp"] as const)(
  "%s: under a full TCP load the keys change and no packet is refused",
  async (transport) => {
    const options = { transport, renegSec: 5 }
    await using server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    const flow = await iperf3(bench.lab, tunnel.ipv4, 16, ["--bidir"])
    expect(flow.bitsPerSecond).toBeGreaterThan(1e6)
    expect(handshakes(server)).toBeGreaterThanOrEqual(3)
    expect(complaints(server)).toEqual({})
  },
  60_000,
)

test("more than seven renegotiations: key ids start again at 1", async () => {
  await using server = await bench.serve({ renegSec: 1 })
  await using client = bench.connect({})
  await client.ready()
  await eventually(45_000, "ten handshakes", async () => {
    await ping(bench.lab.client, tunnel.ipv4, 1)
    return handshakes(server) >= 10
  })
  await bench.carriesTraffic()
  expect(complaints(server)).toEqual({})
}, 60_000)
