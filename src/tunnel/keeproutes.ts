/**
 * The pod's own network may change under a tunnel. Answers leave from the addresses and by the gateways that it has now. A link that
 * goes down, or loses its last address, takes the routes over it along, ours among them: they are set again as soon as the kernel
 * takes them.
 */
import { Effect, Queue, Result } from "effect"
import { links, watchRouting } from "../linux/index.ts"
import { Network, ours } from "../network/index.ts"
import { TunDevice } from "./device.ts"
import { hearing } from "./hearing.ts"
import { StatusRef } from "./status.ts"

/** Never ends. */
export const keepRoutes = Effect.gen(function* () {
  const device = yield* TunDevice
  if (!device.managed) return yield* Effect.never
  const link = links().find(({ name }) => name === device.name)?.index ?? -1
  return yield* hearing<void, never, Network | StatusRef>(
    (heard, failed) => watchRouting({ link, protocol: ours.protocol }, heard, failed),
    (news) => renewing(device.name, news),
  )
})

/** `news`: the kernel announced a change of the pod's network, but for that of `device`. */
export const renewing = Effect.fnUntraced(function* (device: string, news: Queue.Dequeue<void>) {
  const network = yield* Network
  const status = yield* StatusRef
  const heard = Effect.as(Queue.take(news), true)
  /** Seconds until the next try after one that failed, or 0. */
  let pause = 0
  for (;;) {
    const isNews = yield* pause === 0 ? heard : Effect.raceFirst(heard, Effect.as(Effect.sleep(pause * 1000), false))
    // What changes together is answered together.
    if (isNews) yield* Effect.sleep(settling)
    yield* Queue.clear(news)
    const fits = Result.isSuccess(yield* Effect.result(network.fitPod(device)))
    if ((yield* network.renewRoutes) && fits) pause = 0
    else pause = isNews ? 1 : Math.min(2 * pause, longestPause)
    yield* status.update({ routes: yield* network.current })
  }
})

const settling = "200 millis"
/** Seconds: a gateway that is gone for good costs next to nothing. */
const longestPause = 16
