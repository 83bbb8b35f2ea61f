/** Traffic of real programs in a lab: ping, downloads with a checked hash, iperf3. */
import { createHash } from "node:crypto"
import { readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Child } from "./child.ts"
import { bun } from "./culvert.ts"
import type { Lab, Namespace } from "./lab.ts"

/** Pings until the first answer or the deadline (seconds); says what ping said when there is none. */
export async function ping(
  from: Namespace,
  address: string,
  seconds = 5,
  parameters: ReadonlyArray<string> = [],
): Promise<void> {
  const { code, stdout, stderr } = await from.finish([
    "ping",
    "-n",
    "-c",
    "1",
    "-w",
    String(seconds),
    "-i",
    "0.2",
    ...parameters,
    address,
  ])
  if (code !== 0) throw new Error(`ping ${address}: ${(stdout + stderr).trim()}`)
}

/** A web server in the lab's server namespace, on every address of it. */
export class WebServer implements AsyncDisposable {
  readonly #child: Child

  private constructor(child: Child) {
    this.#child = child
  }

  static async start(lab: Lab): Promise<WebServer> {
    const child = lab.server.start("web server", [bun, join(import.meta.dir, "traffic.ts"), "serve"])
    await child.line(/listening/)
    return new WebServer(child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop("SIGKILL")
  }
}

/** Fetches `size` bytes from the web server at `address`; the hash has to be right. Returns the client address it saw. */
export async function download(from: Namespace, address: string, size: number): Promise<string> {
  const url = `${webAddress(address)}/bytes/${size}`
  const pipe = `curl --silent --show-error --fail --max-time 30 -w '%{stderr}client=%header{x-client}' "$1" | sha256sum`
  const { code, stdout, stderr } = await from.finish(["bash", "-o", "pipefail", "-c", pipe, "-", url], {
    deadline: 40_000,
  })
  if (code !== 0) throw new Error(`downloading ${url}: ${stderr.trim()}`)
  const expected = createHash("sha256").update(content(size)).digest("hex")
  if (stdout.split(" ")[0] !== expected) throw new Error(`downloading ${url}: wrong hash`)
  const seen = /client=(\S+)/.exec(stderr)?.[1]
  if (seen === undefined) throw new Error(`downloading ${url}: the server did not name its client`)
  return seen
}

/** Sends `size` bytes to the web server at `address`, which has to receive exactly those. */
export async function upload(from: Namespace, address: string, size: number): Promise<void> {
  const bytes = content(size)
  const file = join(tmpdir(), `${from.name}-upload`)
  await Bun.write(file, bytes)
  try {
    const url = `${webAddress(address)}/sha256`
    const curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "-H", "Expect:", "-T", file, url]
    const hash = await from.succeed(curl, { deadline: 40_000 })
    const expected = createHash("sha256").update(bytes).digest("hex")
    if (hash !== expected) throw new Error(`sending ${size} bytes to ${url}: wrong hash`)
  } finally {
    rmSync(file, { force: true })
  }
}

export interface Iperf {
  readonly bitsPerSecond: number
  /** UDP only: datagrams that did not arrive, and all. */
  readonly lost: number
  readonly total: number
}

/** One iperf3 run from client to server (or back, with `-R` among the parameters), of so many seconds or bytes. */
export async function iperf3(
  lab: Lab,
  address: string,
  amount: number | { readonly bytes: number },
  parameters: ReadonlyArray<string> = [],
  port = 5201,
): Promise<Iperf> {
  const [length, deadline] =
    typeof amount === "number"
      ? [["-t", String(amount)], (amount + 20) * 1000]
      : [["-n", String(amount.bytes)], 30_000 + amount.bytes / 10_000]
  const server = lab.server.start("iperf3 server", ["iperf3", "-s", "-1", "-p", String(port), "--forceflush"])
  try {
    await server.line(/Server listening/)
    const text = await lab.client.finish(
      ["iperf3", "-c", address, "-p", String(port), ...length, "-J", ...parameters],
      { deadline },
    )
    const report = JSON.parse(text.stdout) as IperfReport
    if (report.error !== undefined) throw new Error(`iperf3 to ${address}: ${report.error}`)
    const sum = report.end.sum_received ?? report.end.sum
    const datagrams = report.end.sum
    return {
      bitsPerSecond: sum?.bits_per_second ?? 0,
      lost: datagrams?.lost_packets ?? 0,
      total: datagrams?.packets ?? 0,
    }
  } finally {
    await server.stop("SIGKILL")
  }
}

interface IperfReport {
  readonly error?: string
  readonly end: { readonly sum?: IperfSum; readonly sum_received?: IperfSum }
}

interface IperfSum {
  readonly bits_per_second: number
  readonly lost_packets?: number
  readonly packets?: number
}

/** Packets that the kernel threw away because a queue was full, on both sides: tun queues, socket buffers, CPU backlogs. */
export async function fullQueues({ client, server }: Lab): Promise<number> {
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

function webAddress(address: string): string {
  return `http://${address.includes(":") ? `[${address}]` : address}:8080`
}

/** The same bytes for the same size, without a short period. */
function content(size: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4))
  let state = 0x9e3779b9
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  return new Uint8Array(words.buffer, 0, size)
}

if (import.meta.main) {
  const server = Bun.serve({
    hostname: "::",
    port: 8080,
    async fetch(request, self) {
      if (new URL(request.url).pathname.startsWith("/sha256"))
        return new Response(
          createHash("sha256")
            .update(await request.bytes())
            .digest("hex"),
        )
      const size = Number(/^\/bytes\/(\d+)$/.exec(new URL(request.url).pathname)?.[1] ?? Number.NaN)
      if (!(size <= 256 << 20)) return new Response(null, { status: 404 })
      const client = self.requestIP(request)?.address.replace(/^::ffff:/, "") ?? ""
      return new Response(content(size), { headers: { "x-client": client } })
    },
  })
  console.log(`listening on ${server.port}`)
}
