/**
 * The client under test in a lab: Culvert, or the real `openvpn` when LAB_SUBJECT=openvpn, which is how the lab itself is
 * checked. What both can do is in `Client`; what only Culvert has (probes, status, events) needs `subject === "culvert"`.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type Child, eventually, Hopeless } from "./child.ts"
import type { Lab } from "./lab.ts"

export const subject: "culvert" | "openvpn" = process.env.LAB_SUBJECT === "openvpn" ? "openvpn" : "culvert"

export const project = join(import.meta.dir, "../..")
export const bun = join(project, "node_modules/.bin/bun")

/** The exit codes of Culvert, after sysexits.h. */
export const exitCode = {
  stopped: 0,
  usage: 64,
  gaveUp: 69,
  hostRefused: 71,
  authenticationRefused: 77,
  invalidConfiguration: 78,
} as const

export interface LogEvent {
  readonly ts: string
  readonly event: string
  readonly level: string
  readonly message: string
  readonly [field: string]: unknown
}

/** The part of `/status` that tests rely on. */
export interface Status {
  readonly phase: "starting" | "connecting" | "connected" | "waiting" | "paused" | "stopping"
  readonly remote?: unknown
  readonly cipher?: string
  readonly tls?: unknown
  readonly device?: string
  readonly addresses?: unknown
  readonly attempts?: number
  readonly lastError?: unknown
  /** The data plane's; dropped packets as `drop:REASON`. */
  readonly counters?: Readonly<Record<string, number>>
  readonly [field: string]: unknown
}

export interface ClientOptions {
  /** Put before the command, for example `setpriv`; the last element is followed by the program. */
  readonly wrapper?: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  /** After `start --config FILE`. */
  readonly arguments?: ReadonlyArray<string>
}

export class Client implements AsyncDisposable {
  readonly child: Child
  readonly #lab: Lab

  private constructor(lab: Lab, child: Child) {
    this.#lab = lab
    this.child = child
  }

  /** Starts the client with a configuration text; does not wait. */
  static start(lab: Lab, configuration: string, options: ClientOptions = {}): Client {
    serial += 1
    return Client.startFile(lab, lab.write(`client-${serial}.ovpn`, configuration), options)
  }

  /** The same with a file that may change. */
  static startFile(lab: Lab, file: string, options: ClientOptions = {}): Client {
    const program =
      subject === "openvpn"
        ? ["openvpn", "--config", file]
        : [bun, join(project, "src/main.ts"), "start", "--config", file, ...(options.arguments ?? [])]
    const child = lab.client.start(`${subject} client`, [...(options.wrapper ?? []), ...program], {
      cwd: project,
      environment: { CULVERT_LOG_FORMAT: "json", ...options.environment },
    })
    return new Client(lab, child)
  }

  /** One that was started by other means, in the client's namespace. */
  static watch(lab: Lab, child: Child): Client {
    return new Client(lab, child)
  }

  /** Waits until it carries packets, by its own word; fails at once when it ends. */
  async ready(deadline = 20_000): Promise<void> {
    if (subject === "openvpn") {
      await this.child.line(/Initialization Sequence Completed/, deadline)
      return
    }
    await this.event("connected", deadline)
    await this.becomes("/readyz", 200, deadline)
  }

  /** All log lines that are JSON objects with an `event`. */
  events(name?: string): ReadonlyArray<LogEvent> {
    return this.child.lines.flatMap(parseEvent).filter(({ event }) => name === undefined || event === name)
  }

  /** Waits until there are `count` events of that name and returns the last of them. */
  async event(name: string, deadline = 20_000, count = 1): Promise<LogEvent> {
    return eventually(deadline, `event ${name}, ${count} times`, () => {
      const ended = !this.child.running
      const event = this.events(name)[count - 1]
      if (event === undefined && ended) throw new Hopeless("the client ended")
      return event
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.child.tail()}`)
    })
  }

  /** The HTTP status of a probe, 0 when nobody answers. */
  async probe(path: string, address = "127.0.0.1:4911"): Promise<number> {
    const { stdout } = await this.#curl(["-o", "/dev/null", "-w", "%{http_code}", `http://${address}${path}`])
    return Number(stdout)
  }

  async becomes(path: string, status: number, deadline = 20_000): Promise<void> {
    await eventually(deadline, `${path} answers ${status}`, async () => {
      const ended = !this.child.running
      if ((await this.probe(path)) === status) return true
      if (ended) throw new Hopeless("the client ended")
      return false
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.child.tail()}`)
    })
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.body("/status")) as Status
  }

  async body(path: string): Promise<string> {
    const { code, stdout } = await this.#curl([`http://127.0.0.1:4911${path}`])
    if (code !== 0) throw new Error(`GET ${path}: curl status ${code}`)
    return stdout
  }

  /** What probe, status and metrics say at one moment; undefined: nobody answers, or that changed between two of them. */
  async says() {
    const paths = ["/readyz", "/status", "/metrics", "/readyz"].map((path) => `http://127.0.0.1:4911${path}`)
    const { stdout, stderr } = await this.#curl(["-w", "%{stderr}%{http_code} ", ...paths])
    const codes = stderr.trim().split(" ").map(Number)
    if (codes.length !== 4 || codes[0] !== codes[3]) return undefined
    const metric = (name: string) => stdout.includes(`\nopenvpn_client_${name} 1\n`)
    return {
      isReady: codes[0] === 200,
      phase: /"phase":"(\w+)"/.exec(stdout)?.[1],
      readyMetric: metric("ready"),
      connectedMetric: metric("connected"),
    }
  }

  /** Resident memory in bytes. */
  residentMemory(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, "utf8")
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024
  }

  /** SIGTERM, and how long it took to end. It is not killed: a client that does not end is a failed test. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<{ readonly code: number; readonly milliseconds: number }> {
    const begin = performance.now()
    this.child.signal(signal)
    const code = await this.child.exited()
    return { code, milliseconds: performance.now() - begin }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop()
  }

  #curl(parameters: ReadonlyArray<string>) {
    return this.#lab.client.finish(["curl", "--silent", "--max-time", "3", ...parameters])
  }
}

function parseEvent(line: string): ReadonlyArray<LogEvent> {
  if (!line.startsWith("{")) return []
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === "object" && value !== null && "event" in value ? [value as LogEvent] : []
  } catch {
    return []
  }
}

let serial = 0
