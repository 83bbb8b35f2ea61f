/** The way to a server, or to what stands in for it, past the tunnel and through the kill switch. */
import { Effect } from "effect"
import { KillSwitch, Network, type NextHop } from "../network/index.ts"
import { TunDevice } from "./device.ts"
import { networkRefused } from "./network.ts"
import type { Address } from "./resolve.ts"
import type { Endpoint } from "./socket.ts"

/** Where packets are sent to: the server, its proxy, or the proxy's relay. */
export interface Peer {
  readonly address: Address
  readonly port: number
  /** How it is reached beside the tunnel. */
  readonly hop: NextHop | undefined
}

/** Until the scope ends the endpoint is reachable beside the tunnel. Returns the next hop to it, where one is known. */
export const allow = Effect.fnUntraced(function* ({
  transport,
  address,
  port,
}: Pick<Endpoint, "transport" | "address" | "port">) {
  const device = yield* TunDevice
  const network = yield* Network
  const killSwitch = yield* KillSwitch
  const hop = yield* network.reach(address, device.name)
  yield* killSwitch.server({ transport, address, port }).pipe(Effect.mapError(networkRefused))
  return hop
})
