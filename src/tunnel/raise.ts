/** The kill switch at the start: raised as the first thing of all, and told of when there is something to be told with. */
import { Effect } from "effect"
import { type FirewallError, KillSwitch, Nft } from "../network/index.ts"
import { HostRefused } from "./errors.ts"
import { initialFirewall, type Pod } from "./pod.ts"
import { StatusRef } from "./status.ts"

/** It stays when the scope ends; one that refuses nothing goes. */
export const raise = Effect.fnUntraced(function* (pod: Pod) {
  if (pod.managed) return yield* KillSwitch.raise(yield* initialFirewall(pod)).pipe(Effect.mapError(refused))
  if (pod.settings.killSwitch === "on") {
    return yield* new HostRefused({
      message:
        "CULVERT_KILL_SWITCH=on, and the right to set one is missing: it needs CAP_NET_ADMIN (securityContext.capabilities.add: [NET_ADMIN])",
    })
  }
  return KillSwitch.none
}, Effect.provide(Nft.layer))

export const tellRaised = Effect.fnUntraced(function* ({ state }: KillSwitch["Service"], pod: Pod) {
  const status = yield* StatusRef
  yield* status.update({ killSwitch: state })
  switch (state) {
    case "on":
      return yield* status.event(
        "kill_switch_on",
        "the kill switch is on: nothing leaves the pod but through the tunnel",
        { facts: { exceptions: pod.exceptions.map(({ network }) => network) } },
      )
    case "off":
      return yield* status.event("kill_switch_off", "the kill switch is off, as CULVERT_KILL_SWITCH says", {
        level: "Warn",
      })
    case "none":
      return yield* status.event(
        "kill_switch_none",
        "there is no kill switch: it needs CAP_NET_ADMIN; what the tunnel's routes do not cover leaves the pod beside it",
        { level: "Warn" },
      )
  }
})

const refused = (error: FirewallError) => new HostRefused({ message: error.message })
