/**
 * Somebody in the client's namespace who sends a packet every 20 ms through the tunnel, asks the client again and again what it
 * says of itself, and compares (`judge.ts`). Besides it tries to get out beside the tunnel, which whoever captures there would see.
 *
 *   bun witness.ts PID ADDRESS      the client, and who answers pings behind the tunnel; ends with its standard input
 *
 * A contradiction is one line when it is found; the last line is what it saw, as JSON.
 */
import { createSocket } from "node:dgram"
import { readFileSync } from "node:fs"
import { networkInterfaces } from "node:os"
import type { Child } from "./child.ts"
import { bun } from "./culvert.ts"
import { Judge, type Look, type Said } from "./judge.ts"
import { type Lab, outer } from "./lab.ts"

/** What was seen. */
export interface Testimony {
  readonly contradictions: ReadonlyArray<string>
  readonly looks: number
  readonly judged: number
  readonly replies: number
}

export class Witness implements AsyncDisposable {
  readonly child: Child

  private constructor(child: Child) {
    this.child = child
  }

  /** Resolves when the first packet has come back. */
  static async start(lab: Lab, pid: number, address: string): Promise<Witness> {
    const command = [bun, import.meta.path, String(pid), address]
    const child = lab.client.start("witness", command, { input: true })
    await child.line(/^watching/)
    return new Witness(child)
  }

  async finish(): Promise<Testimony> {
    this.child.tell("enough")
    await this.child.exited()
    return JSON.parse(this.child.lines.at(-1) ?? "") as Testimony
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop("SIGKILL")
  }
}

async function main([pid = "", address = ""]: ReadonlyArray<string>): Promise<void> {
  const traffic = new Traffic(address)
  const application = new Application()
  while (traffic.replies === 0) await Bun.sleep(20)
  const judge = new Judge()
  let isOver = false
  process.stdin.once("data", () => {
    isOver = true
  })
  console.log("watching")
  for (let told = 0; !isOver; await Bun.sleep(pause)) {
    judge.look(await look(pid, traffic))
    application.speak()
    for (; told < judge.contradictions.length; told++) console.log(judge.contradictions[told])
  }
  const { contradictions, looks, judged } = judge
  const testimony: Testimony = { contradictions, looks, judged, replies: traffic.replies }
  console.log(JSON.stringify(testimony))
  process.exit(0)
}

async function look(pid: string, traffic: Traffic): Promise<Look> {
  const from = now()
  using frozen = new FrozenWatch(pid)
  const written = packetsWritten()
  const before = await asked(async () => {
    const isReady = await ready()
    return { isReady, status: await status() }
  })
  const metrics = before && (await asked(async () => samples(await get("/metrics"))))
  const addresses = (networkInterfaces()[device] ?? []).map(({ address }) => address)
  const after = before && (await asked(async () => ({ status: await status(), isReady: await ready() })))
  return {
    ...{ from, to: now(), before, metrics, after, isFrozen: frozen.wasFrozen, addresses },
    ...{ written: [written, packetsWritten()], lastReply: traffic.lastReply, isFlowing: traffic.isFlowing },
  }
}

const get = async (path: string) => {
  const response = await fetch(`http://127.0.0.1:4911${path}`, { signal: AbortSignal.timeout(patience) })
  return response.text()
}
const status = async () => JSON.parse(await get("/status")) as Said["status"]
const ready = async () => {
  const response = await fetch("http://127.0.0.1:4911/readyz", { signal: AbortSignal.timeout(patience) })
  await response.text()
  return response.status === 200
}
const asked = <A>(question: () => Promise<A>): Promise<A | undefined> => question().catch(() => undefined)

const samples = (text: string) =>
  new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const at = line.lastIndexOf(" ")
        return [line.slice(0, at), Number(line.slice(at + 1))] as const
      }),
  )

const packetsWritten = () => Number(readFileSync(`/sys/class/net/${device}/statistics/rx_packets`, "utf8"))

/** Looks all the time: a process that was frozen and is no longer has not answered either. */
class FrozenWatch implements Disposable {
  readonly #pid: string
  readonly #timer: Timer
  #was = false

  constructor(pid: string) {
    this.#pid = pid
    this.#timer = setInterval(() => this.wasFrozen, 20)
  }

  get wasFrozen(): boolean {
    this.#was ||= /\) T /.test(readFileSync(`/proc/${this.#pid}/stat`, "utf8"))
    return this.#was
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

/** Unix ms. */
const now = () => performance.timeOrigin + performance.now()

/** Pings, and the answers that came. */
class Traffic {
  replies = 0
  lastReply = 0

  constructor(address: string) {
    const ping = Bun.spawn(["ping", "-n", "-i", "0.02", address], { stdout: "pipe", stderr: "ignore" })
    process.on("exit", () => ping.kill("SIGKILL"))
    void this.#read(ping.stdout)
  }

  get isFlowing(): boolean {
    return now() - this.lastReply < longestGap
  }

  async #read(lines: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of lines) {
      const count = decoder.decode(chunk).split("bytes from").length - 1
      if (count === 0) continue
      this.replies += count
      this.lastReply = now()
    }
  }
}

/** Packets to whom a leak would reach: the server's host beside the tunnel, its name service, and somebody far away. */
class Application {
  readonly #sockets = (["udp4", "udp6"] as const).map((type) => createSocket(type).on("error", () => {}))

  speak(): void {
    const [ipv4, ipv6] = this.#sockets
    for (const port of [9, 53]) {
      ipv4!.send("leak", port, outer.server.ipv4, () => {})
      ipv4!.send("leak", port, "198.51.100.1", () => {})
      ipv6!.send("leak", port, outer.server.ipv6, () => {})
      ipv6!.send("leak", port, "2001:db8::1", () => {})
    }
  }
}

const device = "tun0"
/** ms between looks; for an answer; between two answers to pings. */
const pause = 100
const patience = 2000
const longestGap = 300

if (import.meta.main) await main(process.argv.slice(2))
