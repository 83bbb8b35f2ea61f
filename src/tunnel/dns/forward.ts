/**
 * A forwarder on loopback that outlives connections, and the way the pod's queries come to it. By a redirect of port 53 that the
 * firewall does, or by /etc/resolv.conf.
 */
import { writeFileSync } from "node:fs"
import { Effect, FiberHandle } from "effect"
import { forwarding, originalOf, podNames, type TunnelNames } from "../../network/index.ts"
import type { Dns } from "../dns.ts"
import { HostRefused } from "../errors.ts"
import { forwarderPort, isLoopback, type Pod, readText, resolvConfPath } from "../pod.ts"
import { type Status, StatusRef } from "../status.ts"
import { startSupervised } from "../supervisor.ts"
import { counted, silentServers } from "./check.ts"
import { Forwarder } from "./forwarder.ts"
import { listen } from "./listen.ts"
import { makeAsk } from "./upstream.ts"

/** `servers`: as for `Dns.start`. */
export const forward = Effect.fnUntraced(function* (
  { settings, resolvConf: found }: Pod,
  servers: ReadonlyArray<string>,
) {
  const mode = settings.dnsMode
  const resolvConf = { ...found, nameservers: found.nameservers.filter((address) => !isLoopback(address)) }
  const status = yield* StatusRef
  const queries: Record<string, number> = {}
  yield* status.update({ dnsQueries: queries })
  const plainAsk = yield* makeAsk
  const ask = counted(plainAsk, queries)
  let bootstrap = servers
  let alsoBeside: ReadonlyArray<string> = []
  const names = () => podNames(resolvConf, settings.clusterDomains, [...bootstrap, ...alsoBeside])
  const usePod = () => {
    pod = names()
    forwarder.pod = pod
  }
  const port = mode === "redirect" ? forwarderPort : 53
  // What a forwarder that replaces a crashed one has to know.
  let pod = names()
  let tunnel: TunnelNames | undefined
  let forwarder = new Forwarder(pod, ask)
  const start = Effect.gen(function* () {
    forwarder = new Forwarder(pod, ask)
    forwarder.tunnel = tunnel
    const running = yield* listen(forwarder, "127.0.0.1", port).pipe(
      Effect.mapError((error) => cannotListen(port, error)),
    )
    // A pod without IPv6 has no such address, and no queries over it.
    const runningIpv6 = yield* Effect.orElseSucceed(listen(forwarder, "::1", port), () => Effect.never)
    return Effect.raceFirst(running, runningIpv6)
  })
  const lost = yield* startSupervised("DNS forwarder", start)
  if (mode === "resolvconf") yield* useResolvConf
  /** A server may name others while the tunnel is up: only the last ones are watched. */
  const watching = yield* FiberHandle.make<never>()
  return {
    forwards: true,
    fallback: settings.dns,
    lost,
    useServers: (others) =>
      Effect.sync(() => {
        bootstrap = others
        usePod()
      }),
    beside: (more) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          alsoBeside = more
          usePod()
        }),
        () =>
          Effect.sync(() => {
            alsoBeside = []
            usePod()
          }),
      ),
    tunnel: Effect.fnUntraced(function* (names, search) {
      const servers = names.flatMap(({ servers }) => servers.map(({ address }) => address))
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          tunnel = names
          forwarder.tunnel = names
        }),
        () =>
          Effect.gen(function* () {
            // Another connection may have taken over, with names of its own.
            if (tunnel !== names) return
            tunnel = undefined
            forwarder.tunnel = undefined
            yield* FiberHandle.clear(watching)
            yield* status.update({ dns: { servers, ok: false, reason: "the tunnel is down" } })
          }),
      )
      if (mode === "resolvconf") yield* Effect.ignore(writeResolvConf(search))
      yield* FiberHandle.run(
        watching,
        watch(servers, silentServers(names, plainAsk), (dns) => status.update({ dns })),
      )
    }),
  } satisfies Dns["Service"]
})

/** Never ends. One lost datagram does not take a pod out of its Service: servers that answered may fail twice. */
const watch = Effect.fnUntraced(function* (
  servers: ReadonlyArray<string>,
  silent: Effect.Effect<string | undefined>,
  tell: (dns: NonNullable<Status["dns"]>) => Effect.Effect<void>,
) {
  for (let failures = failuresInARow; ; ) {
    const reason = yield* silent
    failures = reason === undefined ? 0 : failures + 1
    const answering = servers.length === 0 ? "the server names none" : `${servers.join(", ")} answers`
    yield* tell({ servers, ok: failures < failuresInARow, reason: reason ?? answering })
    yield* Effect.sleep(failures < failuresInARow ? "10 seconds" : "500 millis")
  }
})

const failuresInARow = 3

const cannotListen = (port: number, error: Error) =>
  new HostRefused({
    message: `listening for DNS queries on 127.0.0.1:${port}: ${error.message}; ${
      port === 53
        ? "port 53 needs CAP_NET_BIND_SERVICE and must be free; CULVERT_DNS_MODE=redirect needs neither"
        : "another process has the port; CULVERT_DNS_MODE=off leaves DNS alone"
    }`,
  })

const useResolvConf = Effect.acquireRelease(writeResolvConf([]), () =>
  Effect.ignore(
    Effect.try(() => {
      const original = originalOf(readText(resolvConfPath))
      if (original !== undefined) writeFileSync(resolvConfPath, original)
    }),
  ),
)

/** In place: the file is a mount point in a pod, so it cannot be replaced by another. */
function writeResolvConf(search: ReadonlyArray<string>) {
  return Effect.try({
    try: () => writeFileSync(resolvConfPath, forwarding(readText(resolvConfPath), "127.0.0.1", search)),
    catch: (error) =>
      new HostRefused({
        message: `writing ${resolvConfPath}: ${(error as { readonly code?: string }).code ?? String(error)}; a read-only root file system makes it read-only: CULVERT_DNS_MODE=redirect does without it`,
      }),
  })
}
