/** Settings and configuration as one tree for the log: all that is in force, and no secret. */
import { type Profile, print } from "../config/index.ts"
import { type SettingName, type Settings, table } from "./settings.ts"

/** By flag; what is not set is left out. `profile` is the configuration's canonical text, keys and certificates without content. */
export const summary = (settings: Settings, profile: Profile): Readonly<Record<string, unknown>> => ({
  ...Object.fromEntries(
    (Object.keys(table) as ReadonlyArray<SettingName>).flatMap((name) => {
      const shown = show(settings[name])
      return shown === "" ? [] : [[table[name].flag, shown]]
    }),
  ),
  profile: withoutContent(print(profile)),
})

const show = (value: unknown): string => {
  if (value === undefined) return ""
  if (Array.isArray(value)) return value.map(show).join(", ")
  if (typeof value !== "object" || value === null) return String(value)
  return Object.values(value).map(show).join(":")
}

/** One line for a block: certificates are no secret, but nobody reads them in a log. */
const withoutContent = (text: string): ReadonlyArray<string> =>
  text
    .replace(/^<([\w-]+)>\n[\s\S]*?^<\/\1>$/gm, "<$1>…</$1>")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
