/** A connection as a thing that can be held, served, and handed on: its link lives in a scope of its own. */
import { Cause, Deferred, Effect, Exit, Fiber, Scope } from "effect"
import type { KillSwitch, Network } from "../network/index.ts"
import type { Credentials } from "./credentials.ts"
import type { DataPlane } from "./dataplane.ts"
import type { TunDevice } from "./device.ts"
import type { Dns } from "./dns.ts"
import type { AttemptFailed } from "./errors.ts"
import type { Established } from "./establish.ts"
import type { Resolver } from "./resolve.ts"
import { type ServeOptions, serve } from "./serve.ts"
import type { StatusRef } from "./status.ts"

/** What connections are made of. */
export type Services = Credentials | DataPlane | Dns | KillSwitch | Network | Resolver | StatusRef | TunDevice

export interface Held {
  readonly connection: Established
  /** Says good-bye to the server and closes the link. */
  readonly close: Effect.Effect<void>
}

/** What `establish` makes is held until it is closed, and no longer than `above`. */
export const hold = <E, R>(above: Scope.Scope, establish: Effect.Effect<Established, E, R>) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(above)
      const connection = yield* restore(Scope.provide(establish, scope)).pipe(
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
      )
      const held: Held = { connection, close: Scope.close(scope, Exit.void) }
      return held
    }),
  )

export interface Serving extends Held {
  /** The host is this connection's. */
  readonly up: Effect.Effect<void>
  /** Why it ended. A defect of the policies is one of whoever waits. */
  readonly over: Effect.Effect<AttemptFailed>
  /** Ends the policies; the link stays. */
  readonly stop: Effect.Effect<void>
}

export const startServing = Effect.fnUntraced(function* (above: Scope.Scope, held: Held, options: ServeOptions) {
  const up = yield* Deferred.make<void>()
  const over = yield* Deferred.make<AttemptFailed>()
  const onUp: ServeOptions["onUp"] = (facts) =>
    Effect.andThen(options.onUp(facts), Effect.asVoid(Deferred.succeed(up, undefined)))
  const fiber = yield* serve(held.connection, { ...options, onUp }).pipe(
    // What holds while it serves ends with it, such as the tunnel's names.
    Effect.scoped,
    Effect.catch((failure) => Deferred.succeed(over, failure)),
    Effect.tapCause((cause) => (Cause.hasDies(cause) ? Deferred.failCause(over, cause) : Effect.void)),
    Effect.forkIn(above),
  )
  const serving: Serving = {
    ...held,
    up: Deferred.await(up),
    over: Deferred.await(over),
    stop: Fiber.interrupt(fiber),
  }
  return serving
})

/** Something that goes on to hold a connection, and that may be given up at any moment without leaving one behind. */
export interface Pending<E> {
  readonly exit: Effect.Effect<Exit.Exit<Held, E>>
  readonly giveUp: Effect.Effect<void>
}

export const begin = Effect.fnUntraced(function* <E, R>(above: Scope.Scope, effect: Effect.Effect<Held, E, R>) {
  const fiber = yield* Effect.forkIn(effect, above)
  const pending: Pending<E> = {
    exit: Fiber.await(fiber),
    giveUp: Effect.gen(function* () {
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      if (Exit.isSuccess(exit)) yield* exit.value.close
    }),
  }
  return pending
})
