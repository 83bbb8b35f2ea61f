/**
 * How long to wait before the next turn, as network cards moderate their interrupts: packets of a dense stream that come one by
 * one cost the kernel, and whoever gets them, a third less when a few of them are taken together. What counts is how dense they
 * come, not how soon one follows another: a conversation that waits for its answers is quick and never dense, and must not wait.
 * Packets that the tun gave in one piece have been gathered before. When they are most of it the others are acknowledgements, which
 * gain nothing by waiting, while whoever waits for them sends less evenly then, and less.
 */
export class Moderation {
  private lastTurn = 0
  private lastAll = 0
  private lastLone = 0
  private lastBytes = 0
  /** Of lone packets, per ms, over the last few of them. */
  private packetRate = 0
  private byteRate = 0
  /** ms; until then none. */
  private restUntil = 0

  /** Whether packets come so seldom that one had better not wait for a look for others. */
  get isCalm(): boolean {
    return this.packetRate < CALM
  }

  /**
   * Microseconds, after a turn that began at `now` (ms). `all` packets of both directions so far; of these `lone` ones with `bytes`
   * did not come from the tun in one piece with others.
   */
  pause(now: number, all: number, lone: number, bytes: number): number {
    const elapsed = now - this.lastTurn
    const taken = all - this.lastAll
    const takenAlone = lone - this.lastLone
    const span = Math.max(elapsed, MEMORY)
    const forgotten = Math.min(1, elapsed / MEMORY)
    this.packetRate += takenAlone / span - this.packetRate * forgotten
    this.byteRate += (bytes - this.lastBytes) / span - this.byteRate * forgotten
    this.lastTurn = now
    this.lastAll = all
    this.lastLone = lone
    this.lastBytes = bytes
    const isDense = this.byteRate + PACKET_WEIGHT * this.packetRate > DENSE
    if (!isDense || taken === 0 || taken >= FULL_BATCH || now < this.restUntil) return 0
    return Math.min(LONGEST, (1000 * GATHERED) / this.packetRate)
  }

  /** A pause lasted from `begin` to `now` (ms). Who sleeps where others want the processor too gets it back late: not again soon. */
  awoke(begin: number, now: number): void {
    if (now - begin > OVERSLEPT) this.restUntil = now + REST
  }
}

/** ms that a rate looks back. A burst, such as one answer of 64 KiB, is over before it looks dense. */
const MEMORY = 4
/** Packets per ms; a ping and its answer make less than one. */
const CALM = 2
/** Bytes per ms: 130 Mbit/s of full packets. */
const DENSE = 20_000
/** Bytes that a packet counts as besides its own: many small ones cost as much. */
const PACKET_WEIGHT = 300
/** So many packets at once lose nothing by coming alone; under full load there are always more. */
const FULL_BATCH = 32
/** Packets that a pause waits for. */
const GATHERED = 24
/** Microseconds: 500 saved little more than 300, which save half as much again as 100. */
const LONGEST = 300
/** ms: more than the longest pause takes on a processor that is free. */
const OVERSLEPT = 0.6
/** ms */
const REST = 10
