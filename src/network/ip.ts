/** The kernel's network configuration through iproute2: `ip -batch` to change it, `ip -j` to read it. */
import { Context, Data, Effect, Layer } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { type HostFacts, isIpv6, type NextHop } from "./plan.ts"
import { runner } from "./process.ts"

export class IpError extends Data.TaggedError("IpError")<{ readonly line: string; readonly reason: string }> {
  override get message() {
    return `ip ${this.line}: ${this.reason}`
  }
}

export class Ip extends Context.Service<
  Ip,
  {
    /** Runs the lines in order in one process and stops at the first that fails; the error names it and says how many were done. */
    readonly batch: (lines: ReadonlyArray<string>) => Effect.Effect<void, IpError & { readonly done?: number }>
    /** Runs all lines whatever happens to each: for undoing. */
    readonly batchForced: (lines: ReadonlyArray<string>) => Effect.Effect<void>
    /** Default gateways, leaving out routes through `except`. */
    readonly facts: (except: string) => Effect.Effect<HostFacts>
    /** The next hop towards an address, or undefined when there is none or it leads through `except`. */
    readonly nextHop: (address: string, except: string) => Effect.Effect<NextHop | undefined>
  }
>()("culvert/network/Ip") {
  static readonly layer = Layer.effect(
    Ip,
    Effect.gen(function* () {
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const ip = runner(spawner, "ip")
      const run = (args: ReadonlyArray<string>, input: string) =>
        ip(args, input).pipe(
          Effect.mapError(
            (error) => new IpError({ line: args.join(" "), reason: `${error.message}; is iproute2 installed?` }),
          ),
        )
      const json = (args: ReadonlyArray<string>) =>
        run(["-j", ...args], "").pipe(
          Effect.map(({ stdout }) => parseJson(stdout)),
          Effect.orElseSucceed((): ReadonlyArray<JsonRoute> => []),
        )

      return Ip.of({
        batch: Effect.fnUntraced(function* (lines) {
          if (lines.length === 0) return
          const { code, stderr } = yield* run(["-batch", "-"], `${lines.join("\n")}\n`)
          if (code === 0) return
          const failed = Number(/^Command failed -:(\d+)/m.exec(stderr)?.[1] ?? 1)
          const reason = stderr.replace(/^Command failed.*$/m, "").trim() || `exit status ${code}`
          return yield* Object.assign(new IpError({ line: lines[failed - 1] ?? lines[0]!, reason }), {
            done: failed - 1,
          })
        }),
        batchForced: (lines) =>
          lines.length === 0
            ? Effect.void
            : run(["-force", "-batch", "-"], `${lines.join("\n")}\n`).pipe(Effect.ignore),
        facts: Effect.fnUntraced(function* (except) {
          const [ipv4, ipv6] = yield* Effect.all([
            json(["-4", "route", "show", "default"]),
            json(["-6", "route", "show", "default"]),
          ])
          return { gateway: { ipv4: firstHop(ipv4, except), ipv6: firstHop(ipv6, except) } }
        }),
        nextHop: (address, except) =>
          json([isIpv6(address) ? "-6" : "-4", "route", "get", address]).pipe(
            Effect.map((routes) => firstHop(routes, except)),
          ),
      })
    }),
  )
}

interface JsonRoute {
  readonly dev?: string
  readonly gateway?: string
}

const firstHop = (routes: ReadonlyArray<JsonRoute>, except: string): NextHop | undefined => {
  const route = routes.find(
    (candidate) => candidate.dev !== undefined && candidate.dev !== except && candidate.dev !== "lo",
  )
  return route?.dev === undefined ? undefined : { device: route.dev, gateway: route.gateway }
}

const parseJson = (text: string): ReadonlyArray<JsonRoute> => {
  if (text.trim() === "") return []
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? (value as ReadonlyArray<JsonRoute>) : []
}
