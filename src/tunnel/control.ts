/** What somebody outside may ask of a running tunnel: connect anew, pause, go on. */
import { Context, Effect, Layer, Queue } from "effect"
import { StatusRef } from "./status.ts"

export type Wish = "reconnect" | "pause" | "resume"

export class Control extends Context.Service<
  Control,
  {
    readonly ask: (wish: Wish) => Effect.Effect<void>
    /**
     * Runs the tunnel and does what is asked. A pause interrupts it, and later it begins anew; to reconnect is its own affair while
     * it runs. What it stands on (device, routes, kill switch) is not touched: while it is paused nothing leaves the pod beside it.
     */
    readonly obey: <E, R>(
      tunnel: Effect.Effect<never, E, R>,
      reconnect: Effect.Effect<void>,
    ) => Effect.Effect<never, E, R | StatusRef>
  }
>()("culvert/tunnel/Control") {
  static readonly layer = Layer.effect(
    Control,
    Effect.gen(function* () {
      const asked = yield* Queue.bounded<Wish>(16)
      return Control.of({
        ask: (wish) => Effect.asVoid(Queue.offer(asked, wish)),
        obey: Effect.fnUntraced(function* (tunnel, reconnect) {
          const status = yield* StatusRef
          const reconnecting = status.event("reconnecting", "connecting anew, as asked")
          const untilPause = Effect.gen(function* () {
            for (;;) {
              const wish = yield* other(asked, "resume")
              if (wish === "pause") {
                // Closing its links takes a moment, in which nobody shall take it for connected.
                yield* status.update({ phase: "paused", nextTry: undefined, lastError: undefined, handover: undefined })
                return
              }
              yield* reconnecting
              yield* reconnect
            }
          })
          for (;;) {
            yield* Effect.raceFirst(tunnel, untilPause)
            yield* status.event("paused", "paused, as asked: the tunnel is down and the kill switch stays")
            const wish = yield* other(asked, "pause")
            yield* wish === "resume" ? status.event("resumed", "going on, as asked") : reconnecting
            yield* status.update({ phase: "connecting" })
          }
        }),
      })
    }),
  )
}

/** The next wish that is not the one that holds already. */
const other = Effect.fnUntraced(function* (asked: Queue.Dequeue<Wish>, present: Wish) {
  for (;;) {
    const wish = yield* Queue.take(asked)
    if (wish !== present) return wish
  }
})
