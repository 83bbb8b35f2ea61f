import { expect, test } from "bun:test"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { History, makeLive } from "../../src/sidecar/live.ts"
import type { Status } from "../../src/tunnel/index.ts"
import { it } from "../support/effect.ts"
import { idle, world } from "./world.ts"

test("the history keeps the last points, oldest first", () => {
  const history = new History(3)
  expect(history.points()).toEqual([])
  for (const at of [1, 2]) history.add(at, 10 * at, 20 * at)
  expect(history.points()).toEqual([
    [1, 10, 20],
    [2, 20, 40],
  ])
  for (const at of [3, 4, 5]) history.add(at, 10 * at, 20 * at)
  expect(history.points().map(([at]) => at)).toEqual([3, 4, 5])
})

it.effect(
  "a reader gets history, timeline and status, then the status every second, and the timeline when it grew",
  () =>
    Effect.gen(function* () {
      let status: Status = idle
      const sources = { ...world({}), observe: () => ({ ...world({}).observe(), status }) }
      const live = yield* makeLive(sources)
      yield* Effect.forkScoped(live.sampling)
      const messages: Array<string> = []
      const names = () => messages.flatMap((text) => [...text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name!))
      yield* Effect.forkScoped(Stream.runForEach(live.read()!, (text) => Effect.sync(() => void messages.push(text))))
      const second = Effect.andThen(TestClock.adjust("1 second"), Effect.yieldNow.pipe(Effect.repeat({ times: 20 })))
      yield* second
      yield* second
      expect(names().slice(0, 3)).toEqual(["history", "timeline", "status"])
      expect(names().slice(3)).toContain("status")
      expect(names().slice(3)).not.toContain("timeline")
      status = { ...idle, timeline: [{ at: 7, event: "connected", message: "connected" }] }
      yield* second
      expect(names().slice(3)).toContain("timeline")
      const last = messages.at(-1)!
      expect(JSON.parse(/^event: status\ndata: (.*)$/m.exec(last)![1]!).timeline).toBeUndefined()
    }),
)

it.effect("only so many read at once, and one that leaves makes room", () =>
  Effect.gen(function* () {
    const live = yield* makeLive(world({}))
    const readers = Array.from({ length: 16 }, () => live.read()!)
    expect(live.read()).toBeUndefined()
    yield* Stream.runDrain(Stream.take(readers[0]!, 1))
    expect(live.read()).toBeDefined()
    expect(live.read()).toBeUndefined()
  }),
)
