/**
 * What the client says of itself against what somebody else sees pass. Exact where both are known to be of one moment; where
 * they cannot be, a contradiction counts when it stays longer than what the protocol needs to notice. Pure.
 */

/** One look. Times are ms; what has no answer is undefined. */
export interface Look {
  /** When it began and when it was over. */
  readonly from: number
  readonly to: number
  readonly before: Said | undefined
  readonly metrics: ReadonlyMap<string, number> | undefined
  readonly after: Said | undefined
  /** Somebody had stopped the process (SIGSTOP) at some time of the look: it could not answer then. */
  readonly isFrozen: boolean
  /** Addresses of the tunnel's device, looked at between `before` and `after`. */
  readonly addresses: ReadonlyArray<string>
  /** Packets written to the device, as the kernel counts them: before the look, and after it. */
  readonly written: readonly [number, number]
  /** When the last answer came through the tunnel, and whether one comes after the other. */
  readonly lastReply: number
  readonly isFlowing: boolean
}

/** The probe and the status, asked for at once. */
export interface Said {
  readonly isReady: boolean
  readonly status: {
    readonly phase: string
    readonly since: number
    readonly checks: ReadonlyArray<{ readonly name: string; readonly ok: boolean }>
    readonly addresses: ReadonlyArray<string>
    readonly counters: Readonly<Record<string, number>>
  }
}

export class Judge {
  readonly contradictions: Array<string> = []
  looks = 0
  /** Those in which the client was the same before and after. */
  judged = 0
  #last: Look | undefined
  #counted = new Map<string, number>()
  /** Since when something holds that may hold for a while only. */
  readonly #since = new Map<string, number>()
  /** What the client calls the time of the last authentic packet. */
  #lastReceive: number | undefined
  /** Packets that a crash left uncounted. */
  #uncounted = 0

  look(look: Look): void {
    this.looks++
    const last = this.#last ?? look
    // Who was not awake cannot tell how long something lasted; nor can the client: what came while it was frozen is news to it.
    if (look.isFrozen || look.from - last.to > longestBlink) this.#since.clear()
    this.#last = look
    const { before, metrics, after } = look
    const answers = before !== undefined && metrics !== undefined && after !== undefined
    this.#lasts(look, "nobody answers over HTTP", !answers && !look.isFrozen, 3000)
    if (!answers) return
    this.#count(look, before.status.counters, metrics, after.status.counters)
    const isIdle = before.isReady && after.isReady && look.lastReply < last.from
    this.#lasts(look, "ready, and nothing passes", isIdle, 15_000)
    // A ping of the server's that gets through between two faults is life as well.
    const { lastReceive } = after.status.counters
    this.#lasts(look, "ready, and nothing comes", isIdle && lastReceive === this.#lastReceive, 5000)
    this.#lastReceive = lastReceive
    const isRefused = !before.isReady && !after.isReady
    this.#lasts(look, "traffic passes, and not ready", isRefused && look.isFlowing, 2000)
    const { addresses, phase } = after.status
    const lacks = addresses.some((address) => !look.addresses.includes(withoutPrefix(address)))
    this.#lasts(look, "connected, with addresses that the device does not have", phase === "connected" && lacks, 1000)
    if (isSame(before, after)) this.#compare(look, after, metrics)
  }

  #compare(look: Look, { isReady, status }: Said, metrics: ReadonlyMap<string, number>): void {
    this.judged++
    const failing = status.checks.filter(({ ok }) => !ok).map(({ name }) => name)
    const ready = metrics.get("openvpn_client_ready") === 1
    const connected = metrics.get("openvpn_client_connected") === 1
    const state = metrics.get(`openvpn_client_state{state="${status.phase}"}`)
    if (isReady !== ready) this.#says(look, `/readyz says ${isReady}, its metric ${ready}`)
    if (isReady !== (failing.length === 0)) this.#says(look, `/readyz says ${isReady}, /status: [${failing}] fails`)
    if (connected !== (status.phase === "connected")) this.#says(look, `${status.phase}, the metric says ${connected}`)
    if (state !== 1) this.#says(look, `${status.phase}, the metric of this state says ${state}`)
    if (isReady && status.phase !== "connected") this.#says(look, `ready while ${status.phase}`)
  }

  /** Counters only grow, whoever is asked; and they are what the kernel counts. */
  #count(
    look: Look,
    before: Readonly<Record<string, number>>,
    metrics: ReadonlyMap<string, number>,
    after: Readonly<Record<string, number>>,
  ): void {
    for (const [name, metric] of Object.entries(counters)) {
      let last = this.#counted.get(name) ?? 0
      const told = { "/status": before[name], "/metrics": metrics.get(metric), "/status afterwards": after[name] }
      for (const [by, value] of Object.entries(told)) {
        if (value === undefined || value < last) this.#says(look, `${name}: ${by} says ${value} after ${last}`)
        last = value ?? last
      }
      this.#counted.set(name, last)
    }
    const [kernel, kernelAfter] = look.written
    const missed = kernel - (after.tunWritePackets ?? 0)
    if (missed > this.#uncounted + mostInFlight) this.#says(look, `${missed} packets came to the device uncounted`)
    this.#uncounted = Math.max(this.#uncounted, missed)
    const first = before.tunWritePackets ?? 0
    if (first > kernelAfter) this.#says(look, `${first} packets counted, and the device had ${kernelAfter}`)
  }

  /** A contradiction when it holds for longer than `limit`, told once each time. */
  #lasts(look: Look, what: string, holds: boolean, limit: number): void {
    if (!holds) {
      this.#since.delete(what)
      return
    }
    const since = this.#since.get(what) ?? look.from
    this.#since.set(what, since)
    if (look.from - since <= limit) return
    this.#says(look, `${what}, for more than ${limit} ms`)
    this.#since.set(what, Number.POSITIVE_INFINITY)
  }

  #says({ to }: Look, what: string): void {
    this.contradictions.push(`${new Date(to).toISOString()} ${what}`)
  }
}

/** Nothing changed between the two: whatever was said between them is of the same state. */
function isSame(one: Said, other: Said): boolean {
  const of = ({ isReady, status: { phase, since, checks } }: Said) =>
    [isReady, phase, since, ...checks.map(({ name, ok }) => `${name} ${ok}`)].join()
  return of(one) === of(other)
}

const withoutPrefix = (address: string) => address.split("/")[0]!

/** In the status and in the metrics. */
const counters = {
  tunReadPackets: "openvpn_client_tun_tap_read_packets_total",
  tunReadBytes: "openvpn_client_tun_tap_read_bytes_total",
  tunWritePackets: "openvpn_client_tun_tap_write_packets_total",
  tunWriteBytes: "openvpn_client_tun_tap_write_bytes_total",
  transportReadBytes: "openvpn_client_tcp_udp_read_bytes_total",
  transportWriteBytes: "openvpn_client_tcp_udp_write_bytes_total",
} as const

/** ms between two looks. */
const longestBlink = 700
/** Packets of one round of the worker's loop, which a crash may leave uncounted. */
const mostInFlight = 64
