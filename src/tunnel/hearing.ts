/** Parts that wait for what the kernel announces: a process that has nothing to do need not wake to look. */
import { Effect, Queue } from "effect"
import type { Watch } from "../linux/index.ts"

/** Runs `part` with all that a watch hears. Never ends; a watch that fails is a crash of the part. */
export const hearing = <A, E, R>(
  open: (heard: (news: A) => void, failed: (error: unknown) => void) => Watch,
  part: (news: Queue.Dequeue<A>) => Effect.Effect<never, E, R>,
): Effect.Effect<never, E, R> =>
  Effect.gen(function* () {
    const news = yield* Queue.unbounded<A>()
    const listening = Effect.callback<never>((resume) => {
      const watch = open(
        (heard) => Queue.offerUnsafe(news, heard),
        (error) => resume(Effect.die(error)),
      )
      return Effect.sync(() => watch.close())
    })
    return yield* Effect.raceFirst(listening, part(news))
  })
