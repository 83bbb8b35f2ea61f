/** What is measured of a process and of the way through a tunnel. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Lab } from "../test/support/lab.ts"

/** CPU seconds of a process so far, all its threads, also those that ended, user and system; in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  // Behind the name, which may have spaces in it.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** MB of a process: resident, and of that what other processes share counted in part. */
export function memory(pid: number): { readonly resident: number; readonly proportional: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]) / 1000
  return { resident: read("Rss"), proportional: read("Pss") }
}

/** A memory cgroup of either version, for what kubelet sees of a container. */
export class MemoryGroup implements Disposable {
  private readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  /** Undefined where there are none to be had. */
  static make(): MemoryGroup | undefined {
    const parent = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].find((path) => existsSync(join(path, "memory.stat")))
    if (parent === undefined) return undefined
    const directory = join(parent, `culvert-bench-${process.pid}-${++groups}`)
    mkdirSync(directory)
    return new MemoryGroup(directory)
  }

  /** What the process allocates from now on is counted here. */
  add(pid: number): void {
    writeFileSync(join(this.directory, "cgroup.procs"), String(pid))
  }

  /** MB: all memory of the group but files that nobody used lately, by which kubelet evicts and `kubectl top` shows. */
  workingSet(): number {
    const read = (name: string) => readFileSync(join(this.directory, name), "utf8")
    const isFirst = existsSync(join(this.directory, "memory.usage_in_bytes"))
    const used = Number(read(isFirst ? "memory.usage_in_bytes" : "memory.current"))
    const inactive = isFirst ? /^total_inactive_file (\d+)$/m : /^inactive_file (\d+)$/m
    return (used - Number(inactive.exec(read("memory.stat"))?.[1])) / 1e6
  }

  [Symbol.dispose](): void {
    rmdirSync(this.directory)
  }
}

let groups = 0

export interface Latency {
  /** ms */
  readonly p50: number
  readonly p99: number
}

/** Round trips of `count` pings, one each `interval` seconds. */
export async function latency(lab: Lab, address: string, count: number, interval = 0.01): Promise<Latency> {
  const command = ["ping", "-n", "-c", String(count), "-i", String(interval), "-W", "2", address]
  const { stdout } = await lab.client.finish(command, { deadline: count * interval * 1000 + 20_000 })
  return quantiles([...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])))
}

export function quantiles(times: ReadonlyArray<number>): Latency {
  const sorted = times.toSorted((a, b) => a - b)
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
}

export function median(values: ReadonlyArray<number>): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}

function quantile(sorted: ReadonlyArray<number>, part: number): number {
  if (sorted.length === 0) return Number.NaN
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!
}

/** USER_HZ, 100 on all architectures that Bun runs on. */
const TICKS_PER_SECOND = 100
