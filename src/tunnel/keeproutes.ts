/**
 * The pod's own network may change under a tunnel. Answers leave from the addresses and by the gateways that it has now. A link that
 * goes down, or loses its last address, takes the routes over it along, ours among them: they are set again as soon as the kernel
 * takes them.
 */
import { Effect, Result } from "effect"
import { closeFd, hasRoutingChanged, links, openRoutingWatch } from "../linux/index.ts"
import { Network, ours } from "../network/index.ts"
import { TunDevice } from "./device.ts"
import { StatusRef } from "./status.ts"

/** Never ends. */
export const keepRoutes = Effect.scoped(
  Effect.gen(function* () {
    const device = yield* TunDevice
    if (!device.managed) return yield* Effect.never
    const own = links().find(({ name }) => name === device.name)?.index ?? -1
    const watch = yield* Effect.acquireRelease(Effect.sync(openRoutingWatch), (fd) => Effect.sync(() => closeFd(fd)))
    return yield* renewing(
      device.name,
      Effect.sync(() => hasRoutingChanged(watch, own, ours.protocol)),
    )
  }),
)

/** `changed`: whether the kernel announced a change of the pod's network, but for that of `device`, since it was asked last. */
export const renewing = Effect.fnUntraced(function* (device: string, changed: Effect.Effect<boolean>) {
  const network = yield* Network
  const status = yield* StatusRef
  /** Looks until the next try after one that failed, and how many there were before it. */
  let left = Number.POSITIVE_INFINITY
  let pause = 0
  for (;;) {
    yield* Effect.sleep(interval)
    left--
    const isNews = yield* changed
    if (!isNews && left > 0) continue
    pause = isNews ? 1 : Math.min(2 * pause, longestPause)
    const fits = Result.isSuccess(yield* Effect.result(network.fitPod(device)))
    left = (yield* network.renewRoutes) && fits ? Number.POSITIVE_INFINITY : pause
    yield* status.update({ routes: yield* network.current })
  }
})

const interval = "1 second"
/** Looks: a gateway that is gone for good costs next to nothing. */
const longestPause = 16
