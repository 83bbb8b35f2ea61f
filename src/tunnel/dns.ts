/** The pod's names as a service. What carries it out is loaded where DNS is not left alone. */
import { Context, Effect, type Scope } from "effect"
import type { TunnelNames } from "../network/index.ts"
import type { KeepsCrashing } from "./errors.ts"
import type { Pod } from "./pod.ts"

export class Dns extends Context.Service<
  Dns,
  {
    /** While the scope is open names go to the tunnel's servers, to those of the last call; after it they are refused at once. */
    readonly tunnel: (names: TunnelNames, search: ReadonlyArray<string>) => Effect.Effect<void, never, Scope.Scope>
    /** Other VPN servers than at the start have to be found from now on. */
    readonly useServers: (servers: ReadonlyArray<string>) => Effect.Effect<void>
    /** While the scope is open these names are looked up beside the tunnel as well. */
    readonly beside: (names: ReadonlyArray<string>) => Effect.Effect<void, never, Scope.Scope>
    /** False: DNS is left alone. */
    readonly forwards: boolean
    /** Asked through the tunnel when the server names nobody. */
    readonly fallback: ReadonlyArray<string>
    /** Never succeeds; fails when a forwarder that crashes has been started again too often. */
    readonly lost: Effect.Effect<never, KeepsCrashing>
  }
>()("culvert/tunnel/Dns") {
  /** `servers`: the names of the VPN servers, which are looked up before there is a tunnel. */
  static readonly start = Effect.fnUntraced(function* (pod: Pod, servers: ReadonlyArray<string>) {
    if (!pod.managed || pod.settings.dnsMode === "off") return Dns.none
    const { forward } = yield* Effect.promise(() => import("./dns/forward.ts"))
    return Dns.of(yield* forward(pod, servers))
  })

  static readonly none = Dns.of({
    forwards: false,
    fallback: [],
    lost: Effect.never,
    useServers: () => Effect.void,
    beside: () => Effect.void,
    tunnel: () => Effect.void,
  })
}
