/** Sections (a) to (g): real programs through real tunnels, the rivals in turn. */
import { eventually } from "../test/support/child.ts"
import { Lab } from "../test/support/lab.ts"
import { OpenVpnServer, type ServerOptions, tunnel } from "../test/support/openvpn.ts"
import { iperf3, ping } from "../test/support/traffic.ts"
import { cpuSeconds, latency, MemoryGroup, median, memory, quantiles } from "./measure.ts"
import { type Rival, type Running, rivals, startClient, startPair, type Wrapper } from "./rivals.ts"

export interface Plan {
  readonly rounds: number
  /** Of each transfer. */
  readonly seconds: number
  readonly pings: number
  readonly wrap: Wrapper
  /** Culvert's executable. */
  readonly program: string
  readonly say: (text: string) => void
}

/** All values of one quantity, by rival, one a round. */
export interface Measured {
  readonly section: string
  readonly what: string
  readonly unit: string
  readonly values: Readonly<Record<Rival, Array<number>>>
}

export class Results {
  readonly rows = new Map<string, Measured>()

  add(section: string, what: string, unit: string, rival: Rival, value: number): void {
    const key = `${section} ${what}`
    const row = this.rows.get(key) ?? { section, what, unit, values: { openvpn: [], culvert: [] } }
    this.rows.set(key, row)
    row.values[rival].push(value)
  }
}

/** (a) to (e): each rival as the client of the same server. */
export async function againstServer(plan: Plan, record: Results): Promise<void> {
  for (const transport of ["udp", "tcp"] as const) {
    await using lab = await Lab.make()
    const options: ServerOptions = { transport, dataCiphers: ["AES-256-GCM"] }
    await using _server = await OpenVpnServer.start(lab, options, plan.wrap)
    if (transport === "udp") await starts(lab, options, plan, record)
    for (const { round, rival } of turns(plan.rounds)) {
      plan.say(`round ${round}, ${rival} as client over ${transport}`)
      await oneClient(lab, rival, options, plan, record)
    }
  }
}

/**
 * (d): every second start counts. The one before it has the program's pages in memory, for both alike: what was not used for a
 * few seconds may have left the page cache, and then the disk would be measured.
 */
async function starts(lab: Lab, server: ServerOptions, plan: Plan, record: Results): Promise<void> {
  await routeIntoTheVoid(lab)
  for (const { round, rival } of turns(3 * plan.rounds)) {
    plan.say(`start ${round}, ${rival}`)
    await firstAnswer(lab, rival, server, plan)
    const { wall, cpu } = await firstAnswer(lab, rival, server, plan)
    record.add("d", "start to first answer", "ms", rival, wall)
    record.add("d", "CPU time until then", "ms", rival, cpu)
  }
}

/** From the start of a client until a ping through the tunnel is answered, in ms; and its CPU time when it says that it is up. */
async function firstAnswer(lab: Lab, rival: Rival, server: ServerOptions, plan: Plan) {
  const pings = lab.client.start("ping", ["ping", "-n", "-D", "-i", "0.002", "-c", "20000", tunnel.ipv4])
  const answer = () =>
    pings.lines.map((line) => /^\[([\d.]+)\].*time=/.exec(line)?.[1]).find((time) => time !== undefined)
  const begin = performance.timeOrigin + performance.now()
  await using client = startClient(lab, rival, server, plan.wrap, plan.program)
  await client.ready()
  const cpu = cpuSeconds(client.pid) * 1000
  const at = await eventually(20_000, "an answer through the tunnel", answer)
  pings.signal("SIGKILL")
  return { wall: Number(at) * 1000 - begin, cpu }
}

/**
 * (f), (g) and the latency without a server that limits: each rival at both ends. The first transfer in each direction is a row of
 * its own: in it a program that compiles while it runs still does so.
 */
export async function atBothEnds(plan: Plan, record: Results): Promise<void> {
  for (const { round, rival } of turns(plan.rounds)) {
    plan.say(`round ${round}, ${rival} at both ends`)
    await using lab = await Lab.make()
    await using pair = await startPair(lab, rival, plan.wrap)
    await ping(lab.client, pair.address)
    for (const which of [", first transfer", ""]) {
      for (const [direction, parameters] of directions) {
        const { gigabits, secondsPerGigabyte } = await transfer(lab, pair, plan.seconds, parameters)
        record.add("f", `TCP ${direction}${which}`, "Gbit/s", rival, gigabits)
        record.add("f", `CPU of one end, ${direction}${which}`, "s/GB", rival, secondsPerGigabyte)
      }
    }
    await saturated(lab, pair, rival, plan, record)
    record.add("g", "64-byte UDP payloads delivered", "packets/s", rival, await smallPackets(lab, pair, plan.seconds))
  }
}

async function oneClient(lab: Lab, rival: Rival, server: ServerOptions, plan: Plan, record: Results): Promise<void> {
  const transport = server.transport ?? "udp"
  using group = MemoryGroup.make()
  await using client = startClient(lab, rival, server, plan.wrap, plan.program)
  group?.add(client.pid)
  await client.ready()
  await ping(lab.client, client.address)
  if (transport === "udp") {
    const first = await latency(lab, client.address, plan.pings)
    record.add("c", `idle, the first ${plan.pings} pings, p50`, "ms", rival, first.p50)
    const idle = await latency(lab, client.address, plan.pings)
    record.add("c", "idle, p50", "ms", rival, idle.p50)
    record.add("c", "idle, p99", "ms", rival, idle.p99)
    // A program that has just started is not idle: by now it had some seconds with nothing but pings.
    remember("idle", client, group, rival, record)
  }
  for (const [direction, parameters] of directions) {
    const { gigabits, secondsPerGigabyte } = await transfer(lab, client, plan.seconds, parameters)
    record.add("a", `TCP ${direction}, over ${transport}`, "Gbit/s", rival, gigabits)
    record.add("b", `TCP ${direction}, over ${transport}`, "s/GB", rival, secondsPerGigabyte)
    record.add(
      "a",
      `UDP ${direction}, over ${transport}`,
      "Gbit/s",
      rival,
      await datagrams(lab, client, plan, parameters),
    )
  }
  if (transport !== "udp") return
  await loaded(lab, client, rival, plan, record)
  remember("after load", client, group, rival, record)
}

function remember(when: string, { pid }: Running, group: MemoryGroup | undefined, rival: Rival, record: Results): void {
  const { resident, proportional } = memory(pid)
  record.add("e", `${when}, resident`, "MB", rival, resident)
  record.add("e", `${when}, shared pages in part`, "MB", rival, proportional)
  if (group !== undefined) record.add("e", `${when}, as kubelet counts`, "MB", rival, group.workingSet())
}

async function loaded(lab: Lab, client: Running, rival: Rival, plan: Plan, record: Results): Promise<void> {
  const seconds = Math.max(plan.seconds, 2)
  const both = [iperf3(lab, client.address, seconds), iperf3(lab, client.address, seconds, ["-R"], 5202)]
  const pinged = latency(lab, client.address, Math.floor(seconds * 40), 0.02)
  await Promise.all(both)
  const { p50, p99 } = await pinged
  record.add("c", "both directions saturated, p50", "ms", rival, p50)
  record.add("c", "both directions saturated, p99", "ms", rival, p99)
}

/** What a ping and a command cost while nothing but the tunnel itself is the limit. */
async function saturated(lab: Lab, pair: Running, rival: Rival, plan: Plan, record: Results): Promise<void> {
  const seconds = Math.max(plan.seconds, 2)
  const transfers = [iperf3(lab, pair.address, seconds), iperf3(lab, pair.address, seconds, ["-R"], 5202)]
  const pings = latency(lab, pair.address, Math.floor(seconds * 40), 0.02)
  const commands = await pair.commandTimes?.()
  if (commands !== undefined)
    record.add("c", "both ends, saturated: a command, p99", "ms", rival, quantiles(commands).p99)
  const { p50, p99 } = await pings
  record.add("c", "both ends, saturated: p50", "ms", rival, p50)
  record.add("c", "both ends, saturated: p99", "ms", rival, p99)
  await Promise.all(transfers)
}

async function transfer(lab: Lab, { pid, address }: Running, seconds: number, parameters: ReadonlyArray<string>) {
  const before = cpuSeconds(pid)
  const { bitsPerSecond } = await iperf3(lab, address, seconds, parameters)
  const gigabytes = (bitsPerSecond * seconds) / 8e9
  return { gigabits: bitsPerSecond / 1e9, secondsPerGigabyte: (cpuSeconds(pid) - before) / gigabytes }
}

/** What arrives, at the best of several offered rates: a flood that is dropped late costs the receiver more than it shows. */
async function datagrams(
  lab: Lab,
  { address }: Running,
  plan: Plan,
  parameters: ReadonlyArray<string>,
): Promise<number> {
  const results: Array<number> = []
  for (const rate of ["400M", "800M", "1600M"]) {
    const offered = ["-u", "-b", rate, "-l", "1300", ...parameters]
    const { bitsPerSecond, lost, total } = await iperf3(lab, address, Math.min(plan.seconds, 2), offered)
    results.push(((bitsPerSecond / 1e9) * (total - lost)) / Math.max(1, total))
  }
  return Math.max(...results)
}

async function smallPackets(lab: Lab, { address }: Running, seconds: number): Promise<number> {
  const results: Array<number> = []
  for (const rate of [50e3, 100e3, 200e3, 400e3]) {
    const duration = Math.min(seconds, 2)
    const { lost, total } = await iperf3(lab, address, duration, ["-u", "-b", String(rate * 64 * 8), "-l", "64"])
    results.push((total - lost) / duration)
  }
  return Math.max(...results)
}

/** Without the tunnel its addresses lead nowhere, so that a ping can already run before. */
async function routeIntoTheVoid(lab: Lab): Promise<void> {
  await lab.client.succeed(["ip", "route", "add", "10.66.0.0/16", "dev", "lo"])
}

/** The rivals alternate, and so does who is first. */
function turns(rounds: number): ReadonlyArray<{ readonly round: number; readonly rival: Rival }> {
  return Array.from({ length: rounds }, (_, index) =>
    (index % 2 === 0 ? rivals : rivals.toReversed()).map((rival) => ({ round: index + 1, rival })),
  ).flat()
}

export function medians(row: Measured): Readonly<Record<Rival, number>> {
  return { openvpn: median(row.values.openvpn), culvert: median(row.values.culvert) }
}

const directions = [
  ["up", []],
  ["down", ["-R"]],
] as const
