/** The network part of a connection: from profile and push to a plan, and the plan to the host. */
import { Effect, Result } from "effect"
import type { Profile } from "../config/index.ts"
import { type Change, KillSwitch, Network, namesIn, planNetwork, searchDomains, tunnelNames } from "../network/index.ts"
import { TunDevice } from "./device.ts"
import { Dns } from "./dns.ts"
import { AttemptFailed } from "./errors.ts"
import type { Peer } from "./reach.ts"
import { Resolver } from "./resolve.ts"
import { StatusRef } from "./status.ts"

/**
 * Makes the host's network what file and push say. Returns the tunnel's addresses; nothing is applied when there is a conflict.
 * `hasFormer`: there are connections that use other addresses of the tunnel still.
 */
export const applyNetwork = Effect.fnUntraced(function* (
  profile: Profile,
  options: Profile["network"],
  mtu: number,
  peer: Peer,
  hasFormer: boolean,
) {
  const device = yield* TunDevice
  const network = yield* Network
  const status = yield* StatusRef
  const dns = yield* Dns
  const names = tunnelNames(options, dns.fallback)
  const host = yield* network.facts(device.name)
  const input = {
    device: device.name,
    isEthernet: device.type === "tap",
    mtu,
    options,
    hasFormer: hasFormer && !profile.ifconfigNoexec,
    server: { address: peer.address.address, via: peer.hop },
    host,
    exceptions: network.direct,
    names: yield* Effect.scoped(lookUp(namesIn(options))),
    resolvers: dns.forwards ? names.flatMap(({ servers }) => servers.map(({ address }) => address)) : [],
    leave: { addresses: profile.ifconfigNoexec, routes: profile.routeNoexec },
  }
  const plan = planNetwork(input)
  if (plan.conflict !== undefined) {
    return yield* networkRefused({ message: plan.conflict })
  }
  for (const note of plan.notes) yield* status.event("network_note", note, { level: "Warn" })
  if (!device.managed) {
    yield* status.event(
      "network_unmanaged",
      `without CAP_NET_ADMIN addresses and routes are the administrator's to set: ${plan.changes.map((change) => `ip ${change.apply}`).join("; ")}`,
      { level: "Warn" },
    )
    return plan.addresses
  }
  const killSwitch = yield* KillSwitch
  yield* killSwitch
    .tunnel({
      device: device.name,
      addresses: plan.addresses,
      allowsServers: profile.allowRecursiveRouting,
      blocksIpv6: options.blockIpv6,
    })
    .pipe(Effect.mapError(networkRefused))
  const changed = yield* network.fitPod(device.name).pipe(Effect.mapError(networkRefused))
  const bare = planNetwork({ ...input, leave: { ...input.leave, routes: true } })
  yield* delayed(options.routeDelay ?? 0, bare.changes, device.name).pipe(Effect.mapError(networkRefused))
  const warnings = yield* network.converge(plan.changes).pipe(Effect.mapError(networkRefused))
  for (const warning of [...changed, ...warnings]) yield* status.event("network_note", warning, { level: "Warn" })
  yield* dns.tunnel(names, searchDomains(options))
  if (dns.forwards && !names.some(({ domains }) => domains.length === 0)) {
    yield* status.event(
      "dns_no_server",
      "the server names no DNS server for all names: those outside of the cluster are refused; CULVERT_DNS=ADDRESS names one to ask through the tunnel",
      { level: "Warn" },
    )
  }
  return plan.addresses
})

/** `route-delay`: what comes before the routes, and a wait. Where routes of an earlier connection stand there is none. */
const delayed = Effect.fnUntraced(function* (seconds: number, before: ReadonlyArray<Change>, device: string) {
  const network = yield* Network
  const current = yield* network.current
  if (seconds === 0 || current.some((line) => line.startsWith("route ") && line.includes(` dev ${device} `))) return
  yield* network.converge(before)
  yield* Effect.sleep(seconds * 1000)
})

/**
 * The addresses of host names in routes; a name without any is left out, and the plan says so. They are looked up as the servers'
 * names are, beside the tunnel: its own name servers may be reachable by these routes alone.
 */
const lookUp = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
  const resolver = yield* Resolver
  const killSwitch = yield* KillSwitch
  const dns = yield* Dns
  const found = new Map<string, ReadonlyArray<string>>()
  if (names.length > 0) yield* dns.beside(names)
  for (const name of names) {
    const addresses = yield* Effect.result(killSwitch.resolving(resolver.resolve(name, "ipv4")))
    if (Result.isSuccess(addresses))
      found.set(
        name,
        addresses.success.map(({ address }) => address),
      )
  }
  return found
})

/** The host would not have it. The next server may push something else. */
export const networkRefused = ({ message }: { readonly message: string }) =>
  new AttemptFailed({ reason: { tag: "NetworkRefused", retry: "advance", message }, established: false })
