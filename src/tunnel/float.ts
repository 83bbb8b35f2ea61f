/**
 * `float`: the server may go on from another address, as after a failover. Where its newest packet came from is where it is; the way
 * there is opened beside the tunnel before anything is sent there.
 *
 * Who is on the path can pass a packet of the server's on from an address of his own, and gets what we send until the server's next
 * packet comes: he could have had that anyway, and can read none of it.
 */
import { Effect, Exit, Queue, Scope } from "effect"
import type { Remote } from "../config/index.ts"
import { readSocketAddress } from "../linux/index.ts"
import { DataPlane, type Link } from "./dataplane.ts"
import { describe, describeFully } from "./describe.ts"
import { allow, type Peer } from "./reach.ts"
import { StatusRef } from "./status.ts"

/**
 * Never ends. `moves`: the sockaddrs that the server's newest packets came from. The way to the first place stays open as long as the
 * link lives, that to a later one until the next.
 */
export const followServer = Effect.fnUntraced(function* (
  remote: Remote,
  link: Link,
  moves: Queue.Dequeue<Uint8Array>,
  peer: { current: Peer },
) {
  const above = yield* Effect.scope
  const plane = yield* DataPlane
  const status = yield* StatusRef
  let way = yield* Scope.fork(above)
  for (;;) {
    const to = yield* Queue.take(moves)
    const { address, port } = readSocketAddress(to)
    const before = { remote, ...peer.current }
    if (address === before.address.address && port === before.port) continue
    const next = yield* Scope.fork(above)
    const opened = yield* Effect.result(Scope.provide(allow({ transport: "udp", address, port }), next))
    if (opened._tag === "Failure") {
      yield* Scope.close(next, Exit.void)
      yield* status.event("network_note", `no way to where the server is now: ${opened.failure.message}`, {
        level: "Warn",
      })
    } else {
      peer.current = { address: { ...before.address, address }, port, hop: opened.success }
      link.roam(to)
      // Nothing is sent the other way any more, so that our own firewall refuses nothing of ours.
      yield* plane.flush
      yield* Scope.close(way, Exit.void)
      way = next
      const now = { remote, ...peer.current }
      // Beside a connection that is up, the status tells of that one.
      if ((yield* status.get).remote === describeFully(before)) yield* status.update({ remote: describeFully(now) })
      yield* status.event(
        "remote_address_changed",
        `the server is at ${describe(now)} now, no longer at ${describe(before)}`,
        {
          facts: { before: describe(before), now: describe(now) },
        },
      )
    }
    yield* Effect.sleep(pause)
  }
})

/** A server that sends from two addresses would have the firewall changed without end. */
const pause = "1 second"
