/**
 * `culvert start` as containers call it: without arguments, or with flags that have a value each. Anything else, help and mistakes
 * among it, is for the command line framework, whose modules take a tenth of a start.
 */
import { type SettingName, table } from "../sidecar/settings.ts"
import { launch } from "./launch.ts"
import { type Given, startSidecar } from "./sidecar.ts"

/** Undefined: the framework has to look at it. */
const plainly = (words: ReadonlyArray<string>): Given | undefined => {
  const given: Partial<Record<SettingName, string>> = {}
  for (let at = 0; at < words.length; at += 2) {
    const name = names.find((name) => `--${table[name].flag}` === words[at])
    const value = words[at + 1]
    if (name === undefined || name in given || value === undefined || value.startsWith("-")) return undefined
    given[name] = value
  }
  return given
}

const names = Object.keys(table) as ReadonlyArray<SettingName>

const given = plainly(process.argv.slice(3))
if (given === undefined) await import("./program.ts")
else launch(startSidecar(given))
