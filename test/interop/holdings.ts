/** What a client has of the host, before and after: equal means that nothing was left and nothing was lost. */
import { expect } from "bun:test"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { Client } from "../support/culvert.ts"
import { type Lab, networkState } from "../support/lab.ts"

/** Devices, addresses, routes, rules and firewall. The tunnel's own addresses are named, since a server gives others each time. */
export async function host({ client: pod }: Lab, client: Client) {
  const { addresses } = await client.status()
  const named = (text: string) =>
    (addresses as ReadonlyArray<string>).reduce((changed, address, index) => {
      const bare = address.split("/")[0]!.replaceAll(".", "\\.")
      return changed.replace(new RegExp(`(?<![\\w:.])${bare}(?![\\w:.])`, "g"), `OUR-${index}`)
    }, text)
  const [network, table, links] = [
    await networkState(pod),
    await pod.succeed(["nft", "list", "table", "inet", "culvert"]),
    await pod.succeed(["ip", "-o", "link", "show"]),
  ]
  return {
    // A route of a time with two addresses says which of them to take; it is the one that the kernel takes anyway.
    network: named(network).replace(/^(\S+ dev tun0 proto 149 .*) src OUR-0/gm, "$1"),
    // Without what it has counted.
    firewall: named(table).replace(/packets \d+ bytes \d+/g, ""),
    links,
  }
}

export function held(pid: number) {
  const of = (what: string) => readdirSync(`/proc/${pid}/${what}`)
  return {
    descriptors: of("fd").length,
    threads: of("task").length,
    children: of("task").flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean),
    ),
    namespaces: of("ns").map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`)),
  }
}

/** Looks at a process's memory now and then. */
export class Memory {
  /** MB */
  readonly samples: Array<{ readonly resident: number; readonly anonymous: number }> = []
  readonly #timer: Timer
  readonly #take: () => void

  constructor(pid: number) {
    this.#take = () => {
      const status = readFileSync(`/proc/${pid}/status`, "utf8")
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1000
      this.samples.push({ resident: field("VmRSS"), anonymous: field("RssAnon") })
    }
    this.#take()
    this.#timer = setInterval(this.#take, interval)
  }

  /** Compiled code and warm caches are half as much again as in the beginning; what is allocated then stays as it is. */
  judge(): void {
    clearInterval(this.#timer)
    this.#take()
    const { samples } = this
    expect(samples.at(-1)!.resident).toBeLessThan(samples[0]!.resident * 1.5)
    const quarter = Math.floor(samples.length / 4)
    if (quarter * interval < settling) return
    const allocated = samples.map(({ anonymous }) => anonymous)
    const warm = median(allocated.slice(quarter, 2 * quarter))
    expect(median(allocated.slice(-quarter))).toBeLessThan(warm * 1.1)
  }
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** ms */
const interval = 10_000
const settling = 150_000
