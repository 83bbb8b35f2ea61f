/** `culvert status` and `culvert health`: ask the running sidecar over its own HTTP port. */
import { Console, Effect, Option, Result, Schedule } from "effect"
import { Command, Flag } from "effect/cli"
import { fit, readSettings, type ShownStatus, statusText, table } from "../sidecar/index.ts"
import { askSidecar, NotReachable } from "./ask.ts"

const http = Flag.String("http").pipe(
  Flag.withDescription(`${table.http.documentation} [${table.http.variable}]`),
  Flag.optional,
)

export const status = Command.make(
  "status",
  {
    http,
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false)),
    watch: Flag.Boolean("watch").pipe(Flag.withDescription("Go on, once a second"), Flag.withDefault(false)),
  },
  Effect.fnUntraced(function* ({ http, json, watch }) {
    const { body } = yield* ask(http, "/status")
    if (json) yield* Console.log(body)
    else yield* Console.log(statusText(JSON.parse(body), Date.now()))
    if (watch) yield* follow(http, json, body)
  }),
).pipe(Command.withDescription("Show what the running sidecar does"))

/** JSON: a line a second. Text with rates, on a terminal over the one before. Ends when the sidecar does not answer any more. */
const follow = Effect.fnUntraced(function* (http: Option.Option<string>, json: boolean, first: string) {
  let before = { status: JSON.parse(first) as ShownStatus, at: Date.now() }
  for (;;) {
    yield* Effect.sleep("1 second")
    const { body } = yield* ask(http, "/status")
    if (json) {
      yield* Console.log(body)
      continue
    }
    const now = Date.now()
    const status = JSON.parse(body) as ShownStatus
    const shown = statusText(status, now, { status: before.status, seconds: (now - before.at) / 1000 })
    const { isTTY, columns = 80, rows = 24 } = process.stdout
    yield* Console.log(isTTY ? `${clearScreen}${fit(shown, { columns, rows })}` : `\n${shown}`)
    before = { status, at: now }
  }
})

const clearScreen = "\x1b[H\x1b[2J"

export const health = Command.make(
  "health",
  {
    http,
    wait: Flag.Int("wait").pipe(
      Flag.withDescription("Seconds to go on asking until the answer is yes, for a postStart hook"),
      Flag.withDefault(0),
    ),
  },
  Effect.fnUntraced(function* ({ http, wait }) {
    const look = Effect.filterOrFail(
      ask(http, "/readyz?verbose"),
      ({ ok }) => ok,
      ({ body }) => new NotReachable({ message: `${body.trimEnd()}\nnot ready` }),
    )
    const again = Schedule.spaced("250 millis").pipe(Schedule.upTo({ duration: `${wait} seconds` }))
    const { body } = yield* wait > 0 ? Effect.retry(look, again) : look
    yield* Console.log(body.trimEnd())
  }),
).pipe(Command.withDescription("Exit 0 when packets pass: for exec probes"))

const ask = Effect.fnUntraced(function* (flag: Option.Option<string>, path: string) {
  const settings = yield* Effect.fromResult(
    Result.map(readSettings({ http: Option.getOrUndefined(flag) }, process.env), (settings) => settings.http),
  )
  if (settings === "off") return yield* new NotReachable({ message: "CULVERT_HTTP is off: there is nothing to ask" })
  return yield* askSidecar(settings, path)
})
