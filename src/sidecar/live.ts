/**
 * What the page shows while it is open: the throughput of the last ten minutes, then every second the status, and the timeline
 * when it grew. Encoded once a second for all readers, and only while there is one.
 */
import { Effect, PubSub, Stream } from "effect"
import type { Observation } from "./health.ts"
import { type Check, readiness } from "./health.ts"

export interface LiveSources {
  readonly observe: () => Observation
  readonly counters: () => Readonly<Record<string, number>>
}

export interface Live {
  /** Server-sent events; undefined when there are too many readers. */
  readonly read: () => Stream.Stream<string> | undefined
  /** Never ends: without it there is nothing new to read. */
  readonly sampling: Effect.Effect<never>
}

export const makeLive = Effect.fnUntraced(function* (sources: LiveSources) {
  const history = new History(historyLength)
  // A reader that is slow skips seconds; it never holds up the others.
  const seconds = yield* PubSub.sliding<string>(2)
  let readers = 0
  let told: number | undefined

  const sample = () => {
    const counters = sources.counters()
    history.add(Date.now(), counters.tunReadBytes ?? 0, counters.tunWriteBytes ?? 0)
    if (readers === 0) return
    const message = present(sources)
    const last = sources.observe().status.timeline.at(-1)?.at
    PubSub.publishUnsafe(seconds, last === told ? message : message + timeline(sources))
    told = last
  }
  sample()

  const read: Live["read"] = () => {
    if (readers >= mostReaders) return undefined
    readers++
    const first = `event: history\ndata: ${JSON.stringify(history.points())}\n\n${timeline(sources)}${present(sources)}`
    return Stream.concat(Stream.make(first), Stream.fromPubSub(seconds)).pipe(
      Stream.ensuring(
        Effect.sync(() => {
          readers--
        }),
      ),
    )
  }
  const live: Live = { read, sampling: Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.sync(sample))) }
  return live
})

/** What `/status` answers, and the page's `status` message without the timeline. */
export const describe = (sources: LiveSources) => {
  const seen = sources.observe()
  return { ...seen.status, checks: readiness(seen) satisfies ReadonlyArray<Check>, counters: sources.counters() }
}

const present = (sources: LiveSources): string => {
  const { timeline: _, ...status } = describe(sources)
  return `event: status\ndata: ${JSON.stringify({ at: Date.now(), ...status })}\n\n`
}

const timeline = (sources: LiveSources): string =>
  `event: timeline\ndata: ${JSON.stringify(sources.observe().status.timeline)}\n\n`

/** The last so many samples of three numbers, in one piece of memory. */
export class History {
  readonly #samples: Float64Array
  #count = 0

  constructor(length: number) {
    this.#samples = new Float64Array(3 * length)
  }

  /** Unix milliseconds, bytes read from and written to tun since the start. */
  add(at: number, sent: number, received: number): void {
    this.#samples.set([at, sent, received], (3 * this.#count++) % this.#samples.length)
  }

  /** Oldest first. */
  points(): ReadonlyArray<ReadonlyArray<number>> {
    const length = this.#samples.length / 3
    const first = Math.max(0, this.#count - length)
    return Array.from({ length: this.#count - first }, (_, index) => {
      const at = 3 * ((first + index) % length)
      return [...this.#samples.subarray(at, at + 3)]
    })
  }
}

/** Seconds, and one more point than that, because rates are differences. */
const historyLength = 601

const mostReaders = 16
