/** Rows: how the process runs and logs, scripts, and the language of the file itself. */
import {
  honoured,
  ignored,
  ignoredLoudly,
  type Rest,
  type Row,
  refused,
  takes,
  takesMany,
  usage,
  word,
} from "../row.ts"
import { integer, oneOf, path, text } from "../values.ts"

const container = "the container's security context decides"
const logs = "logs go to standard output"
const ownInterface = "Culvert has its own: `culvert status` and HTTP"
const noScripts = "no scripts are run"
const management = (doc: string, rest: Rest = {}) => ignored(ownInterface, doc, rest)
const script = (doc: string, rest: Rest = {}) => ignoredLoudly(noScripts, doc, rest)

export const process = {
  verb: honoured({
    takes: takes([integer("level", 0, 15)]),
    default: [1],
    doc: "How much is logged: 0 errors only, 4 and more for debugging.",
  }),
  mute: ignored("repeated messages are counted anyway", "Limit repeated messages.", {
    takes: usage("count"),
    push: "other",
  }),
  cd: honoured({
    takes: takes([path]),
    otherwise: "the directory of the file",
    doc: "The directory that relative file names start from.",
  }),
  config: refused("a configuration is one file", "Read another file at this place.", "put its lines here"),
  setenv: honoured({
    takes: takesMany([text("name")], word),
    repeats: true,
    doc: "`UV_*` and `IV_*` are told to the server; `opt` introduces a directive that may be unknown; `FORWARD_COMPATIBLE 1` makes all unknown directives warnings; others were for scripts.",
  }),
  "setenv-safe": ignored(noScripts, "A variable for scripts.", {
    takes: usage("name [value]"),
    repeats: true,
    push: "other",
  }),
  "ignore-unknown-option": honoured({
    takes: takesMany([text("name")], text("name")),
    repeats: true,
    doc: "These directives may be unknown.",
  }),
  echo: ignored("nobody listens", "A message for a graphical client.", {
    takes: usage("[word...]"),
    repeats: true,
    push: "other",
  }),
  parameter: ignored("nobody listens", "Another name of `echo`.", {
    takes: usage("[word...]"),
    repeats: true,
    push: "other",
  }),
  "persist-key": ignored("keys are always kept in memory", "Do not read keys again at a reconnect.", { push: "other" }),
  "compat-mode": ignoredLoudly("defaults stay those of OpenVPN 2.6", "Defaults of an older version.", {
    takes: usage("version [word]"),
  }),
  "disable-occ": ignored("options are not compared with the server's", "Do not compare options with the server's."),
  "disable-dco": ignored("packets are always handled in the process", "Do not handle packets in the kernel.", {
    takes: usage("[word...]"),
    connection: true,
  }),
  gremlin: ignored("it is for tests of OpenVPN itself", "Drop and damage packets at random.", { takes: usage("mask") }),
  "use-prediction-resistance": ignored("OpenSSL's generator is used", "Reseed the random number generator often."),
  user: ignored(container, "The user to become.", { takes: usage("name") }),
  group: ignored(container, "The group to become.", { takes: usage("name") }),
  chroot: ignored(container, "The root directory to change to.", { takes: usage("directory") }),
  setcon: ignored(container, "The SELinux context to change to.", { takes: usage("context") }),
  nice: ignored(container, "The priority of the process.", { takes: usage("priority") }),
  mlock: ignored(container, "Keep memory from being swapped out."),
  daemon: ignored("it runs in the foreground", "Go into the background.", { takes: usage("[name]") }),
  writepid: ignored("a container has one main process", "Write the process id to a file.", { takes: usage("file") }),
  "tmp-dir": ignored("no temporary files are written", "Directory of temporary files.", { takes: usage("directory") }),
  "remap-usr1": ignoredLoudly(
    "a lost connection is followed by another attempt",
    "Turn reconnects into another signal.",
    { takes: takes([oneOf("SIGHUP", "SIGTERM")]) },
  ),
  status: ignored(ownInterface, "Write the state to a file.", { takes: usage("file [seconds]") }),
  memstats: ignored(ownInterface, "Write counters to a file in memory.", { takes: usage("file") }),
  "status-version": ignored(ownInterface, "Form of the status file.", { takes: takes([oneOf("1", "2", "3")]) }),
  log: ignored(logs, "Write the log to a file.", { takes: usage("file") }),
  "log-append": ignored(logs, "Append the log to a file.", { takes: usage("file") }),
  syslog: ignored(logs, "Write the log to syslog.", { takes: usage("[name]") }),
  "errors-to-stderr": ignored(logs, "Write errors to standard error.", { push: "other" }),
  "suppress-timestamps": ignored(logs, "Log without time."),
  "machine-readable-output": ignored(logs, "Log with more detail of time."),
  management: management("Listen for commands.", { takes: usage("address port [file]") }),
  "management-client": management("Connect out for commands."),
  "management-client-auth": management("Let the other side check passwords."),
  "management-client-group": management("Who may connect.", { takes: usage("name") }),
  "management-client-pf": management("Obsolete.", { takes: usage("[file]") }),
  "management-client-user": management("Who may connect.", { takes: usage("name") }),
  "management-forget-disconnect": management("Forget passwords when it disconnects."),
  "management-hold": management("Wait for a command before starting."),
  "management-log-cache": management("Keep messages for it.", { takes: usage("lines") }),
  "management-query-passwords": management("Ask it for passwords."),
  "management-query-proxy": management("Ask it for a proxy."),
  "management-query-remote": management("Ask it for a server."),
  "management-signal": management("Stop when it disconnects."),
  "management-up-down": management("Tell it about the device."),
  "script-security": ignored(noScripts, "Which programs may be run.", { takes: usage("level") }),
  up: script("Script to run when the device is open.", { takes: usage("command") }),
  down: script("Script to run when the device is closed.", { takes: usage("command") }),
  "route-up": script("Script to run when routes are set.", { takes: usage("command") }),
  "route-pre-down": script("Script to run before routes are removed.", { takes: usage("command") }),
  ipchange: script("Script to run when the server's address is known.", { takes: usage("command") }),
  "up-delay": ignored(noScripts, "When to run the script of `up`."),
  "up-restart": ignored(noScripts, "When to run the script of `up`."),
  "down-pre": ignored(noScripts, "When to run the script of `down`."),
  iproute: ignored(noScripts, "Program that sets addresses and routes.", { takes: usage("command") }),
  plugin: refused(
    "OpenVPN's plugins cannot be loaded",
    "Load a plugin.",
    "remove the line if the tunnel works without it",
  ),
} as const satisfies Record<string, Row>
