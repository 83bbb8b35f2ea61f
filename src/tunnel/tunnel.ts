/** The tunnel as one effect: device and network outlive connections, of which one is kept up. */
import { Effect, Layer } from "effect"
import type { Profile } from "../config/index.ts"
import { Ip, KillSwitch, Network } from "../network/index.ts"
import { Control } from "./control.ts"
import { DataPlane } from "./dataplane.ts"
import { TunDevice } from "./device.ts"
import { Dns } from "./dns.ts"
import { HostRefused } from "./errors.ts"
import { giveBack } from "./footprint.ts"
import { guard } from "./guard.ts"
import { keepRoutes } from "./keeproutes.ts"
import { keepUp } from "./keepup.ts"
import type { Pod } from "./pod.ts"
import { firstHop } from "./proxy.ts"
import { tellRaised } from "./raise.ts"
import { readyCheck } from "./readycheck.ts"
import { countRefused } from "./refused.ts"
import { type Configuration, type ConfigurationSource, reload } from "./reload.ts"
import { Resolver } from "./resolve.ts"
import { StatusRef } from "./status.ts"
import { supervised } from "./supervisor.ts"
import { Wishes } from "./wishes.ts"

/** `raise`, which may not have ended yet: until then nothing is sent, and no address or route is changed. */
type Raised = Effect.Effect<KillSwitch["Service"], HostRefused>

/**
 * Runs until there is nothing left to try; interrupting it disconnects, undoes the network and closes the device. The kill
 * switch stays.
 */
export const run = (configuration: Configuration, source: ConfigurationSource, pod: Pod, raised: Raised) =>
  Effect.gen(function* () {
    const plane = yield* DataPlane
    const device = yield* TunDevice
    const status = yield* StatusRef
    const killSwitch = yield* KillSwitch
    yield* status.update({ device: device.name, networkManaged: device.managed })
    yield* status.event("device_ready", `${device.type} device ${device.name} is open`, {
      facts: { device: device.name, managed: device.managed },
    })
    if (device.managed) yield* keepBeside
    yield* killSwitch.announce({ device: device.name, addresses: [] })
    const control = yield* Control
    const dns = yield* Dns
    const wishes = new Wishes()
    let { profile } = configuration
    const replace = (next: Profile) =>
      Effect.gen(function* () {
        profile = next
        yield* dns.useServers(serversOf(next))
        // Whoever paused the tunnel says when it goes on.
        if ((yield* status.get).phase !== "paused") yield* wishes.ask(profile)
      })
    const tunnel = Effect.suspend(() => {
      // It begins with what is wished for now.
      wishes.take()
      return keepUp(profile, wishes, pod.settings.connect)
    })
    return yield* Effect.raceAllFirst([
      control.obey(
        tunnel,
        Effect.suspend(() => wishes.ask(profile)),
      ),
      reload(source, configuration, replace),
      plane.lost,
      dns.lost,
      supervised("ready check", readyCheck(pod.settings.readyCheck)),
      supervised("counting of refused packets", countRefused),
      supervised("guard of the kill switch", guard),
      supervised("guard of the routes", keepRoutes),
      supervised("giving back of memory", giveBack),
    ]).pipe(
      Effect.onInterrupt(() =>
        Effect.andThen(
          status.update({ phase: "stopping" }),
          status.event("stopping", "stopping: undoing routes and addresses; the kill switch stays"),
        ),
      ),
    )
  }).pipe(Effect.provide(layer(configuration.profile, pod, raised)))

const serversOf = (profile: Profile) => profile.remotes.map((remote) => firstHop(remote).host)

/** Answers to whoever connects to the pod, and exceptions, have their routes before the tunnel takes the default route. */
const keepBeside = Effect.gen(function* () {
  const network = yield* Network
  const device = yield* TunDevice
  const status = yield* StatusRef
  const warnings = yield* network
    .fitPod(device.name)
    .pipe(Effect.mapError((error) => new HostRefused({ message: error.message })))
  for (const warning of warnings) yield* status.event("network_note", warning, { level: "Warn" })
})

const layer = (profile: Profile, pod: Pod, raised: Raised) =>
  (pod.managed ? Network.layer(pod.direct) : Network.layerObserver).pipe(
    Layer.provide(Ip.layer),
    Layer.provideMerge(
      Layer.effect(
        KillSwitch,
        Effect.tap(raised, (killSwitch) => tellRaised(killSwitch, pod)),
      ),
    ),
    Layer.provideMerge(TunDevice.layer(profile.device)),
    Layer.provideMerge(Resolver.layer),
    Layer.provideMerge(Layer.effect(Dns, Dns.start(pod, serversOf(profile)))),
  )
