/** The kernel's network configuration through iproute2: `ip -batch` to change it, `ip -j` to read it. */
import { Context, Data, Effect, Layer } from "effect"
import type { HostFacts } from "./beside.ts"
import { type Change, isIpv6, type NextHop, ours } from "./change.ts"
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
    readonly batch: (
      lines: ReadonlyArray<string>,
      family: Change["family"],
    ) => Effect.Effect<void, IpError & { readonly done?: number }>
    /** Runs all lines whatever happens to each: for undoing. */
    readonly batchForced: (lines: ReadonlyArray<string>, family: Change["family"]) => Effect.Effect<void>
    /** What the host is apart from us, leaving out `except`. */
    readonly facts: (except: string) => Effect.Effect<HostFacts>
    /** The next hop towards an address, or undefined when there is none or it leads through `except`. */
    readonly nextHop: (address: string, except: string) => Effect.Effect<NextHop | undefined>
    /** Bytes: what the kernel knows of the path to an address, else the MTU of the device that leads there. */
    readonly pathMtu: (address: string) => Effect.Effect<number | undefined>
  }
>()("culvert/network/Ip") {
  static readonly layer = Layer.sync(Ip, () => {
    const ip = runner("ip")
    const run = (args: ReadonlyArray<string>, input: string) =>
      ip(args, input).pipe(
        Effect.mapError(
          (error) => new IpError({ line: args.join(" "), reason: `${error.message}; is iproute2 installed?` }),
        ),
      )
    const json = (args: ReadonlyArray<string>) =>
      run(["-j", ...args], "").pipe(
        Effect.map(({ stdout }) => parseJson(stdout)),
        Effect.orElseSucceed((): ReadonlyArray<JsonLine> => []),
      )

    return Ip.of({
      batch: Effect.fnUntraced(function* (lines, family) {
        if (lines.length === 0) return
        const { code, stderr } = yield* run([option[family], "-batch", "-"], `${lines.join("\n")}\n`)
        if (code === 0) return
        const failed = Number(/^Command failed -:(\d+)/m.exec(stderr)?.[1] ?? 1)
        const reason = stderr.replace(/^Command failed.*$/m, "").trim() || `exit status ${code}`
        return yield* Object.assign(new IpError({ line: lines[failed - 1] ?? lines[0]!, reason }), {
          done: failed - 1,
        })
      }),
      batchForced: (lines, family) =>
        lines.length === 0
          ? Effect.void
          : run([option[family], "-force", "-batch", "-"], `${lines.join("\n")}\n`).pipe(Effect.ignore),
      facts: Effect.fnUntraced(function* (except) {
        const [ipv4, ipv6, links] = yield* Effect.all(
          [
            json(["-4", "route", "show", "table", "main"]),
            json(["-6", "route", "show", "table", "main"]),
            json(["address", "show", "scope", "global"]),
          ],
          { concurrency: "unbounded" },
        )
        return hostFacts(ipv4, ipv6, links, except)
      }),
      nextHop: (address, except) =>
        json([isIpv6(address) ? "-6" : "-4", "route", "get", address]).pipe(
          Effect.map((routes) => firstHop(routes, except)),
        ),
      pathMtu: Effect.fnUntraced(function* (address) {
        const get = [isIpv6(address) ? "-6" : "-4", "route", "get", address]
        const [route] = yield* json(get)
        if (route?.dev === undefined) return undefined
        // A connected socket sends from its own address, so it looks into our table, and what it learned is kept there.
        const [own] = route.prefsrc === undefined ? [] : yield* json([...get, "from", route.prefsrc])
        const learned = own?.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu
        if (learned !== undefined) return learned
        const [link] = yield* json(["link", "show", "dev", route.dev])
        return link?.mtu
      }),
    })
  })
}

/** Of the objects that `ip -j` prints for routes, links and addresses, what is used here. */
interface JsonLine {
  readonly dst?: string
  readonly type?: string
  readonly protocol?: string
  readonly dev?: string
  readonly gateway?: string
  readonly prefsrc?: string
  readonly metrics?: ReadonlyArray<{ readonly mtu?: number }>
  readonly ifname?: string
  readonly mtu?: number
  readonly addr_info?: ReadonlyArray<{ readonly local?: string }>
}

/** The pod apart from us: `except` is our device. */
export const hostFacts = (
  ipv4: ReadonlyArray<JsonLine>,
  ipv6: ReadonlyArray<JsonLine>,
  links: ReadonlyArray<JsonLine>,
  except: string,
): HostFacts => {
  const isForeign = (line: JsonLine) =>
    line.protocol !== String(ours.protocol) && (line.type === undefined || line.type === "unicast")
  const routes = (lines: ReadonlyArray<JsonLine>, bits: number) =>
    lines
      .filter(isForeign)
      .flatMap(({ dst, dev, gateway }) =>
        dst === undefined || dst === "default" || dev === undefined || dev === except || isLinkLocal(dst)
          ? []
          : [{ target: dst.includes("/") ? dst : `${dst}/${bits}`, hop: { device: dev, gateway } }],
      )
  const defaults = (lines: ReadonlyArray<JsonLine>) =>
    firstHop(
      lines.filter((line) => line.dst === "default" && isForeign(line)),
      except,
    )
  return {
    gateway: { ipv4: defaults(ipv4), ipv6: defaults(ipv6) },
    addresses: links
      .filter(({ ifname }) => ifname !== except && ifname !== "lo")
      .flatMap(({ addr_info }) => addr_info ?? [])
      .map(({ local }) => local)
      .filter((local) => local !== undefined),
    routes: [...routes(ipv4, 32), ...routes(ipv6, 128)],
  }
}

const isLinkLocal = (target: string): boolean => /^(fe80|ff00):/.test(target)

const firstHop = (routes: ReadonlyArray<JsonLine>, except: string): NextHop | undefined => {
  const route = routes.find(
    (candidate) => candidate.dev !== undefined && candidate.dev !== except && candidate.dev !== "lo",
  )
  return route?.dev === undefined ? undefined : { device: route.dev, gateway: route.gateway }
}

const parseJson = (text: string): ReadonlyArray<JsonLine> => {
  if (text.trim() === "") return []
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? (value as ReadonlyArray<JsonLine>) : []
}

const option = { ipv4: "-4", ipv6: "-6" } as const
