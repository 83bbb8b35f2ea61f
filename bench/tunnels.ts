/** Sections (a) to (g): real programs through real tunnels, the rivals in turn. */
import { eventually } from "../test/support/child.ts"
import { bun, project } from "../test/support/culvert.ts"
import { Lab } from "../test/support/lab.ts"
import { OpenVpnServer, type ServerOptions, tunnel } from "../test/support/openvpn.ts"
import { iperf3, ping } from "../test/support/traffic.ts"
import type { FloodOptions } from "./flood.ts"
import { cpuSeconds, latency, MemoryGroup, median, memory, quantiles } from "./measure.ts"
import { type Rival, type Running, rivals, startClient, startPair, type Wrapper } from "./rivals.ts"

export interface Plan {
  readonly rounds: number
  /** Of each transfer. */
  readonly seconds: number
  readonly pings: number
  /** Of every TCP connection: inside the tunnel, and of the tunnel itself. */
  readonly congestionControl: string
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

async function makeLab({ congestionControl }: Plan): Promise<Lab> {
  const lab = await Lab.make()
  for (const namespace of [lab.client, lab.server])
    await namespace.succeed(["sysctl", "-qw", `net.ipv4.tcp_congestion_control=${congestionControl}`])
  return lab
}

/** (a) to (e): each rival as the client of the same server. */
export async function againstServer(plan: Plan, record: Results): Promise<void> {
  for (const transport of ["udp", "tcp"] as const) {
    await using lab = await makeLab(plan)
    const options: ServerOptions = { transport, dataCiphers: ["AES-256-GCM"] }
    await using _server = await OpenVpnServer.start(lab, options, plan.wrap)
    if (transport === "udp") await starts(lab, options, plan, record)
    for (const { round, rival } of turns(plan.rounds)) {
      plan.say(`round ${round}, ${rival} as client over ${transport}`)
      await oneClient(lab, rival, options, plan, record)
      if (transport === "udp" && rival === "culvert") await asInPod(lab, options, plan, record)
    }
  }
}

/** What the kill switch and the DNS forwarder cost: both have the kernel track connections. */
async function asInPod(lab: Lab, server: ServerOptions, plan: Plan, record: Results): Promise<void> {
  await using cleanup = new AsyncDisposableStack()
  // It stays when the program ends, and would keep the other one in.
  cleanup.defer(async () => void (await lab.client.succeed(plan.wrap([plan.program, "firewall", "clear"]))))
  await using client = startClient(lab, "culvert", server, plan.wrap, plan.program, true)
  await client.ready()
  await ping(lab.client, client.address)
  await transfers(lab, client, plan, (direction, which, { gigabits, secondsPerGigabyte }) => {
    if (which !== "") return
    record.add("a", `TCP ${direction}, over udp, as in a pod`, "Gbit/s", "culvert", gigabits)
    record.add("b", `TCP ${direction}, over udp, as in a pod`, "s/GB", "culvert", secondsPerGigabyte)
  })
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

/** (f), (g) and the latency without a server that limits: each rival at both ends; the first transfers apart. */
export async function atBothEnds(plan: Plan, record: Results): Promise<void> {
  for (const { round, rival } of turns(plan.rounds)) {
    plan.say(`round ${round}, ${rival} at both ends`)
    await using lab = await makeLab(plan)
    await using pair = await startPair(lab, rival, plan.wrap)
    await ping(lab.client, pair.address)
    await transfers(lab, pair, plan, (direction, which, { gigabits, secondsPerGigabyte }) => {
      record.add("f", `TCP ${direction}${which}`, "Gbit/s", rival, gigabits)
      record.add("f", `CPU of one end, ${direction}${which}`, "s/GB", rival, secondsPerGigabyte)
    })
    await saturated(lab, pair, rival, plan, record)
    record.add("g", "64-byte UDP payloads delivered", "packets/s", rival, await datagrams(lab, pair, 64, SMALL_RATES))
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
  await transfers(lab, client, plan, (direction, which, { gigabits, secondsPerGigabyte }) => {
    record.add("a", `TCP ${direction}, over ${transport}${which}`, "Gbit/s", rival, gigabits)
    record.add("b", `TCP ${direction}, over ${transport}${which}`, "s/GB", rival, secondsPerGigabyte)
  })
  for (const [direction] of directions) {
    const arrived = await datagrams(lab, client, 1300, LARGE_RATES, direction === "down")
    record.add("a", `UDP ${direction}, over ${transport}`, "Gbit/s", rival, (arrived * 1300 * 8) / 1e9)
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

/**
 * TCP in each direction, twice: a program that compiles while it runs still does so during its first transfers, which are rows of
 * their own.
 */
async function transfers(
  lab: Lab,
  running: Running,
  { seconds }: Plan,
  add: (direction: string, which: string, measured: Awaited<ReturnType<typeof transfer>>) => void,
): Promise<void> {
  for (const which of [", first transfer", ""])
    for (const [direction, parameters] of directions)
      add(direction, which, await transfer(lab, running, seconds, parameters))
}

async function transfer(lab: Lab, { pid, address }: Running, seconds: number, parameters: ReadonlyArray<string>) {
  const before = cpuSeconds(pid)
  const { bitsPerSecond } = await iperf3(lab, address, seconds, parameters)
  const gigabytes = (bitsPerSecond * seconds) / 8e9
  return { gigabits: bitsPerSecond / 1e9, secondsPerGigabyte: (cpuSeconds(pid) - before) / gigabytes }
}

/**
 * Datagrams of `size` bytes that arrive each second, at the best of several offered rates: a flood that is dropped late costs the
 * receiver more than it shows. Upward unless said.
 */
async function datagrams(
  lab: Lab,
  { address }: Running,
  size: number,
  rates: ReadonlyArray<number>,
  isDown = false,
): Promise<number> {
  const routes = JSON.parse(await lab.client.succeed(["ip", "-j", "route", "get", address])) as [{ prefsrc: string }]
  const near = { namespace: lab.client, address: routes[0].prefsrc }
  const far = { namespace: lab.server, address }
  const [from, to] = isDown ? [far, near] : [near, far]
  let best = 0
  for (const rate of rates) {
    const offered = { size, rate, seconds: FLOOD_SECONDS, local: from.address, remote: to.address }
    await using receiver = to.namespace.start("receiver", flood({ size, local: to.address, remote: from.address }))
    await receiver.line(/^ready/)
    await from.namespace.succeed(flood(offered))
    // What is still under way.
    await Bun.sleep(100)
    receiver.signal("SIGTERM")
    const arrived = Number((await receiver.line(/^datagrams /)).split(" ")[1]) / FLOOD_SECONDS
    best = Math.max(best, arrived)
    if (arrived < best / 2) break
  }
  return best
}

function flood(options: FloodOptions): ReadonlyArray<string> {
  return [bun, `${project}/bench/flood.ts`, JSON.stringify(options)]
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

/** Datagrams per second; the large ones: 0.2 to 1.6 Gbit/s. */
const SMALL_RATES = [50e3, 75e3, 100e3, 150e3, 200e3, 300e3, 400e3, 600e3]
const LARGE_RATES = [20e3, 30e3, 40e3, 55e3, 75e3, 100e3, 150e3]
const FLOOD_SECONDS = 1
const directions = [
  ["up", []],
  ["down", ["-R"]],
] as const
