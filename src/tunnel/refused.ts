/** Keeps `Status.refused`: the kernel counts anew whenever the table changes, what is told goes on. */
import { Effect } from "effect"
import { KillSwitch } from "../network/index.ts"
import { StatusRef } from "./status.ts"

/** Never ends. Looking takes a run of `nft`, which is why a scrape does not do it. */
export const countRefused = Effect.gen(function* () {
  const killSwitch = yield* KillSwitch
  const status = yield* StatusRef
  let before = { ipv4: 0, ipv6: 0 }
  for (;;) {
    // Not at once: at a start there is nothing to count, and much to do.
    yield* Effect.sleep("15 seconds")
    const now = yield* killSwitch.refused
    const { refused } = yield* status.get
    const grown = (family: "ipv4" | "ipv6") => now[family] - (now[family] < before[family] ? 0 : before[family])
    yield* status.update({ refused: { ipv4: refused.ipv4 + grown("ipv4"), ipv6: refused.ipv6 + grown("ipv6") } })
    before = now
  }
})
