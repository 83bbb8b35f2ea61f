/** A command as the program's main effect: signals interrupt it, and its end is the exit status (docs/architecture.md). */
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Cause, type Effect, Exit, Runtime } from "effect"

/** `statusOf`: of errors that do not say it themselves. */
export const launch = <A, E>(
  command: Effect.Effect<A, E>,
  statusOf: (error: unknown) => number | undefined = () => undefined,
) =>
  NodeRuntime.runMain(command, {
    disableErrorReporting: true,
    teardown: (exit, onExit) => {
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
      const status = Exit.isFailure(exit) ? statusOf(Cause.squash(exit.cause)) : undefined
      if (status !== undefined) return onExit(status)
      if (Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Die")) {
        process.stderr.write(`culvert: this is a defect, please report it:\n${Cause.pretty(exit.cause)}\n`)
      }
      Runtime.defaultTeardown(exit, onExit)
    },
  })
