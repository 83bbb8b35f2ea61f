/**
 * Child processes for tests: one that is run to its end, one that stays and whose output is read line by line,
 * and `eventually`, which waits for a fact instead of sleeping.
 */
import type { Subprocess } from "bun"

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ChildOptions {
  readonly cwd?: string
  /** Added to the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>
  /** Milliseconds after which the command is killed; 30,000 unless said. */
  readonly deadline?: number
}

/** Runs a command to its end, whatever its status. */
export async function finish(command: ReadonlyArray<string>, options: ChildOptions = {}): Promise<Finished> {
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.environment },
    timeout: options.deadline ?? 30_000,
    killSignal: "SIGKILL",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, stdout, stderr }
}

/** Runs a command that has to succeed and returns its standard output. */
export async function succeed(command: ReadonlyArray<string>, options: ChildOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await finish(command, options)
  if (code !== 0) throw new Error(`running ${command.join(" ")}: status ${code}: ${(stderr || stdout).trim()}`)
  return stdout
}

/** Thrown by a probe of `eventually`: waiting longer makes no sense. */
export class Hopeless extends Error {}

/**
 * Waits until `probe` gives something that is neither undefined nor false and returns it.
 * A probe that throws counts as "not yet", unless it throws `Hopeless`; its error is told when the deadline (milliseconds)
 * passes.
 */
export async function eventually<A>(
  deadline: number,
  what: string,
  probe: () => A | undefined | false | Promise<A | undefined | false>,
): Promise<A> {
  const end = performance.now() + deadline
  let reason = ""
  for (;;) {
    try {
      const value = await probe()
      if (value !== undefined && value !== false) return value
      reason = ""
    } catch (error) {
      if (error instanceof Hopeless) throw error
      reason = `: ${error instanceof Error ? error.message : String(error)}`
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${deadline} ms${reason}`)
    await Bun.sleep(pollInterval)
  }
}

/** A process that stays. Standard output and error are one list of lines, in the order of their arrival. */
export class Child implements AsyncDisposable {
  readonly lines: Array<string> = []
  readonly name: string
  readonly #process: Subprocess<"pipe" | "ignore", "pipe", "pipe">
  readonly #drained: Promise<unknown>

  constructor(name: string, command: ReadonlyArray<string>, options: ChildOptions & { readonly input?: boolean } = {}) {
    this.name = name
    this.#process = Bun.spawn([...command], {
      stdin: options.input === true ? "pipe" : "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...options.environment },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    this.#drained = Promise.all([this.#collect(this.#process.stdout), this.#collect(this.#process.stderr)])
  }

  get pid(): number {
    return this.#process.pid
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  get output(): string {
    return this.lines.join("\n")
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#process.kill(signal)
  }

  /** One line to its standard input. */
  tell(line: string): void {
    const stdin = this.#process.stdin
    if (stdin === undefined || typeof stdin === "number") throw new Error(`${this.name} was started without input`)
    stdin.write(`${line}\n`)
    stdin.flush()
  }

  /** The first line from index `since` that `matches`; fails when the process ends before. */
  async line(matches: RegExp, deadline = 20_000, since = 0): Promise<string> {
    return this.#explain(
      eventually(deadline, `${this.name}: ${matches}`, async () => {
        const ended = !this.running
        if (ended) await this.#drained
        const line = this.lines.slice(since).find((text) => matches.test(text))
        if (line === undefined && ended) throw new Hopeless(`${this.name} ended before ${matches}`)
        return line
      }),
    )
  }

  /** The exit status; a process ended by a signal has 128 + its number. */
  async exited(deadline = 20_000): Promise<number> {
    await this.#explain(eventually(deadline, `${this.name} exits`, () => !this.running))
    const code = await this.#process.exited
    await this.#drained
    return code
  }

  /** Asks the process to stop and makes it stop when it does not. */
  async stop(signal: NodeJS.Signals = "SIGTERM", deadline = 5_000): Promise<number> {
    this.signal(signal)
    const obeyed = await eventually(deadline, "stop", () => !this.running).catch(() => false)
    if (!obeyed) this.signal("SIGKILL")
    return this.exited()
  }

  tail(count = 25): string {
    return this.lines.slice(-count).join("\n")
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Adds what the process said last to the error. */
  async #explain<A>(waiting: Promise<A>): Promise<A> {
    return waiting.catch((error: Error) => {
      throw new Error(`${error.message}\n${this.tail()}`)
    })
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n")
      rest = parts.pop() ?? ""
      this.lines.push(...parts)
    }
    if (rest !== "") this.lines.push(rest)
  }
}

const pollInterval = 20
