/**
 * Records what real programs send through a tun: their packets as the tun gives them, and what Linux makes of each.
 *
 *   npm run record              a fresh recording of ten times the size: compared, and thrown away
 *   npm run record -- --keep    a small one, in place of test/dataplane/recorded.zst
 */
import { join } from "node:path"
import type { Child } from "../child.ts"
import { bun, project } from "../culvert.ts"
import { Resolver } from "../dnsmasq.ts"
import { Lab, type Namespace, sweep } from "../lab.ts"
import { addresses, type Network } from "./relay.ts"

type Scenario = Omit<Network, "name"> & {
  readonly name: string
  /** Of both ends while it runs. */
  readonly settings?: Readonly<Record<string, number>>
  run(recorder: Recorder): Promise<unknown>
}

const { ipv4, ipv6 } = addresses.server
const isKept = process.argv.includes("--keep")
/** How much more than a small recording needs. */
const scale = isKept ? 1 : 10
const size = (bytes: number) => String(bytes * scale)

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "iperf3, TCP over IPv4 with timestamps, up and down",
    mtu: 1400,
    run: async (recorder) => {
      await recorder.iperf3(ipv4, ["-n", size(300_000)])
      await recorder.iperf3(ipv4, ["-n", size(150_000), "-R"])
    },
  },
  {
    name: "iperf3, TCP over IPv6 without timestamps and SACK, the least MTU",
    mtu: 1280,
    settings: { "net.ipv4.tcp_timestamps": 0, "net.ipv4.tcp_sack": 0 },
    run: (recorder) => recorder.iperf3(ipv6, ["-n", size(200_000)]),
  },
  {
    name: "iperf3, TCP in frames of 9000",
    mtu: 9000,
    run: (recorder) => recorder.iperf3(ipv6, ["-n", size(300_000)]),
  },
  {
    name: "curl, while packets are lost, doubled and overtaken, IPv4",
    mtu: 1400,
    ...{ loss: 0.03, duplication: 0.02, reordering: 0.05 },
    run: (recorder) => recorder.curl(ipv4, Number(size(200_000))),
  },
  {
    name: "curl, the same without SACK, IPv6",
    mtu: 1400,
    settings: { "net.ipv4.tcp_sack": 0 },
    ...{ loss: 0.03, duplication: 0.02, reordering: 0.05 },
    run: (recorder) => recorder.curl(ipv6, Number(size(100_000))),
  },
  {
    name: "curl, with congestion marked (ECN), IPv4 and IPv6",
    mtu: 1400,
    marking: 0.1,
    settings: { "net.ipv4.tcp_ecn": 1 },
    run: async (recorder) => {
      await recorder.curl(ipv4, Number(size(150_000)))
      await recorder.curl(ipv6, Number(size(150_000)))
    },
  },
  {
    name: "iperf3, UDP, and datagrams larger than the MTU, in fragments",
    mtu: 1280,
    run: async (recorder) => {
      for (const [address, length, amount] of [
        [ipv4, 1200, 100_000],
        [ipv6, 64, 5_000],
        [ipv4, 4001, 60_000],
        [ipv6, 4001, 60_000],
      ] as const)
        await recorder.iperf3(address, ["-u", "-b", "20M", "-l", String(length), "-n", size(amount)])
    },
  },
  {
    name: "ping of odd sizes, in fragments, with the options of IPv4",
    mtu: 1400,
    run: async (recorder) => {
      for (const length of [0, 1, 57, 1371, 1373, 5001]) {
        await recorder.ping(ipv4, ["-s", String(length)])
        await recorder.ping(ipv6, ["-s", String(length)])
      }
      await recorder.ping(ipv4, ["-R"])
      await recorder.ping(ipv4, ["-T", "tsandaddr"])
    },
  },
  { name: "DNS over UDP and TCP", mtu: 1400, run: (recorder) => recorder.names() },
  {
    name: "bursts of datagrams (UDP_SEGMENT)",
    mtu: 1400,
    run: async (recorder) => {
      await recorder.socket("udp-bursts", ipv4, size(120_000))
      await recorder.socket("udp-bursts", ipv6, size(120_000))
    },
  },
  {
    name: "datagrams of odd sizes; marked, without checksum, with IP options and extension headers",
    mtu: 1400,
    run: async (recorder) => {
      await recorder.socket("udp-sizes", ipv4)
      await recorder.socket("udp-sizes", ipv6)
    },
  },
  {
    name: "TCP with IP options and extension headers",
    mtu: 1400,
    run: async (recorder) => {
      await recorder.socket("tcp-options", ipv4, size(60_000))
      await recorder.socket("tcp-options", ipv6, size(60_000))
    },
  },
  {
    name: "TCP in pieces of odd sizes, urgent data, half-closed, reset",
    mtu: 1400,
    run: async (recorder) => {
      for (const address of [ipv4, ipv6])
        for (const kind of ["tcp-pieces", "tcp-half-close", "tcp-reset"]) await recorder.socket(kind, address, "50000")
    },
  },
  {
    name: "TCP whose window closes and is probed",
    mtu: 1400,
    settings: { "net.ipv4.tcp_moderate_rcvbuf": 0 },
    run: (recorder) => recorder.socket("tcp-closed-window", ipv4, String(600_000)),
  },
]

class Recorder {
  readonly #lab: Lab
  readonly #relay: Child

  constructor(lab: Lab, relay: Child) {
    this.#lab = lab
    this.#relay = relay
  }

  async record({ run, settings = {}, ...network }: Scenario): Promise<void> {
    await this.#set(settings)
    await this.#tell(JSON.stringify(network), network.name)
    await run(this)
    await this.#set(Object.fromEntries(Object.keys(settings).map((name) => [name, defaults[name] ?? 1])))
  }

  /** The size of the file. */
  async end(): Promise<number> {
    return Number((await this.#tell("", "recorded")).split(" ")[1])
  }

  async iperf3(address: string, parameters: ReadonlyArray<string>): Promise<void> {
    await using server = this.#lab.server.start("iperf3", ["iperf3", "-s", "-1", "--forceflush"])
    await server.line(/Server listening/)
    const content = ["--repeating-payload", "-l", "65500"].slice(0, parameters.includes("-l") ? 1 : 3)
    await this.#lab.client.succeed(["iperf3", "-c", address, ...content, ...parameters], { deadline: 120_000 })
  }

  /** Down and up. */
  async curl(address: string, bytes: number): Promise<void> {
    const host = address.includes(":") ? `[${address}]` : address
    const url = `http://${host}:8080/${bytes}`
    const command = ["curl", "--silent", "--fail", "--max-time", "100", "-o", "/dev/null"]
    await this.#lab.client.succeed([...command, url], { deadline: 120_000 })
    const upload = `seq -w 1 ${bytes} | head -c ${bytes} | "$@"`
    await this.#lab.client.succeed(["sh", "-c", upload, "-", ...command, "-T", "-", url], { deadline: 120_000 })
  }

  async ping(address: string, parameters: ReadonlyArray<string>): Promise<void> {
    await this.#lab.client.succeed(["ping", "-n", "-c", "2", "-i", "0.01", ...parameters, address])
  }

  async names(): Promise<void> {
    await using _resolver = await Resolver.start(this.#lab, this.#lab.server, [ipv4, ipv6], {
      "record.test": "192.0.2.1",
    })
    const script = join(import.meta.dir, "../lookup.ts")
    for (const server of [ipv4, ipv6])
      for (const transport of ["udp", "tcp"])
        await this.#lab.client.succeed([bun, script, server, "long.record.test", transport])
  }

  async socket(...parameters: ReadonlyArray<string>): Promise<void> {
    await this.#lab.client.succeed([bun, join(import.meta.dir, "sockets.ts"), ...parameters])
  }

  async #set(settings: Readonly<Record<string, number>>): Promise<void> {
    for (const namespace of [this.#lab.client, this.#lab.server])
      for (const [name, value] of Object.entries(settings)) await sysctl(namespace, `${name}=${value}`)
  }

  async #tell(line: string, answer: string): Promise<string> {
    const since = this.#relay.lines.length
    this.#relay.tell(line)
    return this.#relay.line(new RegExp(answer.replace(/[()]/g, "\\$&")), 60_000, since)
  }
}

async function record(lab: Lab, file: string): Promise<void> {
  const relay = lab.client.start("relay", [bun, join(import.meta.dir, "relay.ts"), file, lab.server.name], {
    input: true,
  })
  await relay.line(/ready/)
  const recorder = new Recorder(lab, relay)
  await using far = lab.server.start("listener", [bun, join(import.meta.dir, "sockets.ts"), "listen"])
  await far.line(/listening/)
  // Small buffers: windows close, and retransmissions stay few.
  for (const namespace of [lab.client, lab.server])
    for (const name of ["tcp_rmem", "tcp_wmem"]) await sysctl(namespace, `net.ipv4.${name}=4096 131072 262144`)
  for (const scenario of scenarios) {
    console.error(scenario.name)
    await recorder.record(scenario)
  }
  console.error(`${await recorder.end()} bytes`)
}

function sysctl(namespace: Namespace, setting: string): Promise<string> {
  return namespace.succeed(["sysctl", "-q", "-w", setting])
}

/** What a setting goes back to when it is not 1. */
const defaults: Readonly<Record<string, number>> = { "net.ipv4.tcp_ecn": 2 }

sweep()
await using lab = await Lab.make()
if (isKept) await record(lab, join(project, "test/dataplane/recorded.zst"))
else {
  const file = join(lab.directory, "recorded.zst")
  await record(lab, file)
  const tests = Bun.spawn([bun, join(project, "test/run.ts"), "dataplane/recorded", "interop/recorded"], {
    env: { ...process.env, RECORDING: file },
    stdio: ["ignore", "inherit", "inherit"],
  })
  process.on("exit", () => tests.kill())
  process.exitCode = await tests.exited
}
