/** One attempt against a scripted server, in virtual time. */
import { Effect, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { type Profile, parse } from "../../src/config/index.ts"
import { KillSwitch, Network } from "../../src/network/index.ts"
import { crypto, TlsContext } from "../../src/openssl/index.ts"
import { makeAttempt, tellConnected, tellEnded } from "../../src/tunnel/connection.ts"
import { Credentials, credentialsFrom } from "../../src/tunnel/credentials.ts"
import { TunDevice } from "../../src/tunnel/device.ts"
import { Dns } from "../../src/tunnel/dns.ts"
import { Resolver } from "../../src/tunnel/resolve.ts"
import { serve } from "../../src/tunnel/serve.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { Authority, SERVER } from "../openssl/authority.ts"
import { SeededRandom } from "../support/network.ts"
import type { MemoryPlane } from "../support/plane.ts"
import { ScriptedServer, type ServerOptions } from "../support/server.ts"

const authority = new Authority()
const issued = authority.issue("server", "ec", SERVER)
const accepting = TlsContext.create({
  ca: authority.certificate,
  ...issued,
  minimum: "1.2",
  certProfile: "legacy",
  verify: () => undefined,
})
// What is needed of it is in memory now.
authority.remove()

export const pushReply =
  "PUSH_REPLY,topology subnet,ifconfig 10.8.0.2 255.255.255.0,route 10.9.0.0 255.255.0.0,peer-id 7,cipher AES-256-GCM"

export const server = (options: Partial<ServerOptions> = {}) =>
  new ScriptedServer({
    crypto,
    random: new SeededRandom(1),
    accept: () => accepting.accept(),
    wrapping: { _tag: "Plain" },
    auth: "SHA1",
    cipher: "AES-256-GCM",
    derivation: "prf",
    peerId: 7,
    push: [`${pushReply},ping 10,ping-restart 60`],
    unasked: true,
    optionsString: "V4,dev-type tun",
    stop: "never",
    payload: 1100,
    ...options,
  })

export const profile = (directives = ""): Profile => {
  const text = `client\ndev tun\nremote 192.0.2.1 1194\n<ca>\n${authority.certificate}</ca>\n<auth-user-pass>\nanna\ns3cret\n</auth-user-pass>\n${directives}\n`
  return Result.getOrThrowWith(
    parse(text, { file: "test.ovpn", read: () => Result.fail("no file") }),
    (diagnostics) => new Error(diagnostics.map((diagnostic) => diagnostic.message).join("\n")),
  ).profile
}

/** Lets time pass, then lets every fiber that is woken by it, and by what those do, run until all wait again. */
export const elapse = Effect.fnUntraced(function* (duration: Parameters<typeof TestClock.adjust>[0]) {
  yield* TestClock.adjust(duration)
  for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
})

/** Everything but the data plane and the session is a stand-in that remembers what it was asked. */
export const world = (plane: MemoryPlane) => {
  const applied: Array<string> = []
  const path: { bytes: number | undefined } = { bytes: undefined }
  const nameServers: Array<ReadonlyArray<string>> = []
  const layer = Layer.mergeAll(
    plane.layer,
    StatusRef.layer,
    Resolver.layer,
    Layer.succeed(KillSwitch, KillSwitch.none),
    Layer.succeed(
      Dns,
      Dns.of({
        ...Dns.none,
        tunnel: (names) =>
          Effect.sync(
            () => void nameServers.push(names.flatMap(({ servers }) => servers.map(({ address }) => address))),
          ),
      }),
    ),
    Layer.succeed(TunDevice, TunDevice.of({ name: "tun0", type: "tun", managed: true })),
    Layer.succeed(Credentials, credentialsFrom({ file: undefined, directory: "/nonexistent" })),
    Layer.succeed(
      Network,
      Network.of({
        direct: [],
        fitPod: () => Effect.succeed([]),
        converge: (changes) =>
          Effect.sync(() => void applied.push(...changes.map((change) => change.apply))).pipe(Effect.as([])),
        pathMtu: () => Effect.succeed(path.bytes),
        renewRoutes: Effect.succeed(true),
        setMtu: (device, mtu) => Effect.sync(() => void applied.push(`mtu ${device} ${mtu}`)),
        keep: (changes) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              applied.push(...changes.map((change) => `keep ${change.apply}`))
              return []
            }),
            () => Effect.sync(() => void applied.push(...changes.map((change) => `release ${change.apply}`))),
          ),
        reach: () => Effect.succeed({ device: "eth0", gateway: "10.0.0.1" }),
        facts: () => Effect.succeed({ gateway: { ipv4: undefined, ipv6: undefined }, addresses: [], routes: [] }),
        current: Effect.succeed([]),
      }),
    ),
  )
  return { applied, path, nameServers, layer }
}

export const address = { address: "192.0.2.1", family: "ipv4" } as const

/** One attempt in its own fiber, with the status beside it. */
export const attempt = (plane: MemoryPlane, file: Profile = profile()) =>
  Effect.gen(function* () {
    const { applied, path, nameServers, layer } = world(plane)
    const context = yield* Layer.build(layer)
    const served = Effect.gen(function* () {
      const attempt = yield* makeAttempt(file)
      const connection = yield* attempt([{ remote: file.remotes[0], address }])
      return yield* serve(connection, { hasFormer: false, onUp: tellConnected }).pipe(Effect.tapError(tellEnded))
    })
    const fiber = yield* Effect.forkScoped(Effect.scoped(served).pipe(Effect.provide(context)), {
      startImmediately: true,
    })
    const status = Effect.flatMap(StatusRef, (ref) => ref.get).pipe(Effect.provide(context))
    return { fiber, status, applied, path, nameServers }
  })

export const reasonOf = (fiber: Fiber.Fiber<never, { readonly reason: { readonly tag: string } }>) =>
  Effect.map(Effect.flip(Fiber.join(fiber)), (failed) => failed.reason)
