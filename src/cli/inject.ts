/** `culvert inject`: the admission webhook that gives pods their sidecar. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { defaultsOf, inCluster, injectorTable, runInjector } from "../injector/index.ts"
import { readTable } from "../settings/index.ts"
import { logLayer } from "../sidecar/index.ts"

type Name = keyof typeof injectorTable

const names = Object.keys(injectorTable) as ReadonlyArray<Name>

/** One optional flag a row of the settings table. */
const flags = Object.fromEntries(
  names.map((name) => {
    const { flag, variable, documentation, default: fallback } = injectorTable[name]
    const shown = fallback === undefined || fallback === "" ? "" : `; default ${fallback}`
    return [
      name,
      Flag.String(flag).pipe(Flag.withDescription(`${documentation} [${variable}${shown}]`), Flag.optional),
    ] as const
  }),
) as Record<Name, Flag.Flag<Option.Option<string>>>

export const inject = Command.make(
  "inject",
  flags,
  Effect.fnUntraced(function* (flags) {
    const given = Object.fromEntries(names.map((name) => [name, Option.getOrUndefined(flags[name])]))
    const settings = yield* Effect.fromResult(readTable(injectorTable, given, process.env))
    const defaults = yield* Effect.fromResult(defaultsOf(settings))
    const format = settings.logFormat ?? (process.stdout.isTTY ? "text" : "json")
    yield* runInjector(settings, defaults, inCluster(process.env)).pipe(
      Effect.tapError((error) =>
        Effect.logError(error.message).pipe(Effect.annotateLogs({ event: "failed", reason: error._tag })),
      ),
      Effect.provide(logLayer(format, settings.logLevel)),
    )
  }),
).pipe(Command.withDescription("Run the Kubernetes admission webhook that gives pods their sidecar"))
