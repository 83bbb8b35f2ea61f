/** The kernel's network configuration, read and changed by asking the kernel itself: what it is told are lines as `ip` takes them. */
import { Context, Data, Effect, Layer } from "effect"
import {
  changeNetwork,
  globalAddresses,
  hasMarked,
  type Link,
  type LinkAddress,
  links,
  mainRoutes,
  type Route,
  routeTo,
} from "../linux/index.ts"
import type { HostFacts } from "./beside.ts"
import { type Change, type NextHop, ours } from "./change.ts"

export class IpError extends Data.TaggedError("IpError")<{ readonly line: string; readonly reason: string }> {
  override get message() {
    return `ip ${this.line}: ${this.reason}`
  }
}

export class Ip extends Context.Service<
  Ip,
  {
    /** Carries out the lines in order and stops at the first that fails; the error names it and says how many were done. */
    readonly batch: (
      lines: ReadonlyArray<string>,
      family: Change["family"],
    ) => Effect.Effect<void, IpError & { readonly done?: number }>
    /** Carries out all lines whatever happens to each; false when one of them failed. */
    readonly batchForced: (lines: ReadonlyArray<string>, family: Change["family"]) => Effect.Effect<boolean>
    /** Whether a predecessor left routes or rules of ours. */
    readonly hasLeftovers: Effect.Effect<boolean>
    /** What the host is apart from us, leaving out `except`. */
    readonly facts: (except: string) => Effect.Effect<HostFacts>
    /** The next hop towards an address, or undefined when there is none or it leads through `except`. */
    readonly nextHop: (address: string, except: string) => Effect.Effect<NextHop | undefined>
    /** Bytes: what the kernel knows of the path to an address, else the MTU of the device that leads there. */
    readonly pathMtu: (address: string) => Effect.Effect<number | undefined>
  }
>()("culvert/network/Ip") {
  static readonly layer = Layer.sync(Ip, () =>
    Ip.of({
      batch: (lines, family) =>
        Effect.suspend(() => {
          for (const [done, line] of lines.entries()) {
            const reason = refusal(line, family)
            if (reason !== undefined) return Effect.fail(Object.assign(new IpError({ line, reason }), { done }))
          }
          return Effect.void
        }),
      batchForced: (lines, family) =>
        Effect.sync(() => lines.filter((line) => refusal(line, family) !== undefined).length === 0),
      // When the kernel cannot be asked the commands are tried.
      hasLeftovers: Effect.try(() => hasMarked(ours.protocol, ours.preference)).pipe(Effect.orElseSucceed(() => true)),
      facts: (except) =>
        Effect.sync(() =>
          hostFacts(
            {
              routes: [...asked(() => mainRoutes(4)), ...asked(() => mainRoutes(6))],
              links: asked(links),
              addresses: asked(globalAddresses),
            },
            except,
          ),
        ),
      nextHop: (address, except) =>
        Effect.sync(() => {
          // Its size is what the path was found to have, which is nothing to write into a route.
          const route = asked(() => [routeTo(address)]).map((found) => ({ ...found, mtu: undefined }))
          return firstHop(route, names(asked(links)), except)
        }),
      pathMtu: (address) =>
        Effect.sync(() => {
          const [route] = asked(() => [routeTo(address)])
          // A connected socket sends from its own address, so it looks into our table, and what it learned is kept there.
          const [own] = route?.source === undefined ? [] : asked(() => [routeTo(address, route.source)])
          return own?.mtu ?? asked(links).find(({ index }) => index === route?.link)?.mtu
        }),
    }),
  )
}

/** Why the kernel does not do it. */
const refusal = (line: string, family: Change["family"]): string | undefined => {
  try {
    changeNetwork(line, family === "ipv4" ? 4 : 6)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** A kernel that does not take the question has nothing of what was asked for. */
const asked = <A>(question: () => ReadonlyArray<A>): ReadonlyArray<NonNullable<A>> => {
  try {
    return question().filter((answer) => answer != null)
  } catch {
    return []
  }
}

/** What the kernel says of the whole host. */
export interface Host {
  readonly routes: ReadonlyArray<Route>
  readonly links: ReadonlyArray<Link>
  readonly addresses: ReadonlyArray<LinkAddress>
}

/** The pod apart from us: `except` is our device. */
export const hostFacts = ({ routes, links, addresses }: Host, except: string): HostFacts => {
  const nameOf = names(links)
  const foreign = routes.filter(({ protocol, isUnicast }) => protocol !== ours.protocol && isUnicast)
  const gateway = (family: Change["family"]) =>
    firstHop(
      foreign.filter((route) => route.target === defaultTarget[family]),
      nameOf,
      except,
    )
  return {
    gateway: { ipv4: gateway("ipv4"), ipv6: gateway("ipv6") },
    addresses: addresses
      .filter(({ link }) => ![undefined, except, "lo"].includes(nameOf(link)))
      .map(({ address }) => address),
    routes: foreign.flatMap(({ target, link, gateway, mtu }) => {
      const device = nameOf(link)
      const isDefault = target === defaultTarget.ipv4 || target === defaultTarget.ipv6
      return isDefault || device === undefined || device === except || isLinkLocal(target)
        ? []
        : [{ target, hop: { device, gateway, ...(mtu === undefined ? {} : { mtu }) } }]
    }),
  }
}

type NameOf = (link: number | undefined) => string | undefined

const names = (links: ReadonlyArray<Link>): NameOf => {
  const byIndex = new Map(links.map(({ index, name }) => [index, name]))
  return (link) => (link === undefined ? undefined : byIndex.get(link))
}

const isLinkLocal = (target: string): boolean => /^(fe80|ff00):/.test(target)

const firstHop = (routes: ReadonlyArray<Route>, nameOf: NameOf, except: string): NextHop | undefined => {
  const hops = routes.map(({ link, gateway, mtu }) => ({ device: nameOf(link), gateway, mtu }))
  const hop = hops.find(({ device }) => device !== undefined && device !== except && device !== "lo")
  if (hop?.device === undefined) return undefined
  return { device: hop.device, gateway: hop.gateway, ...(hop.mtu === undefined ? {} : { mtu: hop.mtu }) }
}

const defaultTarget = { ipv4: "0.0.0.0/0", ipv6: "::/0" } as const
