/** Log lines: JSON with stable `event` names for machines, one aligned line for people. */
import { Layer, Logger, References } from "effect"

export type LogFormat = "json" | "text"
export type LogLevelName = "debug" | "info" | "warn" | "error"

export const logLayer = (format: LogFormat, level: LogLevelName, write: (line: string) => void = writeLine) =>
  Layer.mergeAll(
    Logger.layer([
      Logger.map(Logger.formatStructured, (entry) => write(format === "json" ? json(entry) : text(entry))),
    ]),
    Layer.succeed(References.MinimumLogLevel, levels[level]),
  )

/** OpenVPN's verbosity, as far as it matters here: 0 errors, up to 3 the usual, from 4 on everything. */
export const levelOfVerb = (verb: number): LogLevelName => (verb >= 4 ? "debug" : verb === 0 ? "error" : "info")

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

const text = (entry: Entry): string => {
  const level = entry.level === "INFO" ? "" : `${entry.level.toLowerCase()}: `
  const event = typeof entry.annotations.event === "string" ? entry.annotations.event : ""
  const cause = entry.cause === undefined ? "" : `\n${entry.cause}`
  return `${entry.timestamp.slice(11, 23)}  ${event.padEnd(18)} ${level}${String(entry.message)}${cause}`
}

const writeLine = (line: string) => {
  process.stdout.write(`${line}\n`)
}

const levels = { debug: "Debug", info: "Info", warn: "Warn", error: "Error" } as const
