/**
 * `CULVERT_READY_CHECK`: whether something behind the tunnel answers. It decides about readiness alone: a check that fails never
 * ends a connection, because a busy line or a target that is down is no reason to tear a tunnel down.
 */
import { Clock, Effect, Schedule } from "effect"
import { isIpv6 } from "../config/address.ts"
import { ping, SystemError } from "../linux/index.ts"
import { Resolver } from "./resolve.ts"
import { StatusRef } from "./status.ts"

export type ReadyTarget =
  | { readonly protocol: "tcp"; readonly host: string; readonly port: number }
  | { readonly protocol: "icmp"; readonly host: string }

/** Never ends. Asks while the tunnel is connected and keeps `Status.readyCheck`. */
export const readyCheck = (target: ReadyTarget | undefined) =>
  target === undefined ? Effect.never : watch(target, (address, local) => reach(target, address, local))

/** Apart from `readyCheck` for tests. `reach` fails with the reason. */
export const watch = Effect.fnUntraced(function* (
  target: ReadyTarget,
  reach: (address: string, local: string) => Effect.Effect<void, string>,
) {
  const status = yield* StatusRef
  const resolver = yield* Resolver
  const described = target.protocol === "tcp" ? `tcp:${target.host}:${target.port}` : `icmp:${target.host}`
  const once = Effect.gen(function* () {
    const [first] = yield* resolver.resolve(target.host, "any").pipe(Effect.mapError((error) => error.message))
    const { address } = first!
    // From the tunnel's address: a way beside the tunnel does not carry it.
    const { addresses } = yield* status.get
    const local = addresses.map((one) => one.replace(/\/.*/, "")).find((one) => isIpv6(one) === isIpv6(address))
    if (local === undefined) return yield* Effect.fail(`the tunnel has no address of the family of ${address}`)
    yield* reach(address, local)
  }).pipe(Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(`no answer within ${patience}`) }))

  yield* status.update({ readyCheck: { target: described, ok: false, reason: "not tried yet", at: undefined } })
  let failures = 0
  for (;;) {
    const { phase, readyCheck } = yield* status.get
    if (phase === "connected") {
      const reason = yield* once.pipe(
        Effect.as(undefined),
        Effect.catch((reason: string) => Effect.succeed(reason)),
      )
      failures = reason === undefined ? 0 : failures + 1
      const was = readyCheck?.ok === true
      // One lost packet does not take a pod out of its Service.
      const ok = reason === undefined || (was && failures < failuresInARow)
      const at = yield* Clock.currentTimeMillis
      yield* status.update({ readyCheck: { target: described, ok, reason: reason ?? "answers", at } })
      if (was && !ok) {
        yield* status.event("ready_check_failed", `${described} does not answer through the tunnel: ${reason}`, {
          level: "Warn",
        })
      }
      if (!was && ok) yield* status.event("ready_check_passed", `${described} answers through the tunnel`)
    }
    const { readyCheck: now } = yield* status.get
    yield* Effect.sleep(now?.ok === true ? "10 seconds" : "1 second")
  }
})

const reach = (target: ReadyTarget, address: string, local: string): Effect.Effect<void, string> =>
  target.protocol === "tcp" ? connect(address, target.port, local) : echo(address, local)

const connect = (host: string, port: number, localAddress: string) =>
  Effect.acquireUseRelease(
    Effect.map(
      Effect.promise(() => import("node:net")),
      ({ createConnection }) => createConnection({ host, port, localAddress }),
    ),
    (socket) =>
      Effect.callback<void, string>((resume) => {
        socket.once("connect", () => resume(Effect.void))
        socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? error.message)))
      }),
    (socket) => Effect.sync(() => socket.destroy()),
  )

const echo = (address: string, local: string) =>
  Effect.acquireUseRelease(
    attempt(() => ping(address, local)),
    (echo) =>
      attempt(echo.isAnswered).pipe(
        Effect.repeat({ while: (answered) => !answered, schedule: Schedule.spaced("20 millis") }),
        Effect.asVoid,
      ),
    (echo) => Effect.sync(echo.close),
  )

const attempt = <A>(call: () => A): Effect.Effect<A, string> =>
  Effect.try({ try: call, catch: (error) => (error instanceof SystemError ? explain(error) : String(error)) })

const explain = (error: SystemError): string =>
  error.code === "EACCES"
    ? `${error.message}; ICMP needs the sysctl net.ipv4.ping_group_range to include this group: "0 2147483647"`
    : error.message

const patience = "3 seconds"
const failuresInARow = 3
