/**
 * Reads the command line and runs one command. Only the command that is called is loaded: a probe that runs every few
 * seconds needs nothing of the tunnel. Exit codes: see docs/architecture.md.
 */
import { Console, Effect, Layer } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { version } from "../version.ts"
import { launch } from "./launch.ts"
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
  (command) =>
    launch(command, (error) => {
      if (!CliError.isCliError(error)) return undefined
      return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : usage
    }),
)
