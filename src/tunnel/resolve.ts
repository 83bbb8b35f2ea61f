/** Host names of remotes to addresses, in the resolver's order. */
import { Context, Data, Effect, Layer } from "effect"
import { isIpv4, isIpv6 } from "../config/address.ts"
import type { Remote } from "../config/index.ts"

export interface Address {
  readonly address: string
  readonly family: "ipv4" | "ipv6"
}

export class ResolveError extends Data.TaggedError("ResolveError")<{ readonly host: string; readonly reason: string }> {
  override get message() {
    return `resolving ${this.host}: ${this.reason}`
  }
}

export class Resolver extends Context.Service<
  Resolver,
  {
    /**
     * At least one address. A name that resolved before keeps its last addresses while the resolver does not answer.
     * `fresh`: with random characters before it, which no cache knows (`remote-random-hostname`).
     */
    readonly resolve: (
      host: string,
      family: Remote["family"],
      fresh?: boolean,
    ) => Effect.Effect<ReadonlyArray<Address>, ResolveError>
  }
>()("culvert/tunnel/Resolver") {
  static readonly layer = Resolver.layerOver(systemLookup)

  /** Apart from `layer` for tests. */
  static layerOver(ask: Lookup): Layer.Layer<Resolver> {
    return Layer.sync(Resolver, () => {
      const known = new Map<string, ReadonlyArray<Address>>()
      return Resolver.of({
        resolve: Effect.fnUntraced(function* (host, family, fresh = false) {
          const literal = isIpv4(host) ? "ipv4" : isIpv6(host) ? "ipv6" : undefined
          if (literal !== undefined) return yield* wanted([{ address: host, family: literal }], host, family)
          const key = `${family} ${host}`
          const answer = yield* Effect.result(
            query(ask, fresh ? `${crypto.getRandomValues(new Uint8Array(6)).toHex()}.${host}` : host, family),
          )
          if (answer._tag === "Success") {
            known.set(key, answer.success)
            return answer.success
          }
          const before = known.get(key)
          return before ?? (yield* answer.failure)
        }),
      })
    })
  }
}

/** Rejects with an error that has a `code`, as `node:dns` does. */
export type Lookup = (
  host: string,
  family: 0 | 4 | 6,
) => Promise<ReadonlyArray<{ readonly address: string; readonly family: number }>>

/** By the machine's own rules: hosts file, resolv.conf, their order. */
async function systemLookup(...[host, family]: Parameters<Lookup>): ReturnType<Lookup> {
  // Loaded where there is a name.
  const { lookup } = await import("node:dns/promises")
  return lookup(host, { all: true, verbatim: true, family })
}

const query = Effect.fnUntraced(function* (ask: Lookup, host: string, family: Remote["family"]) {
  const found = yield* Effect.tryPromise({
    try: () => ask(host, family === "any" ? 0 : family === "ipv4" ? 4 : 6),
    catch: (error) => new ResolveError({ host, reason: reasonOf(error) }),
  }).pipe(
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.fail(new ResolveError({ host, reason: "no answer from the resolver within 10 s" })),
    }),
  )
  const addresses = found.map(({ address, family }): Address => ({ address, family: family === 6 ? "ipv6" : "ipv4" }))
  return yield* wanted(addresses, host, family)
})

const wanted = (addresses: ReadonlyArray<Address>, host: string, family: Remote["family"]) => {
  const matching = addresses.filter((address) => family === "any" || address.family === family)
  return matching.length > 0
    ? Effect.succeed(matching)
    : Effect.fail(
        new ResolveError({
          host,
          reason: family === "any" ? "no address" : `no ${family} address, which proto asks for`,
        }),
      )
}

const reasonOf = (error: unknown): string => {
  const code = (error as { readonly code?: unknown }).code
  if (code === "ENOTFOUND" || code === "DNS_ENOTFOUND") return "no such name"
  return typeof code === "string" ? code : error instanceof Error ? error.message : String(error)
}
