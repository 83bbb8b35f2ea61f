/**
 * Two endpoints joined by a network that loses, duplicates, corrupts, cuts, delays and thereby reorders packets, in virtual time.
 * Everything random comes from one seed. Nothing waits: `run` jumps from event to event.
 */

/** A sans-IO party. `now` is in milliseconds. */
export interface Endpoint {
  receive(now: number, packet: Uint8Array): void
  timeout(now: number): void
  nextTimeout(): number | undefined
  /** The next packet to send, or undefined. */
  outgoing(): Uint8Array | undefined
}

export interface Conditions {
  /** Probabilities for each packet, 0..1. */
  readonly loss: number
  readonly duplication: number
  /** One bit is flipped. */
  readonly corruption: number
  /** The end is missing; absent: never. */
  readonly truncation?: number
  /** Larger packets do not come through; absent: all do. */
  readonly mtu?: number
  /** Each packet takes between these, in milliseconds; packets overtake each other when they differ. */
  readonly delay: readonly [least: number, most: number]
}

export const perfect: Conditions = { loss: 0, duplication: 0, corruption: 0, delay: [10, 10] }

/** Deterministic (mulberry32); a `Random` for the protocol as well. Never for real keys. */
export class SeededRandom {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

interface Flight {
  readonly at: number
  readonly to: Endpoint
  readonly packet: Uint8Array
}

export class VirtualNetwork {
  now = 0
  /** May be changed between runs: an outage is loss 1. */
  conditions: Conditions
  /** Packets that were put on the wire and did not come out as they went in. */
  readonly spoilt = { lost: 0, duplicated: 0, corrupted: 0, truncated: 0, tooLarge: 0 }
  readonly #random: SeededRandom
  readonly #a: Endpoint
  readonly #b: Endpoint
  #flights: Array<Flight> = []
  #tap: (from: Endpoint, packet: Uint8Array) => void = () => {}

  constructor(random: SeededRandom, conditions: Conditions, a: Endpoint, b: Endpoint) {
    this.#random = random
    this.conditions = conditions
    this.#a = a
    this.#b = b
  }

  /** Sees every packet as it is sent. */
  tap(listener: (from: Endpoint, packet: Uint8Array) => void): void {
    this.#tap = listener
  }

  /** Runs until `done`, or for `milliseconds` of virtual time. Whether `done` came true. */
  run(done: () => boolean, milliseconds: number): boolean {
    const end = this.now + milliseconds
    for (let step = 0; ; step++) {
      if (step > maxSteps) throw new Error(`no progress after ${maxSteps} events: some timer does not move on`)
      this.#send(this.#a, this.#b)
      this.#send(this.#b, this.#a)
      if (done()) return true
      const at = this.#next()
      if (at === undefined || at > end) {
        this.now = end
        return false
      }
      this.now = Math.max(this.now, at)
      this.#deliver()
      for (const endpoint of [this.#a, this.#b]) {
        const due = endpoint.nextTimeout()
        if (due !== undefined && due <= this.now) endpoint.timeout(this.now)
      }
    }
  }

  /** Lets `milliseconds` pass. */
  pass(milliseconds: number): void {
    this.run(() => false, milliseconds)
  }

  #send(from: Endpoint, to: Endpoint): void {
    for (let packet = from.outgoing(); packet !== undefined; packet = from.outgoing()) {
      this.#tap(from, packet)
      const { loss, duplication, corruption } = this.conditions
      if (this.#happens(loss)) {
        this.spoilt.lost++
        continue
      }
      if (packet.length > (this.conditions.mtu ?? Number.POSITIVE_INFINITY)) {
        this.spoilt.tooLarge++
        continue
      }
      this.#fly(to, this.#truncate(this.#happens(corruption) ? this.#corrupt(packet) : packet))
      if (!this.#happens(duplication)) continue
      this.spoilt.duplicated++
      this.#fly(to, packet)
    }
  }

  /** Draws even for 0, so that a change of one probability does not shift all other decisions. */
  #happens(probability: number): boolean {
    return this.#random.next() < probability
  }

  #fly(to: Endpoint, packet: Uint8Array): void {
    const [least, most] = this.conditions.delay
    const at = this.now + least + this.#random.next() * (most - least)
    const behind = this.#flights.findIndex((flight) => flight.at > at)
    this.#flights.splice(behind < 0 ? this.#flights.length : behind, 0, { at, to, packet: packet.slice() })
  }

  #corrupt(packet: Uint8Array): Uint8Array {
    this.spoilt.corrupted++
    const copy = packet.slice()
    const bit = this.#random.below(packet.length * 8)
    copy[bit >> 3] = copy[bit >> 3]! ^ (1 << (bit & 7))
    return copy
  }

  #truncate(packet: Uint8Array): Uint8Array {
    const { truncation } = this.conditions
    if (truncation === undefined || !this.#happens(truncation)) return packet
    this.spoilt.truncated++
    return packet.slice(0, this.#random.below(packet.length))
  }

  #next(): number | undefined {
    const times = [this.#flights[0]?.at, this.#a.nextTimeout(), this.#b.nextTimeout()]
    const known = times.filter((time) => time !== undefined)
    return known.length === 0 ? undefined : Math.min(...known)
  }

  #deliver(): void {
    while (this.#flights.length > 0 && this.#flights[0]!.at <= this.now) {
      const { to, packet } = this.#flights.shift()!
      to.receive(this.now, packet)
    }
  }
}

const maxSteps = 100_000

/** The seeds 1..count, or just CULVERT_SEED: how a failure is replayed. `CULVERT_SEEDS` is the count of long forms. */
export const seeds = (count: number): ReadonlyArray<number> => {
  const given = process.env.CULVERT_SEED
  return given === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(given)]
}

/** How many seeds a test takes that has a long form (`npm run simulate`, `npm run fuzz:protocol`): a `share` of CULVERT_SEEDS there. */
export const longForm = (sample: number, share = 1): number => {
  const given = process.env.CULVERT_SEEDS
  return given === undefined ? sample : Math.ceil(Number(given) * share)
}

/** Runs `body` for each seed; a failure names the seed and how to run it alone. */
export const forEachSeed = (count: number, body: (seed: number) => void): void => {
  for (const seed of seeds(count)) {
    try {
      body(seed)
    } catch (cause) {
      throw failedSeed(seed, cause)
    }
  }
}

/** The same with a `body` that waits. */
export const forEachSeedAsync = async (count: number, body: (seed: number) => Promise<void>): Promise<void> => {
  for (const seed of seeds(count)) {
    try {
      await body(seed)
    } catch (cause) {
      throw failedSeed(seed, cause)
    }
  }
}

const failedSeed = (seed: number, cause: unknown) =>
  new Error(`seed ${seed} failed (replay it with CULVERT_SEED=${seed}): ${cause}`, { cause })
