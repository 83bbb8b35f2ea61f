/** The sidecar's settings that are not OpenVPN directives. */
import type { Result } from "effect"
import {
  address,
  domain,
  inbound,
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
  disableOffloads: row(
    "disable-offloads",
    "",
    "Work that is not left to the kernel in large pieces: `tso`, `uso`, `udp-segment`, `udp-gro`; each is given up by itself where it is refused.",
    listOf(oneOf("tso", "uso", "udp-segment", "udp-gro")),
  ),
} as const

export type SettingName = keyof typeof table
export type Settings = SettingsOf<typeof table>

/** All settings, or one error that names every wrong one. */
export const readSettings = (
  flags: { readonly [K in SettingName]?: string | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): Result.Result<Settings, SettingsError> => readTable(table, flags, environment)
