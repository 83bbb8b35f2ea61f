/** The sidecar's settings that are not OpenVPN directives. */
import { Result } from "effect"
import {
  address,
  domain,
  inbound,
  type Listen,
  listen,
  listOf,
  network,
  oneOf,
  readTable,
  row,
  type SettingsError,
  type SettingsOf,
  text,
} from "../settings/index.ts"
import type { ReadyTarget } from "../tunnel/index.ts"

export const table = {
  config: row("config", "/etc/culvert/client.ovpn", "The OpenVPN configuration file.", text),
  credentials: row(
    "credentials",
    "/etc/culvert/credentials",
    "Directory with the files `username`, `password` and, as needed, `key-passphrase`, `otp` and `control-token`: a mounted Secret.",
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
  connect: row(
    "connect",
    "sequential",
    "How a list of servers is tried: `sequential`, one after the other, or `race`, all of them 250 ms apart, of which the first that answers is taken.",
    oneOf("sequential", "race"),
  ),
  disableOffloads: row(
    "disable-offloads",
    "",
    "Work that is not left to the kernel in large pieces: `tso`, `uso`, `udp-segment`, `udp-gro`; each is given up by itself where it is refused.",
    listOf(oneOf("tso", "uso", "udp-segment", "udp-gro")),
  ),
  readyCheck: row(
    "ready-check",
    undefined,
    "What has to answer through the tunnel for the pod to be ready: `tcp:HOST:PORT` or `icmp:HOST`.",
    readyCheck,
  ),
  control: row(
    "control",
    "127.0.0.1:4912",
    "Where `POST /reconnect`, `/pause` and `/resume` are served, if there is a token; an address of the loopback.",
    loopback,
  ),
  controlTokenFile: row(
    "control-token-file",
    undefined,
    "File with the token that control requests bear; without it `control-token` among the credentials, without both no control. It may be replaced while Culvert runs.",
    text,
  ),
} as const

export type SettingName = keyof typeof table
export type Settings = SettingsOf<typeof table>

/** `tcp:HOST:PORT`, `tcp:[ADDRESS]:PORT`, `icmp:HOST`. */
function readyCheck(value: string): Result.Result<ReadyTarget, string> {
  const match = /^(?:icmp:([^\s/]+)|tcp:(?:\[([0-9a-fA-F:]+)\]|([^\s:/]+)):(\d{1,5}))$/.exec(value)
  const [, target, address, name] = match ?? []
  const port = Number(match?.[4])
  if (target !== undefined) return Result.succeed({ protocol: "icmp", host: target })
  const host = address ?? name
  return host === undefined || port < 1 || port > 65535
    ? Result.fail("must be tcp:HOST:PORT or icmp:HOST")
    : Result.succeed({ protocol: "tcp", host, port })
}

function loopback(value: string): Result.Result<Listen, string> {
  const place = listen(value)
  return Result.isSuccess(place) && place.success !== "off" && isLoopback(place.success.hostname)
    ? Result.succeed(place.success)
    : Result.fail("must be an address of the loopback with a port, such as 127.0.0.1:4912")
}

const isLoopback = (hostname: string) => hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname)

/** All settings, or one error that names every wrong one. */
export const readSettings = (
  flags: { readonly [K in SettingName]?: string | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): Result.Result<Settings, SettingsError> => readTable(table, flags, environment)
