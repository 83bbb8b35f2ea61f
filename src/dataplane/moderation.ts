/**
 * Whether to wait a moment before the next turn, as network cards moderate their interrupts: packets that come in quick
 * succession but one by one cost the kernel, and whoever gets them, a third less when a few of them are taken together. A lone
 * packet never waits, nor does one of a conversation that waits for its answers, and under full load a batch is always there.
 */
export class Moderation {
  private lastTurn = 0
  private lastPackets = 0
  private quickTurns = 0

  /** Whether packets come so seldom that one had better not wait for a look for others. */
  get isCalm(): boolean {
    return this.quickTurns <= CALM
  }

  /** After a turn that began at `now` (ms); `packets` is the count of all packets so far, of both directions. */
  shouldPause(now: number, packets: number): boolean {
    const taken = packets - this.lastPackets
    const isQuick = now - this.lastTurn < QUICK_TURN && taken > 0 && taken < SMALL_BATCH
    this.quickTurns = isQuick ? Math.min(this.quickTurns + 1, 2 * QUICK_TURNS) : Math.max(0, this.quickTurns - CALM)
    this.lastTurn = now
    this.lastPackets = packets
    return isQuick && this.quickTurns > QUICK_TURNS
  }
}

/** Microseconds. */
export const PAUSE = 100

/** ms between two turns: the pause, and what a small batch takes. */
const QUICK_TURN = 0.4
const SMALL_BATCH = 32
/** More turns in quick succession than a short exchange has. */
const QUICK_TURNS = 16
/** Quick turns that one moment of calm outweighs: a stream has gaps, and is one still after them. */
const CALM = 4
