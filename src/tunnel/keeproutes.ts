/**
 * A link of the pod that goes down, or loses its last address, takes the routes over it along, ours among them: the way to the
 * server, and what is reached beside the tunnel. They are set again as soon as the kernel takes them.
 */
import { Effect } from "effect"
import { closeFd, hasLinkChanged, links, openLinkWatch } from "../linux/index.ts"
import { Network } from "../network/index.ts"
import { TunDevice } from "./device.ts"

/** Never ends. */
export const keepRoutes = Effect.scoped(
  Effect.gen(function* () {
    const device = yield* TunDevice
    if (!device.managed) return yield* Effect.never
    const own = links().find(({ name }) => name === device.name)?.index ?? -1
    const watch = yield* Effect.acquireRelease(Effect.sync(openLinkWatch), (fd) => Effect.sync(() => closeFd(fd)))
    return yield* renewing(Effect.sync(() => hasLinkChanged(watch, own)))
  }),
)

/** `changed`: whether the kernel announced a change of a link of the pod's since it was asked last. */
export const renewing = Effect.fnUntraced(function* (changed: Effect.Effect<boolean>) {
  const network = yield* Network
  /** Looks until the next try after one that failed, and how many there were before it. */
  let left = Number.POSITIVE_INFINITY
  let pause = 0
  for (;;) {
    yield* Effect.sleep(interval)
    left--
    const isNews = yield* changed
    if (!isNews && left > 0) continue
    pause = isNews ? 1 : Math.min(2 * pause, longestPause)
    left = (yield* network.renewRoutes) ? Number.POSITIVE_INFINITY : pause
  }
})

const interval = "1 second"
/** Looks: a gateway that is gone for good costs next to nothing. */
const longestPause = 16
