/** What questions over every transport have in common. */
import { Data, type Effect } from "effect"
import type { Query } from "../../network/dns/index.ts"
import type { Upstream } from "../../network/index.ts"

export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly reason: string }> {}

/** A question that is on its way. */
export interface Asked {
  readonly query: Query
  readonly resume: (effect: Effect.Effect<Uint8Array, NoAnswer>) => void
}

/** How a certificate is checked. Without a name there is nothing to check; the tunnel around it has been. */
export const certificateCheck = ({ serverName }: Upstream) =>
  serverName === undefined ? { rejectUnauthorized: false } : { servername: serverName }

export const random = (below: number): number => crypto.getRandomValues(new Uint32Array(1))[0]! % below

/** An id that no question in `waiting` has. */
export const freeId = (waiting: ReadonlyMap<number, unknown>): number => {
  let id = random(0x10000)
  while (waiting.has(id)) id = random(0x10000)
  return id
}
