/**
 * Reads the command line and runs one command. Only the command that is called is loaded: a probe that runs every few
 * seconds needs nothing of the tunnel. Exit codes: see docs/architecture.md.
 */
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Cause, Console, Effect, Exit, Layer, Runtime } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { version } from "../version.ts"
import { platform } from "./platform.ts"

const commands = {
  start: async () => (await import("./start.ts")).start,
  check: async () => (await import("./check.ts")).check,
  status: async () => (await import("./observe.ts")).status,
  health: async () => (await import("./observe.ts")).health,
  reconnect: async () => (await import("./control.ts")).reconnect,
  pause: async () => (await import("./control.ts")).pause,
  resume: async () => (await import("./control.ts")).resume,
  firewall: async () => (await import("./firewall.ts")).firewall,
  inject: async () => (await import("./inject.ts")).inject,
}

const [called = ""] = process.argv.slice(2)
const wanted = called in commands ? [commands[called as keyof typeof commands]] : Object.values(commands)
const subcommands = await Promise.all(wanted.map((load) => load()))

/** `--log-level` is a setting of `start`, not the framework's flag of that name. */
const flags = CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })

/** Of arguments that make no sense; scripts tell them from an invalid file by the 2 of `check`. */
const usage = called === "check" ? 2 : 64

/** Errors of which nothing else told the user. */
const spoken = new Set([
  "InvalidConfiguration",
  "SettingsError",
  "CheckFailed",
  "NotReachable",
  "FirewallError",
  "ControlTokenError",
])

Command.make("culvert").pipe(
  Command.withDescription("An OpenVPN-compatible VPN client that runs as a sidecar"),
  Command.withSubcommands(subcommands),
  Command.run({ version }),
  // `start` and `inject` have logged their end with the other log lines; the short commands speak on stderr.
  Effect.tapError((error) =>
    CliError.isCliError(error) || called === "start" || called === "inject" || !spoken.has(error._tag)
      ? Effect.void
      : Console.error(error.message),
  ),
  Effect.provide(Layer.merge(platform, flags)),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    teardown: (exit, onExit) => {
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      if (CliError.isCliError(error)) return onExit(error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : usage)
      if (Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Die")) {
        process.stderr.write(`culvert: this is a defect, please report it:\n${Cause.pretty(exit.cause)}\n`)
      }
      Runtime.defaultTeardown(exit, onExit)
    },
  }),
)
