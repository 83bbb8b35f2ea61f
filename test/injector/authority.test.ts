/** The webhook's own CA against an API server in memory, in virtual time. */
import { expect } from "bun:test"
import { X509Certificate } from "node:crypto"
import { Effect, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { ownAuthority } from "../../src/injector/authority.ts"
import { type KubeApi, KubeError } from "../../src/injector/kubeapi.ts"
import { it } from "../support/effect.ts"

const places = { namespace: "culvert-system", service: "culvert-injector", secret: "ca", webhook: "culvert-injector" }

/** One Secret and one webhook configuration, with versions that must match. */
const makeCluster = () => {
  const cluster = {
    version: 1,
    data: {} as Record<string, string>,
    caBundle: undefined as string | undefined,
    patches: 0,
    down: false,
    /** Called before the next write of the Secret: somebody else is faster. */
    rival: undefined as (() => void) | undefined,
  }
  const refuse = (status: number) => Effect.fail(new KubeError({ message: `status ${status}`, status }))
  const api: KubeApi = {
    request: (method, path, content) =>
      Effect.suspend((): Effect.Effect<unknown, KubeError> => {
        if (cluster.down) return refuse(503)
        if (path.endsWith("/secrets/ca")) {
          if (method === "PUT") {
            cluster.rival?.()
            cluster.rival = undefined
            const { metadata, data } = content!.value as {
              readonly metadata: { readonly resourceVersion: string }
              readonly data: Record<string, string>
            }
            if (metadata.resourceVersion !== String(cluster.version)) return refuse(409)
            cluster.version++
            cluster.data = data
          }
          return Effect.succeed({ metadata: { resourceVersion: String(cluster.version) }, data: cluster.data })
        }
        if (!path.endsWith("/mutatingwebhookconfigurations/culvert-injector")) return refuse(404)
        if (method === "PATCH") {
          cluster.patches++
          for (const { op, path, value } of content!.value as ReadonlyArray<Record<string, string>>)
            if (op === "add" && path === "/webhooks/0/clientConfig/caBundle") cluster.caBundle = value
        }
        const caBundle = cluster.caBundle === undefined ? {} : { caBundle: cluster.caBundle }
        return Effect.succeed({
          webhooks: [{ name: "inject.culvert.dev", clientConfig: { service: {}, ...caBundle } }],
        })
      }),
  }
  const bundle = () =>
    Buffer.from(cluster.caBundle ?? "", "base64")
      .toString()
      .match(/-----BEGIN[\s\S]*?END CERTIFICATE-----/g)!
      .map((pem) => new X509Certificate(pem))
  return { cluster, api, bundle }
}

type Source = Effect.Success<ReturnType<typeof ownAuthority>>
const leafOf = (source: Source) =>
  Effect.map(SubscriptionRef.get(source.current), ({ certificate }) => new X509Certificate(certificate))
const trusted = (leaf: X509Certificate, authorities: ReadonlyArray<X509Certificate>) =>
  authorities.some((authority) => leaf.verify(authority.publicKey))

it.effect("it makes a CA, writes it into the configuration and serves a leaf for the Service's name", () =>
  Effect.gen(function* () {
    const { api, bundle } = makeCluster()
    const leaf = yield* leafOf(yield* ownAuthority(api, places))
    expect(leaf.checkHost("culvert-injector.culvert-system.svc")).toBeDefined()
    expect(bundle()).toHaveLength(1)
    expect(trusted(leaf, bundle())).toBe(true)
  }),
)

it.effect(
  "for thirteen months every leaf is valid and trusted at every time, also while the CA changes",
  () =>
    Effect.gen(function* () {
      const { cluster, api, bundle } = makeCluster()
      const source = yield* ownAuthority(api, places, "4 hours")
      yield* Effect.forkScoped(source.watch, { startImmediately: true })
      const authorities = new Set<string>()
      const leaves = new Set<string>()
      let both = 0
      for (let hour = 4; hour <= 395 * 24; hour += 4) {
        yield* TestClock.adjust("4 hours")
        const leaf = yield* leafOf(source)
        expect(Date.parse(leaf.validFrom)).toBeLessThan(hour * 3_600_000)
        expect(Date.parse(leaf.validTo)).toBeGreaterThan(hour * 3_600_000)
        expect(trusted(leaf, bundle())).toBe(true)
        authorities.add(cluster.data["ca.crt"]!)
        leaves.add(leaf.serialNumber)
        if (bundle().length === 2) both++
      }
      expect(authorities.size).toBe(2)
      expect(both).toBe(12)
      expect(leaves.size).toBeGreaterThan(395)
    }),
  20_000,
)

it.effect("a leaf of a new CA is shown only a round after the bundle had it", () =>
  Effect.gen(function* () {
    const { cluster, api, bundle } = makeCluster()
    const source = yield* ownAuthority(api, places)
    yield* Effect.forkScoped(source.watch, { startImmediately: true })
    const before = yield* leafOf(source)
    const { api: otherApi, cluster: other } = makeCluster()
    yield* ownAuthority(otherApi, places)
    cluster.data = { ...other.data, "previous.crt": cluster.data["ca.crt"]! }
    yield* TestClock.adjust("1 minute")
    expect(bundle()).toHaveLength(2)
    expect((yield* leafOf(source)).serialNumber).toBe(before.serialNumber)
    yield* TestClock.adjust("1 minute")
    const after = yield* leafOf(source)
    expect(after.serialNumber).not.toBe(before.serialNumber)
    expect(after.verify(bundle()[0]!.publicKey)).toBe(true)
  }),
)

it.effect("of two replicas that start together one writes the CA and both use it", () =>
  Effect.gen(function* () {
    const { cluster, api, bundle } = makeCluster()
    const { api: rivalApi, cluster: rival } = makeCluster()
    yield* ownAuthority(rivalApi, places)
    cluster.rival = () => {
      cluster.version++
      cluster.data = rival.data
    }
    const leaf = yield* leafOf(yield* ownAuthority(api, places))
    expect(cluster.data).toEqual(rival.data)
    expect(trusted(leaf, bundle())).toBe(true)
  }),
)

it.effect("a bundle that somebody emptied is written again, and only then", () =>
  Effect.gen(function* () {
    const { cluster, api, bundle } = makeCluster()
    const source = yield* ownAuthority(api, places)
    yield* Effect.forkScoped(source.watch, { startImmediately: true })
    yield* TestClock.adjust("10 minutes")
    expect(cluster.patches).toBe(1)
    cluster.caBundle = undefined
    yield* TestClock.adjust("1 minute")
    expect(bundle()).toHaveLength(1)
    expect(cluster.patches).toBe(2)
  }),
)

it.effect("while the API server is away the leaf stays; without it there is no start", () =>
  Effect.gen(function* () {
    const { cluster, api } = makeCluster()
    const source = yield* ownAuthority(api, places)
    yield* Effect.forkScoped(source.watch, { startImmediately: true })
    const before = yield* leafOf(source)
    cluster.down = true
    yield* TestClock.adjust("2 hours")
    expect((yield* leafOf(source)).serialNumber).toBe(before.serialNumber)
    cluster.down = false
    yield* TestClock.adjust("15 hours")
    expect((yield* leafOf(source)).serialNumber).not.toBe(before.serialNumber)
    cluster.down = true
    expect((yield* Effect.flip(ownAuthority(api, places))).message).toContain("own certificate")
  }),
)
