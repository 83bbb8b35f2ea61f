/** Where a long-running command logs: text, with colour unless that is not wanted, on a terminal, JSON elsewhere. */
import { isTerminal } from "../linux/index.ts"
import { type LogFormat, type LogLevelName, logLayer } from "../sidecar/log.ts"

/** `format` undefined: as the standard output asks for. */
export const logging = (format: LogFormat | undefined, level: LogLevelName) =>
  logLayer(format ?? (isTerminal(STDOUT) ? "text" : "json"), level, {
    colour: isTerminal(STDOUT) && !process.env.NO_COLOR,
  })

const STDOUT = 1
