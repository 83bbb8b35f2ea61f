/** Renegotiation under load: new data keys every few seconds, and not a packet is lost to it. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { bun, type Client, subject } from "../support/culvert.ts"
import { type OpenVpnServer, tunnel } from "../support/openvpn.ts"
import { download, fullQueues, iperf3, ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

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

/** `REKEYS=34` is the long form: a hundred of them all in all. */
const rekeys = Number(process.env.REKEYS ?? 3)
/** Seconds (`REKEY_SECONDS`) between two of them, as either side starts them; both at once: simultaneous ones. */
const pause = Number(process.env.REKEY_SECONDS ?? 3)

/** Where nothing comes back, nothing tells the client that the server has the new key. */
test.each([
  { who: "the server", where: "to it", renegSec: pause, client: [], isOneWay: true },
  { who: "the client", where: "both ways", renegSec: 0, client: [`reneg-sec ${pause} ${pause}`] },
  { who: "both at once", where: "both ways", renegSec: pause, client: [`reneg-sec ${pause} ${pause}`] },
])(
  "started by $who again and again: 1,000 sequence-numbered datagrams a second $where all arrive",
  async ({ who, renegSec, client: lines, isOneWay = false }) => {
    const { lab } = bench
    // While the server computes for TLS nobody reads its socket.
    const options = { renegSec, lines: ["rcvbuf 1048576", "txqueuelen 5000"] }
    await using server = await bench.serve(options)
    await using client = bench.connect(options, { lines })
    await client.ready()
    // A rate that two busy cores carry without dropping: what is lost then, is lost to the renegotiation.
    const fullBefore = await fullQueues(lab)
    const datagrams = ["-u", "-b", "9.6M", "-l", "1200", "-w", "1M"]
    let [lost, total] = [0, 0]
    await eventually(rekeys * pause * 3000, `${rekeys} renegotiations`, async () => {
      const seconds = rekeys * pause
      const up = iperf3(lab, tunnel.ipv4, seconds, datagrams)
      const down = isOneWay ? [] : [iperf3(lab, tunnel.ipv6, seconds, [...datagrams, "-R"], 5202)]
      const flows = await Promise.all([up, ...down])
      for (const flow of flows) {
        lost += flow.lost
        total += flow.total
        expect(flow.total).toBeGreaterThan(seconds * 500)
      }
      return handshakes(server) > rekeys
    })
    // On a busy machine a reader comes too late and the kernel's queues overflow: it counts those, and they are not ours.
    const late = (await fullQueues(lab)) - fullBefore
    if (process.env.REKEYS !== undefined)
      console.log(`${who}: ${handshakes(server) - 1} renegotiations, ${total} datagrams, ${lost} lost, ${late} late`)
    expect({ lost: Math.max(0, lost - late), complaints: complaints(server), drops: await keyDrops(client) }).toEqual({
      lost: 0,
      complaints: {},
      drops: {},
    })
    if (subject === "culvert") expect(client.events("disconnected")).toHaveLength(0)
  },
  60_000 + rekeys * pause * 4000,
)

test.each(["udp", "tcp"] as const)(
  "%s: under a full TCP load the keys change and no packet is refused",
  async (transport) => {
    const options = { transport, renegSec: 3 }
    await using server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    await eventually(45_000, "three handshakes", async () => {
      const flow = await iperf3(bench.lab, tunnel.ipv4, 7, ["--bidir"])
      expect(flow.bitsPerSecond).toBeGreaterThan(1e6)
      return handshakes(server) >= 3
    })
    expect(complaints(server)).toEqual({})
  },
  60_000,
)

test("more than seven renegotiations: key ids start again at 1", async () => {
  // Two seconds: the server forgets a key when the next but one begins, and a busy machine may be late by one.
  await using server = await bench.serve({ renegSec: 2 })
  await using client = bench.connect({})
  await client.ready()
  await eventually(45_000, "ten handshakes", async () => {
    await ping(bench.lab.client, tunnel.ipv4, 1)
    return handshakes(server) >= 10
  })
  await bench.carriesTraffic()
  expect(complaints(server)).toEqual({})
}, 60_000)

testCulvert(
  "a broken control channel or a renegotiation that fails leaves the old key in use; the next one gives a new key",
  async () => {
    const { lab } = bench
    const port = 1196
    const command = [bun, join(import.meta.dir, "relay.ts"), String(port), "1194"]
    await using relay = lab.server.start("relay", command, { input: true })
    const does = async (mode: string) => {
      const since = relay.lines.length
      relay.tell(mode)
      await relay.line(new RegExp(`^mode ${mode}$`), 5_000, since)
    }
    await does("forward")
    await using server = await bench.serve({ renegSec: 0 })
    const lines = ["reneg-sec 4 4", "hand-window 2"]
    await using client = bench.connect({}, { port, lines })
    await client.ready()
    relay.tell("break-tls")
    await client.event("control_channel_lost")
    await bench.carriesTraffic()
    await does("data")
    await client.event("renegotiation_failed")
    const renewed = client.events("renegotiated").length
    await bench.carriesTraffic()
    await does("forward")
    await client.event("renegotiated", 20_000, renewed + 1)
    await bench.carriesTraffic()
    expect(client.events("disconnected")).toHaveLength(0)
    expect(handshakes(server)).toBeGreaterThanOrEqual(2)
    await relay.stop("SIGKILL")
  },
)

testCulvert.each(["reneg-bytes 500000", "reneg-pkts 500"])("%s: a new key after so much, and again", async (line) => {
  await using server = await bench.serve({ renegSec: 0 })
  await using client = bench.connect({}, { lines: ["reneg-sec 0", line] })
  await client.ready()
  expect(handshakes(server)).toBe(1)
  expect(client.events("renegotiated")).toHaveLength(0)
  await download(bench.lab.client, tunnel.ipv4, 2_000_000)
  await client.event("renegotiated")
  await download(bench.lab.client, tunnel.ipv4, 2_000_000)
  await client.event("renegotiated", 20_000, 2)
  expect(complaints(server)).toEqual({})
})
