/** The names of log events. They are stable: alerts and scripts rely on them. A test compares this table with the code. */

export type EventRow = {
  readonly meaning: string
  /** Besides `ts`, `level`, `event` and `message`. */
  readonly facts?: ReadonlyArray<string>
} & (
  | { readonly level: "debug" | "info" }
  /** `remedy`: what whoever reads it can do, for docs/troubleshooting.md. */
  | { readonly level: "warn" | "error"; readonly remedy: string }
)

/** In the order in which a run meets them. */
export const events: Readonly<Record<string, EventRow>> = {
  starting: { level: "info", meaning: "The first line.", facts: ["version", "config", "remotes", "http"] },
  settings: {
    level: "info",
    meaning: "Every setting and the configuration as understood, once; secrets are left out.",
    facts: ["settings"],
  },
  config_note: {
    level: "warn",
    meaning: "A remark on the configuration file that does not keep it from being used.",
    remedy: "The message says file, line and what to write instead; `culvert check` shows it again.",
  },
  kill_switch_on: {
    level: "info",
    meaning: "From here on nothing leaves the pod but through the tunnel and to the exceptions.",
    facts: ["exceptions"],
  },
  kill_switch_off: {
    level: "warn",
    meaning: "There is no kill switch, because the settings say so.",
    remedy: "Nothing, if that is wanted; else remove `CULVERT_KILL_SWITCH=off`.",
  },
  kill_switch_none: {
    level: "warn",
    meaning: "There is no kill switch, because the right to set one is missing.",
    remedy: "Give the container `NET_ADMIN`, or protect the pod by a NetworkPolicy.",
  },
  kill_switch_restored: {
    level: "error",
    meaning: "Somebody else removed or changed the kill switch's table; it is set again.",
    remedy:
      "Find who changes nftables in the pod: a container with `NET_ADMIN`, or a node agent that flushes tables it does not know.",
  },
  kill_switch_lost: {
    level: "error",
    meaning: "The kill switch's table is not as it was set, and it cannot be set again; it is tried until it succeeds.",
    remedy:
      "The message says what is in the way; the pod is not ready meanwhile. Whatever took away `NET_ADMIN` or the table has to go.",
  },
  device_ready: { level: "info", meaning: "The tun device is open.", facts: ["device", "managed"] },
  offload: {
    level: "info",
    meaning: "What became of an offload of the data plane, at start or when it is refused later.",
    facts: ["offload", "on"],
  },
  connecting: { level: "info", meaning: "An attempt begins.", facts: ["remote", "attempt"] },
  race_won: {
    level: "info",
    meaning: "Of several servers that were tried at once one answered first; the others are left.",
    facts: ["remote"],
  },
  static_key: {
    level: "warn",
    meaning:
      "Keys are not negotiated but a static one (`secret`): whoever gets it can read all traffic, also that of the past.",
    remedy: "Move the peer to TLS (`tls-client` here, `tls-server` there).",
  },
  peer_options_differ: {
    level: "warn",
    meaning: "With a static key: the peer's options do not match ours; the message has those that differ.",
    remedy: "Make the named options the same at both ends.",
  },
  credentials_awaited: {
    level: "warn",
    meaning:
      "The login was refused, and the next one waits for other credentials or another one-time code (`auth-retry interact`).",
    remedy: "Correct the user name, the password or the file `otp`; the login follows by itself.",
  },
  auth_pending: { level: "info", meaning: "The server waits for a second authentication step." },
  server_info: { level: "info", meaning: "A message of the server for the user." },
  server_question: {
    level: "warn",
    meaning: "The server asks something that nobody is there to answer.",
    remedy: "Put the code into the file `otp` beside `password`, or use a login that needs no answer.",
  },
  push_options_skipped: {
    level: "warn",
    meaning: "The server pushed options that do not apply here.",
    remedy: "Nothing: they do nothing on Linux or here; the message names them.",
  },
  push_repeated: { level: "debug", meaning: "The server pushed its options a second time." },
  push_updated: { level: "info", meaning: "The server changed options of the running connection (PUSH_UPDATE)." },
  control_text_refused: {
    level: "warn",
    meaning: "The server sent a control message that is too long or not printable.",
    remedy: "Tell the server's administrator; it may be an attack if the server is not yours.",
  },
  control_message_unknown: {
    level: "warn",
    meaning: "The server sent a control message without a known meaning.",
    remedy: "Nothing, unless something is missing; then report it with the message.",
  },
  network_note: {
    level: "warn",
    meaning: "A remark on addresses, routes or names.",
    remedy: "The message says which network or name is meant; [operations.md](operations.md) has each with what to do.",
  },
  transport_error: {
    level: "warn",
    meaning:
      "Sending to the server met an error that is survived: a firewall, no route, nobody who listens. Said every 10 s.",
    facts: ["error"],
    remedy:
      "If it goes on: the message says what refuses; look at routes, firewalls and NetworkPolicies on the way to the server.",
  },
  local_address_changed: {
    level: "info",
    meaning: "The pod has another address on the way to the server; a UDP connection goes on from there.",
    facts: ["before", "now"],
  },
  remote_address_changed: {
    level: "info",
    meaning: "The server goes on from another address (`float`); the connection follows it there.",
    facts: ["before", "now"],
  },
  path_mtu: {
    level: "info",
    meaning: "The path to the server carries packets of another size than before; the tunnel's follows.",
    facts: ["path", "mtu"],
  },
  dns_no_server: {
    level: "warn",
    meaning: "Nobody is named for names outside of the cluster, so they are refused; CULVERT_DNS names a server.",
    remedy: "Set `CULVERT_DNS`, or have the server push `dhcp-option DNS`.",
  },
  network_unmanaged: {
    level: "warn",
    meaning: "Without CAP_NET_ADMIN addresses and routes are the administrator's to set; the message has the commands.",
    remedy: "Run the commands of the message in the pod's network, or give the container `NET_ADMIN`.",
  },
  connected: {
    level: "info",
    meaning: "Packets pass.",
    facts: ["cipher", "tls", "addresses", "mtu", "seconds"],
  },
  renegotiated: { level: "info", meaning: "A new data key is in use.", facts: ["keyId"] },
  renegotiation_failed: {
    level: "warn",
    meaning: "No new data key; the old one stays in use until it expires.",
    remedy:
      "Nothing at first: it is tried again. If it goes on, the server's log says why; see the `reason` of the disconnection that follows.",
  },
  control_channel_lost: {
    level: "warn",
    meaning:
      "TLS of the key in use broke; packets still pass, and a new key is asked for when this one is a minute old.",
    remedy:
      "If it comes again: somebody on the way forges control packets; `tls-auth` or `tls-crypt` at both ends keeps them out.",
  },
  disconnected: {
    level: "warn",
    meaning: "An attempt or a connection ended; `established` says whether packets had passed.",
    facts: ["reason", "established"],
    remedy: "Its `reason` is in the table below; Culvert goes on by itself.",
  },
  auth_failed: {
    level: "warn",
    meaning: "The server refused the user name, the password or the certificate.",
    facts: ["reason", "established"],
    remedy: "`AuthFailed` in the table below.",
  },
  retry_scheduled: { level: "info", meaning: "When the next attempt begins.", facts: ["seconds"] },
  ready_check_passed: { level: "info", meaning: "The target of `CULVERT_READY_CHECK` answers through the tunnel." },
  ready_check_failed: {
    level: "warn",
    meaning: "The target of `CULVERT_READY_CHECK` stopped answering; only readiness changes.",
    remedy: "Look at the target; the tunnel itself is judged by the other checks.",
  },
  reloaded: {
    level: "info",
    meaning:
      "The configuration or a credential changed, or SIGHUP came; the connection is made anew with what is valid now.",
    facts: ["reason"],
  },
  reload_refused: {
    level: "error",
    meaning: "The changed configuration is not valid; the connection stays as it is.",
    facts: ["reason"],
    remedy: "Mend the line that the message names; until then the connection stays as it is.",
  },
  reconnecting: { level: "info", meaning: "A control request asked for a new connection." },
  handover_started: {
    level: "info",
    meaning: "A new connection is being established beside the one that is up, which carries on meanwhile.",
  },
  handed_over: {
    level: "info",
    meaning:
      "The new connection carries the traffic. `sessions` is `two` when the server gave it other addresses: connections of before go on over the old one until they end. It is `one` when the server moved the addresses to it, as one does that allows a single session for each certificate.",
    facts: ["remote", "cipher", "tls", "addresses", "mtu", "sessions"],
  },
  handover_failed: {
    level: "warn",
    meaning: "No new connection came about. `stays`: the present one carries on as it is.",
    facts: ["stays"],
    remedy:
      "The message says what refused it: mend the configuration or the credential that changed. Nothing is tried again before the next change, SIGHUP or `POST /reconnect`.",
  },
  handover_impossible: {
    level: "info",
    meaning: "The present connection ends before the new one begins, because the two cannot stand beside each other.",
  },
  drained: {
    level: "info",
    meaning:
      "An old connection is closed: nothing went through it for 30 s, it was kept for 5 min, its server is gone, or its place was needed.",
    facts: ["addresses", "seconds"],
  },
  paused: { level: "info", meaning: "A control request paused the tunnel." },
  resumed: { level: "info", meaning: "A control request ended the pause." },
  part_crashed: {
    level: "error",
    meaning: "A part of the program crashed; please report it.",
    facts: ["part", "cause", "crashesWithinAMinute"],
    remedy: "Report it with `cause`. The part is started again, and five crashes within a minute end the program.",
  },
  request_failed: {
    level: "error",
    meaning: "A request over HTTP met a defect and was answered with 500.",
    remedy: "Report it with the message. The server goes on.",
  },
  query_failed: {
    level: "error",
    meaning: "A DNS query met a defect and was not answered.",
    remedy: "Report it with the message. The forwarder goes on.",
  },
  part_restarted: { level: "info", meaning: "A part that had crashed is started again.", facts: ["part"] },
  stopping: { level: "info", meaning: "The program was asked to stop." },
  failed: {
    level: "error",
    meaning: "Why the program ends; the exit code says the same.",
    facts: ["reason"],
    remedy: "Its `reason` is in the first table.",
  },
  stopped: { level: "info", meaning: "The last line." },
}
