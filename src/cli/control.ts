/** `culvert reconnect`, `pause`, `resume`: ask it of the running sidecar, with the token that it reads itself. */
import { Console, Effect, Option, Redacted } from "effect"
import { Command, Flag } from "effect/cli"
import { readSettings, readToken, type SettingName, table, tokenFileOf } from "../sidecar/index.ts"
import type { Wish } from "../tunnel/index.ts"
import { askSidecar, NotReachable } from "./ask.ts"

const flag = (name: SettingName) =>
  Flag.String(table[name].flag).pipe(
    Flag.withDescription(`${table[name].documentation} [${table[name].variable}]`),
    Flag.optional,
  )
const flags = { control: flag("control"), controlTokenFile: flag("controlTokenFile") }

const commandOf = (wish: Wish, description: string) =>
  Command.make(
    wish,
    flags,
    Effect.fnUntraced(function* ({ control, controlTokenFile }) {
      const given = {
        control: Option.getOrUndefined(control),
        controlTokenFile: Option.getOrUndefined(controlTokenFile),
      }
      const settings = yield* Effect.fromResult(readSettings(given, process.env))
      const tokenFile = tokenFileOf(settings)
      if (tokenFile === undefined) {
        const { flag, variable } = table.controlTokenFile
        return yield* new NotReachable({
          message: `nobody may ask for that: the sidecar has to run with ${variable}, --${flag} or a file control-token among its credentials, and so has this command`,
        })
      }
      const token = yield* Effect.fromResult(readToken(tokenFile))
      const { ok, body } = yield* askSidecar(settings.control, `/${wish}`, {
        method: "POST",
        headers: { authorization: `Bearer ${Redacted.value(token)}` },
      })
      if (!ok) return yield* new NotReachable({ message: `${wish}: ${body.trimEnd()}` })
      yield* Console.log(`${wish}: accepted; \`culvert status\` shows what becomes of it`)
    }),
  ).pipe(Command.withDescription(description))

export const reconnect = commandOf("reconnect", "Ask the running sidecar for a new connection, also out of a pause")
export const pause = commandOf("pause", "Ask the running sidecar to disconnect; the kill switch stays")
export const resume = commandOf("resume", "Ask the running sidecar to go on after a pause")
