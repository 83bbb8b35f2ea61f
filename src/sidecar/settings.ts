/**
 * What is not an OpenVPN directive: one table makes the flags, the environment variables, the validation and the
 * reference page. A flag wins over `CULVERT_X`, that over `CULVERT_X_FILE`, that over the default.
 */
import { readFileSync } from "node:fs"
import { isIP } from "node:net"
import { Data, Result, Runtime } from "effect"
import type { PodSettings } from "../tunnel/index.ts"

export class SettingsError extends Data.TaggedError("SettingsError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 64
}

interface Row<A, D extends string | undefined = string | undefined> {
  readonly flag: string
  readonly variable: string
  readonly default: D
  readonly documentation: string
  readonly parse: (text: string) => Result.Result<A, string>
}

const row = <A, D extends string | undefined>(
  flag: string,
  fallback: D,
  documentation: string,
  parse: (text: string) => Result.Result<A, string>,
): Row<A, D> => ({
  flag,
  variable: `CULVERT_${flag.toUpperCase().replaceAll("-", "_")}`,
  default: fallback,
  documentation,
  parse,
})

const text = (value: string): Result.Result<string, string> =>
  value === "" ? Result.fail("must not be empty") : Result.succeed(value)

const oneOf =
  <const A extends ReadonlyArray<string>>(...choices: A) =>
  (value: string): Result.Result<A[number], string> =>
    choices.includes(value) ? Result.succeed(value) : Result.fail(`must be one of ${choices.join(", ")}`)

export interface Listen {
  readonly hostname: string
  readonly port: number
}

/** `[::]:4911`, `127.0.0.1:4911`, `:4911`, or `off`. */
const listen = (value: string): Result.Result<Listen | "off", string> => {
  if (value === "off") return Result.succeed("off")
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  return match === null || port > 65535
    ? Result.fail("must be ADDRESS:PORT, [ADDRESS]:PORT or 'off'")
    : Result.succeed({ hostname: match[1] ?? (match[2] || "::"), port })
}

/** Comma or space separated. */
const listOf =
  <A>(one: (value: string) => Result.Result<A, string>) =>
  (value: string): Result.Result<ReadonlyArray<A>, string> => {
    const items = value.split(/[\s,]+/).filter((item) => item !== "")
    const parsed = items.map((item) => Result.mapError(one(item), (problem) => `${item} ${problem}`))
    const wrong = parsed.find(Result.isFailure)
    return wrong === undefined
      ? Result.succeed(parsed.filter(Result.isSuccess).map(({ success }) => success))
      : Result.fail(wrong.failure)
  }

const address = (value: string): Result.Result<string, string> =>
  isIP(value) === 0 ? Result.fail("is no IP address") : Result.succeed(value)

/** `10.0.0.0/8`, `fd00::/8`, or one address. */
const network = (value: string): Result.Result<string, string> => {
  const [host = "", prefix, ...rest] = value.split("/")
  const bits = isIP(host) === 4 ? 32 : isIP(host) === 6 ? 128 : undefined
  return bits === undefined ||
    rest.length > 0 ||
    (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
    ? Result.fail("is no network such as 10.0.0.0/8 or fd00::/8")
    : Result.succeed(value)
}

const domain = (value: string): Result.Result<string, string> =>
  /^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$/.test(value) ? Result.succeed(value) : Result.fail("is no domain name")

/** `tcp:8080`, `udp:53`, `icmp`, `all`. */
const inbound = (value: string): Result.Result<PodSettings["inbound"][number], string> => {
  if (value === "icmp" || value === "all") return Result.succeed({ protocol: value })
  const match = /^(tcp|udp):(\d{1,5})$/.exec(value)
  const port = Number(match?.[2])
  return match === null || port < 1 || port > 65535
    ? Result.fail("must be tcp:PORT, udp:PORT, icmp or all")
    : Result.succeed({ protocol: match[1] as "tcp" | "udp", port })
}

export const table = {
  config: row("config", "/etc/culvert/client.ovpn", "The OpenVPN configuration file.", text),
  credentials: row(
    "credentials",
    "/etc/culvert/credentials",
    "Directory with the files `username`, `password` and, for an encrypted key, `key-passphrase`: a mounted Secret.",
    text,
  ),
  authUserPass: row(
    "auth-user-pass",
    undefined,
    "File with the user name in its first line and the password in its second.",
    text,
  ),
  http: row("http", "[::]:4911", "Where probes, metrics and status are served; `off` for nowhere.", listen),
  logFormat: row(
    "log-format",
    undefined,
    "`json` or `text`; without it text on a terminal, JSON elsewhere.",
    oneOf("json", "text"),
  ),
  logLevel: row(
    "log-level",
    undefined,
    "`debug`, `info`, `warn` or `error`; without it `verb` of the file decides.",
    oneOf("debug", "info", "warn", "error"),
  ),
  killSwitch: row(
    "kill-switch",
    undefined,
    "`on` or `off`. Without it: on in a pod; on the machine's own network (`hostNetwork`) the start is refused.",
    oneOf("on", "off"),
  ),
  bypass: row(
    "bypass",
    "",
    "Networks that are reached beside the tunnel, such as the cluster's pod, service and node networks: `10.244.0.0/16,10.96.0.0/12`.",
    listOf(network),
  ),
  inbound: row(
    "inbound",
    "",
    "What may come in through the tunnel: `tcp:PORT`, `udp:PORT`, `icmp` or `all`; without it only answers.",
    listOf(inbound),
  ),
  dnsMode: row(
    "dns-mode",
    "redirect",
    "How the pod's DNS queries reach the forwarder: `redirect` catches port 53, `resolvconf` rewrites /etc/resolv.conf, `off` leaves DNS alone.",
    oneOf("redirect", "resolvconf", "off"),
  ),
  dns: row("dns", "", "DNS servers to ask through the tunnel when the server names none.", listOf(address)),
  clusterDomains: row(
    "cluster-domains",
    "",
    "Domains that the pod's own resolvers answer, beside the search list of /etc/resolv.conf.",
    listOf(domain),
  ),
} as const

export type SettingName = keyof typeof table
type Parsed<R> = R extends Row<infer A, string | undefined> ? A : never
export type Settings = {
  readonly [K in SettingName]: (typeof table)[K]["default"] extends string
    ? Parsed<(typeof table)[K]>
    : Parsed<(typeof table)[K]> | undefined
}

/** All settings, or one error that names every wrong one. */
export const readSettings = (
  flags: { readonly [K in SettingName]?: string | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): Result.Result<Settings, SettingsError> => {
  const problems: Array<string> = []
  const values: Record<string, unknown> = {}
  for (const [name, row] of Object.entries(table) as ReadonlyArray<[SettingName, Row<unknown>]>) {
    const given = source(row, flags[name], environment)
    if (given === undefined) continue
    const parsed = Result.flatMap(given.value, row.parse)
    if (Result.isSuccess(parsed)) values[name] = parsed.success
    else problems.push(`${given.from}: ${parsed.failure}`)
  }
  return problems.length > 0
    ? Result.fail(new SettingsError({ message: problems.join("; ") }))
    : Result.succeed(values as unknown as Settings)
}

const source = (
  row: Row<unknown>,
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
) => {
  if (flag !== undefined) return { from: `--${row.flag}`, value: Result.succeed(flag) }
  const variable = environment[row.variable]
  if (variable !== undefined && variable !== "") return { from: row.variable, value: Result.succeed(variable) }
  const file = environment[`${row.variable}_FILE`]
  if (file !== undefined && file !== "") return { from: `${row.variable}_FILE=${file}`, value: readFirst(file) }
  return row.default === undefined ? undefined : { from: "default", value: Result.succeed(row.default) }
}

const readFirst = (file: string): Result.Result<string, string> => {
  try {
    return Result.succeed(readFileSync(file, "utf8").trim())
  } catch (error) {
    return Result.fail(`cannot be read: ${(error as { readonly code?: string }).code ?? "unknown error"}`)
  }
}
