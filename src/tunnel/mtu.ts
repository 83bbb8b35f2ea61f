/**
 * Sizes by the path to the server. What file and server say of `tun-mtu` and `mssfix` is the upper limit; a path that carries less makes
 * both smaller, so that no sealed packet has to be cut. The kernel learns of a smaller path by ICMP and the socket then reports
 * EMSGSIZE: it is asked at once. A path that grew, or a device that changed, reports nothing: for these it is asked now and then.
 */
import { Effect, PubSub } from "effect"
import type { Pushed, Remote } from "../config/index.ts"
import { Network } from "../network/index.ts"
import { type DataFormat, mssFor, mtuFor } from "../protocol/index.ts"
import { DataPlane } from "./dataplane.ts"
import { TunDevice } from "./device.ts"
import type { Peer } from "./reach.ts"
import type { Address } from "./resolve.ts"
import { StatusRef } from "./status.ts"

export interface Sizes {
  /** Of the tun device. */
  readonly mtu: number
  readonly mss: { readonly ipv4: number; readonly ipv6: number }
}

/** `path`: bytes of the largest packet on the way to the server; undefined: unknown. */
export const sizesFor = (
  path: number | undefined,
  wanted: number,
  hasIpv6: boolean,
  remote: Remote,
  outerFamily: Address["family"],
  format: DataFormat,
): Sizes => {
  // A stream cuts packets without anybody's harm, and `fragment` does it inside the tunnel.
  const fits =
    path === undefined || remote.transport === "tcp" || remote.fragment !== undefined
      ? wanted
      : Math.min(wanted, mtuFor(path, remote.transport, outerFamily, format))
  return {
    mtu: Math.max(fits, Math.min(wanted, hasIpv6 ? leastIpv6 : leastIpv4)),
    mss: mssFor(remote.mssfix, fits, remote.transport, outerFamily, format),
  }
}

export interface PathSizes {
  /** For the path as it is now, and what the server says last. Clamps MSS; the device is the caller's to set. */
  readonly sizes: (pushed: Pushed | undefined, hasIpv6: boolean) => Effect.Effect<Sizes>
  /** Keeps device and MSS fitting while it runs. */
  readonly following: Effect.Effect<never>
}

/** `headerLength`: what a proxy's relay takes of each packet. */
export const followPath = Effect.fnUntraced(function* (
  remote: Remote,
  peer: { readonly current: Peer },
  headerLength: number,
  format: DataFormat,
) {
  const network = yield* Network
  const plane = yield* DataPlane
  const device = yield* TunDevice
  const status = yield* StatusRef
  const news = yield* PubSub.subscribe(plane.pathTooSmall)
  let path: number | undefined
  let said = { wanted: remote.tunMtu, hasIpv6: false }
  const clamp = Effect.sync(() => {
    const carried = path === undefined ? undefined : path - headerLength
    const sizes = sizesFor(carried, said.wanted, said.hasIpv6, remote, peer.current.address.family, {
      ...format,
      isEthernet: device.type === "tap",
    })
    plane.clampMss(sizes.mss)
    return sizes
  })
  const following = Effect.gen(function* () {
    // Whoever may not look at the path may not follow it either.
    if (path === undefined) return yield* Effect.never
    for (;;) {
      yield* Effect.raceFirst(Effect.sleep(period), PubSub.take(news))
      const now = yield* network.pathMtu(peer.current.address.address)
      if (now === undefined || now === path) continue
      path = now
      const { mtu } = yield* clamp
      yield* Effect.ignore(network.setMtu(device.name, mtu))
      yield* status.update({ mtu })
      yield* status.event("path_mtu", `the path to the server carries ${path} bytes: tun has ${mtu} now`, {
        facts: { path, mtu },
      })
    }
  })
  const paths: PathSizes = {
    sizes: Effect.fnUntraced(function* (pushed, hasIpv6) {
      said = { wanted: pushed?.tunMtu ?? remote.tunMtu, hasIpv6 }
      path = yield* network.pathMtu(peer.current.address.address)
      return yield* clamp
    }),
    following,
  }
  return paths
})

/** The smallest that the kernel allows where IPv6 is on, and that every IPv4 host has to take. */
const leastIpv6 = 1280
const leastIpv4 = 576
const period = "5 seconds"
