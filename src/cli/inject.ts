/** `culvert inject`: the admission webhook that gives pods their sidecar. */
import { Effect, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { defaultsOf, inCluster, injectorTable, runInjector } from "../injector/index.ts"
import { readTable } from "../settings/index.ts"
import { tellEnd } from "../sidecar/index.ts"
import { logging } from "./logging.ts"

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
    const settings = yield* Effect.fromResult(
      Result.flatMap(readTable(injectorTable, given, process.env), (settings) =>
        Result.map(defaultsOf(settings), (defaults) => ({ ...settings, defaults })),
      ),
    ).pipe(Effect.tapError(tellEnd), Effect.provide(logging(undefined, "error")))
    yield* runInjector(settings, settings.defaults, inCluster(process.env)).pipe(
      Effect.tapError(tellEnd),
      Effect.provide(logging(settings.logFormat, settings.logLevel)),
    )
  }),
).pipe(Command.withDescription("Run the Kubernetes admission webhook that gives pods their sidecar"))
