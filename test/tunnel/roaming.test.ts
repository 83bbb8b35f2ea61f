import { expect } from "bun:test"
import { Effect, Queue } from "effect"
import { TestClock } from "effect/testing"
import { follow } from "../../src/tunnel/roaming.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"

it.effect("another address is told within a second, once; no way, or one into the tunnel, is no other address", () =>
  Effect.gen(function* () {
    const status = yield* StatusRef
    yield* status.update({ addresses: ["10.8.0.2/24"] })
    let source: string | undefined = "192.0.2.1"
    let roamed = 0
    const news = yield* Queue.unbounded<void>()
    yield* Effect.forkScoped(
      follow(
        () => "198.51.100.1",
        () => source,
        news,
        status,
        () => roamed++,
      ),
      { startImmediately: true },
    )
    for (const [next, expected] of [
      ["192.0.2.1", 0],
      [undefined, 0],
      ["10.8.0.2", 0],
      ["192.0.2.1", 0],
      ["192.0.2.7", 1],
      ["192.0.2.7", 1],
      ["192.0.2.1", 2],
    ] as const) {
      source = next
      yield* Queue.offer(news, undefined)
      yield* TestClock.adjust("1 second")
      expect(roamed).toBe(expected)
    }
    // Not everything is heard of.
    source = "192.0.2.7"
    yield* TestClock.adjust("11 seconds")
    expect(roamed).toBe(3)
    const { timeline } = yield* status.get
    expect(timeline.map(({ message }) => message)).toEqual([
      "packets to 198.51.100.1 leave from 192.0.2.7 now, no longer from 192.0.2.1",
      "packets to 198.51.100.1 leave from 192.0.2.1 now, no longer from 192.0.2.7",
      "packets to 198.51.100.1 leave from 192.0.2.7 now, no longer from 192.0.2.1",
    ])
  }).pipe(Effect.provide(StatusRef.layer)),
)
