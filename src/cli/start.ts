/** `culvert start`, for the command line framework. */
import { Option } from "effect"
import { Command, Flag } from "effect/cli"
import { type SettingName, table } from "../sidecar/settings.ts"
import { startSidecar } from "./sidecar.ts"

export const start = Command.make("start", { ...settingFlags() }, (flags) => startSidecar(given(flags))).pipe(
  Command.withDescription("Connect and carry the pod's traffic until told to stop"),
)

/** One optional flag a row of the settings table. */
function settingFlags() {
  const flag = (name: SettingName) =>
    Flag.String(table[name].flag).pipe(
      Flag.withDescription(`${table[name].documentation} [${table[name].variable}]`),
      Flag.optional,
    )
  const names = Object.keys(table) as ReadonlyArray<SettingName>
  return Object.fromEntries(names.map((name) => [name, flag(name)])) as Record<SettingName, ReturnType<typeof flag>>
}

const given = (
  flags: { readonly [K in SettingName]: Option.Option<string> },
): { readonly [K in SettingName]: string | undefined } =>
  Object.fromEntries(Object.entries(flags).map(([name, value]) => [name, Option.getOrUndefined(value)])) as {
    readonly [K in SettingName]: string | undefined
  }
