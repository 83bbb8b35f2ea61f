/** Log lines: JSON with stable `event` names for machines, one aligned line for people. */
import { Effect, Layer, Logger, References } from "effect"

export type LogFormat = "json" | "text"
export type LogLevelName = "debug" | "info" | "warn" | "error"

export interface LogOptions {
  /** Of text; none unless said. */
  readonly colour?: boolean
  readonly write?: (line: string) => void
}

export const logLayer = (
  format: LogFormat,
  level: LogLevelName,
  { colour = false, write = writeLine }: LogOptions = {},
) => {
  const limit = new RateLimit()
  return Layer.mergeAll(
    Logger.layer([
      Logger.map(Logger.formatStructured, (entry) => {
        const event = String(entry.annotations.event ?? "")
        const suppressed = limit.admit(event, Date.parse(entry.timestamp))
        if (suppressed === undefined && entry.level !== "ERROR") return
        const annotations = suppressed ? { ...entry.annotations, suppressed } : entry.annotations
        write(format === "json" ? json({ ...entry, annotations }) : text({ ...entry, annotations }, colour))
      }),
    ]),
    Layer.succeed(References.MinimumLogLevel, levels[level]),
  )
}

/** The last word of a program that fails, wherever it fails. */
export const tellEnd = (error: { readonly _tag: string; readonly message: string }) =>
  Effect.logError(error.message).pipe(Effect.annotateLogs({ event: "failed", reason: error._tag }))

/** OpenVPN's verbosity, as far as it matters here: 0 errors, up to 3 the usual, from 4 on everything. */
export const levelOfVerb = (verb: number): LogLevelName => (verb >= 4 ? "debug" : verb === 0 ? "error" : "info")

/** At most `linesPerWindow` lines of an event in `window` ms, so that nobody outside can fill the disk. */
export class RateLimit {
  readonly #events = new Map<string, { begin: number; lines: number; suppressed: number }>()

  /** How many lines of this event were left out before this one; undefined when this one is to be left out as well. */
  admit(event: string, now: number): number | undefined {
    const seen = this.#events.get(event)
    if (seen === undefined || now - seen.begin >= window) {
      this.#events.set(event, { begin: now, lines: 1, suppressed: 0 })
      return seen?.suppressed ?? 0
    }
    seen.lines++
    if (seen.lines <= linesPerWindow) return 0
    seen.suppressed++
    return undefined
  }
}

const linesPerWindow = 30
const window = 10_000

interface Entry {
  readonly level: string
  readonly timestamp: string
  readonly message: unknown
  readonly cause: string | undefined
  readonly annotations: Record<string, unknown>
}

/** Keys come in a fixed order: ts, level, event, message, then the facts of the event. */
const json = (entry: Entry): string => {
  const { event, ...facts } = entry.annotations
  return JSON.stringify({
    ts: entry.timestamp,
    level: entry.level.toLowerCase(),
    event,
    message: entry.message,
    ...facts,
    ...(entry.cause === undefined ? {} : { cause: entry.cause }),
  })
}

/** Facts are in the message already, but for those that are a whole tree. */
const text = (entry: Entry, colour: boolean): string => {
  const paint = (code: number, part: string) => (colour ? `\x1b[${code}m${part}\x1b[0m` : part)
  const level = entry.level === "INFO" ? "" : `${paint(colours[entry.level] ?? 0, entry.level.toLowerCase())}: `
  const { event, suppressed, ...facts } = entry.annotations
  const name = paint(36, String(event ?? "").padEnd(20))
  const trees = Object.values(facts).filter((fact) => typeof fact === "object" && fact !== null && !Array.isArray(fact))
  return [
    `${paint(2, entry.timestamp.slice(11, 23))}  ${name} ${level}${String(entry.message)}`,
    ...(suppressed === undefined ? [] : [`  and ${suppressed} lines like this left out`]),
    ...trees.flatMap((fact) => tree(fact)),
    ...(entry.cause === undefined ? [] : [entry.cause]),
  ].join("\n")
}

const tree = (value: unknown, indent = "  "): ReadonlyArray<string> =>
  Object.entries(value as object).flatMap(([key, part], index, all) => {
    const last = index === all.length - 1
    const branch = `${indent}${last ? "└" : "├"} ${Array.isArray(value) ? "" : `${key}${isTree(part) ? "" : ": "}`}`
    return isTree(part) ? [branch, ...tree(part, `${indent}${last ? "  " : "│ "}`)] : [`${branch}${String(part)}`]
  })

const isTree = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.keys(value).length > 0

/** Bun's own writer waits for nobody, as `process.stdout` does, whose modules of Node's take 8 ms of a start. */
const writeLine = (line: string) => {
  sink ??= Bun.stdout.writer()
  try {
    sink.write(`${line}\n`)
    void Promise.resolve(sink.flush()).catch(nobodyReads)
  } catch {
    nobodyReads()
  }
}
let sink: Bun.FileSink | undefined

/** That is no reason to end. */
const nobodyReads = () => {}

const colours: Readonly<Record<string, number>> = { DEBUG: 2, WARN: 33, ERROR: 31 }

const levels = { debug: "Debug", info: "Info", warn: "Warn", error: "Error" } as const
