/**
 * The pod's address may change while a connection is up: another address on its device, or another way to the server. A UDP
 * connection goes on from the new one, because the server knows it by its peer id and not by where its packets come from.
 */
import { Effect, Result } from "effect"
import { routeTo } from "../linux/index.ts"
import type { StatusRef } from "./status.ts"

type Status = StatusRef["Service"]

/** Never ends. `roam` is called when packets to the server would leave from another address of ours than before. */
export const roaming = (server: () => string, status: Status, roam: () => void) =>
  follow(server, () => Result.getOrUndefined(Result.try(() => routeTo(server())?.source)), status, roam)

/** Apart from `roaming` for tests. `source` undefined: no way leads there at the moment. */
export const follow = (
  server: () => string,
  source: () => string | undefined,
  status: Status,
  roam: () => void,
): Effect.Effect<never> =>
  Effect.gen(function* () {
    let address = server()
    let before = source()
    for (;;) {
      yield* Effect.sleep(interval)
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

const interval = "1 second"
