/** What somebody outside may ask of a running tunnel: connect anew, pause, go on. */
import { Context, Effect, Layer, Queue } from "effect"
import { StatusRef } from "./status.ts"

export type Wish = "reconnect" | "pause" | "resume"

export class Control extends Context.Service<
  Control,
  {
    readonly ask: (wish: Wish) => Effect.Effect<void>
    /**
     * Runs the tunnel and does what is asked: to reconnect or to pause interrupts it, and it begins anew. What it stands on
     * (device, routes, kill switch) is not touched: while it is paused nothing leaves the pod beside it.
     */
    readonly obey: <E, R>(tunnel: Effect.Effect<never, E, R>) => Effect.Effect<never, E, R | StatusRef>
  }
>()("culvert/tunnel/Control") {
  static readonly layer = Layer.effect(
    Control,
    Effect.gen(function* () {
      const asked = yield* Queue.bounded<Wish>(16)
      return Control.of({
        ask: (wish) => Effect.asVoid(Queue.offer(asked, wish)),
        obey: Effect.fnUntraced(function* (tunnel) {
          const status = yield* StatusRef
          for (;;) {
            const wish = yield* Effect.raceFirst(tunnel, other(asked, "resume"))
            yield* status.update({ nextTry: undefined, lastError: undefined })
            if (wish === "pause") {
              yield* status.update({ phase: "paused" })
              yield* status.event("paused", "paused, as asked: the tunnel is down and the kill switch stays")
              yield* other(asked, "pause")
              yield* status.event("resumed", "going on, as asked")
            } else {
              yield* status.event("reconnecting", "connecting anew, as asked")
            }
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
