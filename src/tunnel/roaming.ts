/**
 * The pod's address may change while a connection is up: another address on its device, or another way to the server. A UDP
 * connection goes on from the new one, because the server knows it by its peer id and not by where its packets come from.
 */
import { Effect, Queue, Result } from "effect"
import { routeTo, watchRouting } from "../linux/index.ts"
import { hearing } from "./hearing.ts"
import type { StatusRef } from "./status.ts"

type Status = StatusRef["Service"]

/** Never ends. `roam` is called when packets to the server would leave from another address of ours than before. */
export const roaming = (server: () => string, status: Status, roam: () => void) =>
  hearing<void, never, never>(
    (heard, failed) => watchRouting(undefined, heard, failed),
    (news) =>
      follow(server, () => Result.getOrUndefined(Result.try(() => routeTo(server())?.source)), news, status, roam),
  )

/**
 * Apart from `roaming` for tests. `source` undefined: no way leads there at the moment. `news`: something about the network of the
 * pod changed.
 */
export const follow = (
  server: () => string,
  source: () => string | undefined,
  news: Queue.Dequeue<void>,
  status: Status,
  roam: () => void,
): Effect.Effect<never> =>
  Effect.gen(function* () {
    let address = server()
    let before = source()
    for (;;) {
      // Policy rules change without being heard.
      yield* Effect.raceFirst(Queue.take(news), Effect.sleep(longestPause))
      yield* Effect.sleep(settling)
      yield* Queue.clear(news)
      const now = source()
      // The way to another server may begin at another address.
      if (address !== server()) {
        address = server()
        before = now
      }
      if (now === undefined || now === before) continue
      // A way that leads into the tunnel itself is none: the connection ends by its keepalive, and the next one finds another.
      const { addresses } = yield* status.get
      if (addresses.some((own) => own.split("/")[0] === now)) continue
      if (before !== undefined) {
        const message = `packets to ${address} leave from ${now} now, no longer from ${before}`
        yield* status.event("local_address_changed", message, { facts: { before, now } })
        roam()
      }
      before = now
    }
  })

/** A route that is replaced is away for a moment. */
const settling = "200 millis"
const longestPause = "10 seconds"
