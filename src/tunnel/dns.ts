/**
 * The pod's names: a forwarder on loopback that outlives connections, and the way queries come to it. By a redirect of port 53 that
 * the firewall does, or by /etc/resolv.conf.
 */
import { createSocket } from "node:dgram"
import { writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { Context, Effect, FiberHandle, FiberSet, type Scope } from "effect"
import { forwarding, originalOf, podNames, type TunnelNames } from "../network/index.ts"
import { counted, silentServers } from "./dns/check.ts"
import { Forwarder } from "./dns/forwarder.ts"
import { framed, frames } from "./dns/stream.ts"
import { makeAsk } from "./dns/upstream.ts"
import { HostRefused } from "./errors.ts"
import { forwarderPort, isLoopback, type Pod, readText, resolvConfPath } from "./pod.ts"
import { type Status, StatusRef } from "./status.ts"

export class Dns extends Context.Service<
  Dns,
  {
    /** While the scope is open names go to the tunnel's servers; after it they are refused at once. */
    readonly tunnel: (names: TunnelNames, search: ReadonlyArray<string>) => Effect.Effect<void, never, Scope.Scope>
    /** Other VPN servers than at the start have to be found from now on. */
    readonly useServers: (servers: ReadonlyArray<string>) => Effect.Effect<void>
    /** False: DNS is left alone. */
    readonly forwards: boolean
    /** Asked through the tunnel when the server names nobody. */
    readonly fallback: ReadonlyArray<string>
  }
>()("culvert/tunnel/Dns") {
  /** `servers`: the names of the VPN servers, which are looked up before there is a tunnel. */
  static readonly start = Effect.fnUntraced(function* (pod: Pod, servers: ReadonlyArray<string>) {
    const mode = pod.settings.dnsMode
    if (!pod.managed || mode === "off") return Dns.none
    const resolvConf = {
      ...pod.resolvConf,
      nameservers: pod.resolvConf.nameservers.filter((address) => !isLoopback(address)),
    }
    const status = yield* StatusRef
    const queries: Record<string, number> = {}
    yield* status.update({ dnsQueries: queries })
    const plainAsk = yield* makeAsk
    const ask = counted(plainAsk, queries)
    const names = (servers: ReadonlyArray<string>) => podNames(resolvConf, pod.settings.clusterDomains, servers)
    const forwarder = new Forwarder(names(servers), ask)
    const port = mode === "redirect" ? forwarderPort : 53
    yield* listen(forwarder, "127.0.0.1", port).pipe(Effect.mapError((error) => cannotListen(port, error)))
    // A pod without IPv6 has no such address, and no queries over it.
    yield* Effect.ignore(listen(forwarder, "::1", port))
    if (mode === "resolvconf") yield* useResolvConf
    /** A server may name others while the tunnel is up: only the last ones are watched. */
    const watching = yield* FiberHandle.make<never>()
    return Dns.of({
      forwards: true,
      fallback: pod.settings.dns,
      useServers: (others) =>
        Effect.sync(() => {
          forwarder.pod = names(others)
        }),
      tunnel: Effect.fnUntraced(function* (names, search) {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            forwarder.tunnel = names
          }),
          () =>
            Effect.sync(() => {
              forwarder.tunnel = undefined
            }),
        )
        if (mode === "resolvconf") yield* Effect.ignore(writeResolvConf(search))
        const servers = names.flatMap(({ servers }) => servers.map(({ address }) => address))
        yield* Effect.addFinalizer(() => status.update({ dns: { servers, ok: false, reason: "the tunnel is down" } }))
        yield* Effect.addFinalizer(() => FiberHandle.clear(watching))
        yield* FiberHandle.run(
          watching,
          watch(servers, silentServers(names, plainAsk), (dns) => status.update({ dns })),
        )
      }),
    })
  })

  static readonly none = Dns.of({
    forwards: false,
    fallback: [],
    useServers: () => Effect.void,
    tunnel: () => Effect.void,
  })
}

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

/** UDP and TCP on one address, until the scope ends. */
const listen = Effect.fnUntraced(function* (forwarder: Forwarder, address: string, port: number) {
  const run = yield* FiberSet.makeRuntime<never>()
  yield* Effect.acquireRelease(listenUdp(forwarder, address, port, run), (socket) => Effect.sync(() => socket.close()))
  yield* Effect.acquireRelease(listenTcp(forwarder, address, port, run), (server) => Effect.sync(() => server.close()))
})

type Fork = (effect: Effect.Effect<void>) => unknown

const listenUdp = (forwarder: Forwarder, address: string, port: number, run: Fork) =>
  Effect.callback<ReturnType<typeof createSocket>, Error>((resume) => {
    const socket = createSocket({ type: address.includes(":") ? "udp6" : "udp4", ipv6Only: true })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("message", (message, from) => {
      run(
        Effect.map(forwarder.handle(Uint8Array.from(message), false), (answer) => {
          if (answer !== undefined) socket.send(answer, from.port, from.address, () => {})
        }),
      )
    })
    socket.bind(port, address, () => resume(Effect.succeed(socket)))
  })

const listenTcp = (forwarder: Forwarder, address: string, port: number, run: Fork) =>
  Effect.callback<ReturnType<typeof createServer>, Error>((resume) => {
    const server = createServer((socket) => {
      const read = frames((message) => {
        run(
          Effect.map(forwarder.handle(message, true), (answer) => {
            if (answer !== undefined && socket.writable) socket.write(framed(answer))
          }),
        )
      })
      socket.on("error", () => {})
      socket.on("data", (chunk) => {
        if (typeof chunk === "string" || !read(chunk)) socket.destroy()
      })
      socket.setTimeout(idleLimit, () => socket.destroy())
    })
    server.maxConnections = mostConnections
    server.on("error", (error) => resume(Effect.fail(error)))
    server.listen(port, address, () => resume(Effect.succeed(server)))
  })

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

/** Milliseconds. */
const idleLimit = 10_000
const mostConnections = 100
