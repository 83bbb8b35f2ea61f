/** Where a long-running command logs: text, with colour unless that is not wanted, on a terminal, JSON elsewhere. */
import { type LogFormat, type LogLevelName, logLayer } from "../sidecar/log.ts"

/** `format` undefined: as the standard output asks for. */
export const logging = (format: LogFormat | undefined, level: LogLevelName) =>
  logLayer(format ?? (process.stdout.isTTY ? "text" : "json"), level, {
    colour: process.stdout.isTTY === true && !process.env.NO_COLOR,
  })
