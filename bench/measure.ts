/** What is measured of a process and of the way through a tunnel. */
import { readFileSync } from "node:fs"
import type { Lab } from "../test/support/lab.ts"

/** CPU seconds of a process so far, all its threads, user and system. */
export function cpuSeconds(pid: number): number {
  // Behind the name, which may have spaces in it.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Resident memory in MB. */
export function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1000
}

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
