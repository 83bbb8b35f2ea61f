/** One attempt at one address: it is established, then it serves, as one scope. */
import { Effect } from "effect"
import type { Profile, Remote } from "../config/index.ts"
import { KillSwitch } from "../network/index.ts"
import { failed } from "./driver.ts"
import type { AttemptFailed } from "./errors.ts"
import { establish } from "./establish.ts"
import { firstHop } from "./proxy.ts"
import type { Address } from "./resolve.ts"
import { serve } from "./serve.ts"
import { StatusRef } from "./status.ts"

/** Connects, carries traffic, and fails with the reason when it ends. Interrupting it says good-bye to the server. */
export const connection = Effect.fnUntraced(function* (profile: Profile, remote: Remote, address: Address) {
  const status = yield* StatusRef
  const { attempts } = yield* status.get
  const described = describe(remote, address)
  yield* status.update({
    phase: "connecting",
    attempts: attempts + 1,
    remote: firstHop(remote).host === address.address ? described : `${described} (${firstHop(remote).host})`,
    deadAfter: undefined,
  })
  yield* status.event("connecting", `connecting to ${described}`, {
    facts: { remote: described, attempt: attempts + 1 },
  })
  return yield* Effect.scoped(Effect.flatMap(establish(profile, remote, address), serve)).pipe(
    Effect.catch((failure) => Effect.flatMap(suspectOthers(failure), Effect.fail)),
    Effect.tapError((failed) =>
      status.update({ phase: "waiting", lastError: failed.message }).pipe(
        Effect.andThen(
          status.event(failed.reason.tag === "AuthFailed" ? "auth_failed" : "disconnected", failed.message, {
            level: "Warn",
            facts: { reason: failed.reason.tag, established: failed.established },
          }),
        ),
      ),
    ),
  )
})

/** Nothing came back: when somebody else filters what leaves, that is worth a look. */
const suspectOthers = Effect.fnUntraced(function* (failure: AttemptFailed) {
  if (failure.reason.tag !== "NoAnswer" && failure.reason.tag !== "Transport") return failure
  const killSwitch = yield* KillSwitch
  const others = yield* killSwitch.others
  if (failure.established || others.length === 0) return failure
  const message = `${failure.reason.message}; other firewall tables filter what leaves here (${others.join(", ")}): see with 'nft list ruleset' that they let the server through`
  return failed({ ...failure.reason, message })
})

const describe = (remote: Remote, { address, family }: Address): string => {
  const first = `${family === "ipv6" ? `[${address}]` : address}:${firstHop(remote).port}`
  return remote.proxy === undefined
    ? `${remote.transport}://${first}`
    : `${remote.transport}://${remote.host}:${remote.port} through the proxy ${first}`
}
