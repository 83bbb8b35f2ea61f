/** Bad servers and bad neighbours: counted, bounded, survived. */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { join } from "node:path"
import { type Child, eventually } from "../support/child.ts"
import { bun, type Client, subject } from "../support/culvert.ts"
import { dataCiphers, tunnel, type Wrapping } from "../support/openvpn.ts"
import { iperf3, ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const port = 1195

let relay: Child
beforeEach(async () => {
  relay = bench.lab.server.start("relay", [bun, join(import.meta.dir, "relay.ts"), String(port), "1194"], {
    input: true,
  })
  await tell("silent")
})
afterEach(async () => {
  await relay.stop("SIGKILL")
})

async function tell(mode: string): Promise<void> {
  const since = relay.lines.length
  relay.tell(mode)
  await relay.line(new RegExp(`^mode ${mode}$`), 5_000, since)
}

async function inject(count: number, wrapping: Wrapping): Promise<void> {
  const since = relay.lines.length
  relay.tell(`${wrapping.type === "plain" ? "inject" : "inject-altered"} ${count}`)
  await relay.line(new RegExp(`^injected ${count}$`), 20_000, since)
}

/** Every attempt has a session id of its own. */
const sessions = () => relay.lines.filter((line) => line.startsWith("session ")).length
const untilSessions = (count: number, deadline = 40_000) =>
  eventually(deadline, `${count} attempts`, () => sessions() >= count)

const short = ["connect-timeout 1", "hand-window 2", "connect-retry 1 2"]
/** Seconds that an attempt without an answer takes; they count as part of the pause after it. */
const patience = 1

for (const { name, mode } of [
  { name: "that never answers", mode: "silent" },
  { name: "that answers garbage", mode: "garbage" },
  { name: "that stops after the first packet", mode: "forward-first 1" },
  { name: "that stops in the middle of the TLS handshake", mode: "forward-first 3" },
]) {
  test(`a server ${name}: new attempts at a bounded pace, and success when it recovers`, async () => {
    await using _server = await bench.serve()
    await tell(mode)
    await using client = bench.connect({}, { port, lines: short })
    await untilSessions(3)
    if (subject === "culvert") {
      const waits = client.events("retry_scheduled").map(({ seconds }) => Number(seconds))
      expect(waits.length).toBeGreaterThanOrEqual(2)
      for (const wait of waits) expect(patience + wait).toBeWithin(0.9, 3.5)
      expect(client.events("connected")).toHaveLength(0)
      expect(await client.probe("/livez")).toBe(200)
    }
    await tell("forward")
    await client.ready(40_000)
    await bench.carriesTraffic()
  }, 120_000)
}

testCulvert(
  "the wait between attempts doubles from the fifth round on, up to the maximum",
  async () => {
    await using client = bench.connect({}, { port, lines: ["connect-timeout 1", "connect-retry 1 4"] })
    const event = await client.event("retry_scheduled", 50_000, 8)
    const begins = client.events("connecting").map(({ ts }) => Date.parse(ts))
    const waits = client.events("retry_scheduled")
    for (const [index, round] of [1, 1, 1, 1, 2, 4, 4, 4].entries()) {
      const { ts, seconds } = waits[index]!
      // An attempt that took as long as its round is followed by the next one at once.
      const rest = Math.max(round - (Date.parse(ts) - begins[index]!) / 1000, 0)
      expect(Number(seconds)).toBeWithin(0.85 * rest - 0.1, 1.15 * rest + 0.1)
    }
    expect(event.level).toBe("info")
  },
  70_000,
)

const wrappings: ReadonlyArray<Wrapping> = [
  { type: "plain" },
  { type: "tls-auth", direction: 0 },
  { type: "tls-crypt" },
]

for (const wrapping of wrappings) {
  // OpenVPN's own client opens a session for every forged hard reset when nothing authenticates it, and loses its tunnel.
  const testThis = wrapping.type === "plain" ? testCulvert : test
  testThis(
    `${wrapping.type}: random, truncated, altered and repeated packets are counted and nothing else`,
    async () => {
      const options = { wrapping }
      await using server = await bench.serve(options)
      await tell("forward")
      await using client = bench.connect(options, { port, lines: ["verb 1"] })
      await connected(client)
      const droppedBefore = await dropped(client)
      const memoryBefore = client.residentMemory()
      for (let round = 0; round < 20; round += 1) {
        await inject(1_000, wrapping)
        await ping(bench.lab.client, tunnel.ipv4)
      }
      await bench.carriesTraffic()
      expect(sessions()).toBe(1)
      expect(server.log.filter((line) => /Peer Connection Initiated/.test(line))).toHaveLength(1)
      if (subject !== "culvert") return
      expect((await dropped(client)) - droppedBefore).toBeGreaterThan(5_000)
      expect(client.events("disconnected")).toHaveLength(0)
      expect(client.residentMemory() - memoryBefore).toBeLessThan(32 << 20)
      // A flood must not become a flood of log lines.
      expect(client.child.lines.length).toBeLessThan(100)
    },
    60_000,
  )
}

test("garbage during the handshake and under load does not stop either", async () => {
  const options = { wrapping: { type: "tls-crypt" } } as const
  await using _server = await bench.serve(options)
  await tell("forward")
  await using client = bench.connect(options, { port })
  await untilSessions(1)
  await inject(500, options.wrapping)
  await connected(client)
  const load = iperf3(bench.lab, tunnel.ipv4, 3)
  for (let round = 0; round < 10; round += 1) await inject(500, options.wrapping)
  expect((await load).bitsPerSecond).toBeGreaterThan(1e6)
  expect(sessions()).toBe(1)
}, 60_000)

testCulvert(
  "memory does not grow with failed attempts",
  async () => {
    await tell("garbage")
    await using client = bench.connect(
      {},
      { port, lines: ["connect-timeout 1", "connect-retry 1 1", `data-ciphers ${dataCiphers.join(":")}`] },
    )
    await untilSessions(4)
    const early = client.residentMemory()
    await untilSessions(16, 60_000)
    expect(client.residentMemory() - early).toBeLessThan(24 << 20)
  },
  90_000,
)

async function connected(client: Client): Promise<void> {
  if (subject === "culvert") return client.becomes("/readyz", 200)
  await eventually(20_000, "traffic", async () => (await ping(bench.lab.client, tunnel.ipv4, 1)) ?? true)
}

/** Everything that was dropped on the way in, whatever the reason. */
async function dropped(client: Client): Promise<number> {
  if (subject !== "culvert") return 0
  const counters = (await client.status()).counters
  return Object.entries(counters ?? {}).reduce(
    (sum, [name, value]) => (name.startsWith("drop:") ? sum + value : sum),
    0,
  )
}
