/** The tunnel as one effect: device and network outlive connections, the retry policy keeps one connection up. */
import { Effect, Layer } from "effect"
import type { Profile } from "../config/index.ts"
import { hasNetAdmin } from "../linux/index.ts"
import { Ip, Network } from "../network/index.ts"
import { connection } from "./connection.ts"
import { DataPlane } from "./dataplane.ts"
import { TunDevice } from "./device.ts"
import { Resolver } from "./resolve.ts"
import { retry } from "./retry.ts"
import { StatusRef } from "./status.ts"

/** Runs until there is nothing left to try; interrupting it disconnects, undoes the network and closes the device. */
export const run = (profile: Profile) =>
  Effect.gen(function* () {
    const plane = yield* DataPlane
    const device = yield* TunDevice
    const status = yield* StatusRef
    yield* status.update({ device: device.name, networkManaged: device.managed })
    yield* status.event("device_ready", `tun device ${device.name} is open`, {
      facts: { device: device.name, managed: device.managed },
    })
    return yield* Effect.raceFirst(
      retry(profile, (remote, address) => connection(profile, remote, address)),
      plane.lost,
    ).pipe(
      Effect.onInterrupt(() =>
        Effect.andThen(
          status.update({ phase: "stopping" }),
          status.event("stopping", "stopping: undoing routes and addresses"),
        ),
      ),
    )
  }).pipe(Effect.provide(layer(profile)))

const layer = (profile: Profile) =>
  Layer.unwrap(Effect.sync(() => (hasNetAdmin() ? Network.layer : Network.layerObserver))).pipe(
    Layer.provide(Ip.layer),
    Layer.provideMerge(TunDevice.layer(profile.device.name)),
    Layer.provideMerge(Resolver.layer),
  )
