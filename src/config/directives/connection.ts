/** Rows: which server, over which transport, and how patiently. */
import * as Result from "effect/Result"
import { flag, honoured, ignored, ignoredLoudly, type Row, refused, takes, takesMany, usage, word } from "../row.ts"
import { deviceName, host, integer, oneOf, path, port, seconds, text, wordOr } from "../values.ts"

const protocols = oneOf("udp", "udp4", "udp6", "tcp", "tcp4", "tcp6", "tcp-client", "tcp4-client", "tcp6-client")

export const protocol: typeof protocols = {
  ...protocols,
  read: (text) =>
    /^tcp[46]?-server$/.test(text) ? Result.fail("a protocol that connects, as a client does") : protocols.read(text),
}

const socketIsOurs = "the socket is Culvert's to tune"
const bufferSize = takes([integer("bytes", 0, 2147483647)])

export const connection = {
  client: honoured({
    takes: flag,
    doc: "Short for `tls-client` and `pull`: be a client of a server with many clients.",
  }),
  "tls-client": honoured({ takes: flag, doc: "Use TLS, as the side that connects." }),
  pull: honoured({ takes: flag, doc: "Take addresses, routes and other options from the server." }),
  remote: honoured({
    takes: takes([host], [port, protocol]),
    connection: true,
    repeats: true,
    doc: "A server to connect to; several are tried in the order of the file.",
  }),
  connection: honoured({
    takes: flag,
    repeats: true,
    doc: "A block `<connection>` holds one `remote` and the directives that apply to it alone; what stands before the block applies where the block says nothing.",
  }),
  "remote-random": honoured({ takes: flag, doc: "Shuffle the servers once at start." }),
  "remote-random-hostname": honoured({
    takes: flag,
    doc: "Put six random bytes in hex and a dot before the server's name at each look-up, against caches.",
  }),
  proto: honoured({
    takes: takes([protocol]),
    default: ["udp"],
    connection: true,
    doc: "The transport, where `remote` does not say it; 4 or 6 restricts it to one address family.",
  }),
  "proto-force": honoured({
    takes: takes([oneOf("udp", "tcp", "udp4", "udp6", "tcp4", "tcp6")]),
    doc: "Use only the servers with this transport.",
  }),
  port: honoured({
    takes: takes([port]),
    default: [1194],
    connection: true,
    doc: "The server's port, where `remote` does not say it.",
  }),
  rport: honoured({ takes: takes([port]), otherwise: "`port`", connection: true, doc: "The server's port alone." }),
  lport: honoured({
    takes: takes([integer("port", 0, 65535)]),
    connection: true,
    conflicts: ["nobind"],
    otherwise: "any free port",
    doc: "The local port; 0 is any free one.",
  }),
  local: honoured({
    takes: takes([host]),
    connection: true,
    conflicts: ["nobind"],
    otherwise: "any address",
    doc: "The local address to send from.",
  }),
  bind: honoured({
    takes: takes([], [oneOf("ipv6only")]),
    connection: true,
    conflicts: ["nobind"],
    otherwise: "off, unless `lport` or `local` is given; on over UDP without `pull`, as one of two peers",
    doc: "Bind the socket to `local` and `lport` (else the port of `port`).",
  }),
  nobind: honoured({ takes: flag, connection: true, doc: "Let the kernel choose the local address and port." }),
  float: honoured({
    takes: flag,
    connection: true,
    doc: "Over UDP without a proxy: follow the server to another address or port of its address family, when a packet from there proves to be its newest.",
  }),
  "resolv-retry": honoured({
    takes: takes([wordOr("infinite", seconds)]),
    default: [undefined],
    doc: "How long to go on while no server's name resolves.",
  }),
  "connect-retry": honoured({
    takes: takes([integer("seconds", 1, 65535)], [integer("maximum", 1, 2147483647)]),
    default: [1, 300],
    connection: true,
    doc: "The pause between attempts; it doubles from the fifth round on, up to the maximum.",
  }),
  "connect-retry-max": honoured({
    takes: takes([wordOr("unlimited", integer("rounds", 0, 2147483647))]),
    default: [undefined],
    connection: true,
    doc: "Rounds over all servers before giving up; 0 is unlimited.",
  }),
  "server-poll-timeout": honoured({
    takes: takes([integer("seconds", 1, 2147483647)]),
    default: [120],
    connection: true,
    doc: "How long to wait for a server's first answer before the next one is tried.",
  }),
  "connect-timeout": honoured({
    takes: takes([integer("seconds", 1, 2147483647)]),
    connection: true,
    aliasOf: "server-poll-timeout",
    doc: "Another name of `server-poll-timeout`.",
  }),
  "explicit-exit-notify": honoured({
    takes: takes([], [integer("times", 0, 255)]),
    connection: true,
    push: "other",
    updatable: true,
    otherwise: "off; without a number: 1",
    doc: "Tell the server when leaving. UDP only.",
  }),
  keepalive: honoured({
    takes: takes([integer("interval", 1, 2147483647), integer("timeout", 1, 2147483647)]),
    push: "other",
    updatable: true,
    doc: "Short for `ping` interval and `ping-restart` timeout; the timeout is at least twice the interval.",
  }),
  ping: honoured({
    takes: takes([seconds]),
    push: "other",
    updatable: true,
    doc: "Send a ping when nothing was sent for so long; 0 is off.",
  }),
  "ping-restart": honoured({
    takes: takes([seconds]),
    push: "other",
    updatable: true,
    otherwise: "120 with `pull` over UDP, until the server says otherwise",
    doc: "Reconnect when nothing was received for so long; 0 is off. The last of `ping-restart` and `ping-exit` holds.",
  }),
  "ping-exit": honoured({
    takes: takes([seconds]),
    push: "other",
    updatable: true,
    doc: "Exit when nothing was received for so long; 0 is off.",
  }),
  "ping-timer-rem": ignored(
    "a client always has a remote, so the timers run anyway",
    "Run the ping timers only once there is a remote address.",
    { push: "other" },
  ),
  inactive: honoured({
    takes: takes([seconds], [integer("bytes", 0, Number.MAX_SAFE_INTEGER)]),
    push: "other",
    updatable: true,
    doc: "Exit when nothing, or fewer bytes than given, went through the tunnel for so long; 0 is off.",
  }),
  "session-timeout": honoured({
    takes: takes([seconds]),
    push: "other",
    updatable: true,
    doc: "Exit so long after the session began; 0 is off.",
  }),
  "hand-window": honoured({
    takes: takes([integer("seconds", 1, 86400)]),
    default: [60],
    doc: "How long a handshake may take before it is abandoned.",
  }),
  "tls-timeout": honoured({
    takes: takes([integer("seconds", 1, 86400)]),
    default: [2],
    doc: "How long to wait for an acknowledgement before a control packet is sent again.",
  }),
  "tls-exit": ignoredLoudly("a failed handshake is followed by another attempt", "Exit when a TLS handshake fails."),
  "single-session": ignored("a client starts every session itself", "Allow only one session."),
  "max-packet-size": honoured({
    takes: takes([integer("bytes", 154, 2048)]),
    default: [1250],
    connection: true,
    doc: "The largest control datagram, IP and UDP headers included; without `mssfix` also its size, with `mtu`.",
  }),
  mssfix: honoured({
    takes: takes([], [integer("size", 0, 65535), oneOf("mtu", "fixed")]),
    connection: true,
    otherwise:
      "the value of `max-packet-size` or `fragment`, with `mtu`, else 1492 mtu; with another `tun-mtu` that value and `fixed`; off with `link-mtu`",
    doc: "Clamp the MSS of TCP connections in the tunnel so that packets have at most this size: the UDP payload, with `mtu` the whole outer packet, with `fixed` the inner one; 0 is off.",
  }),
  fragment: honoured({
    takes: takes([integer("size", 68, 65535)], [oneOf("mtu")]),
    connection: true,
    doc: "Split packets inside the tunnel so that no datagram has more than this size: the UDP payload, with `mtu` the whole outer packet. UDP only; both sides must have it.",
  }),
  "http-proxy": honoured({
    takes: takes([host, port], [path, oneOf("none", "basic", "ntlm", "ntlm2")]),
    connection: true,
    conflicts: ["socks-proxy"],
    doc: "Connect through an HTTP proxy (TCP only). The third word is a file with user name and password, or `auto`, or `auto-nct` (never in clear). `ntlm` and `ntlm2` are refused: NTLM rests on MD4, which OpenSSL 3 no longer has.",
  }),
  "http-proxy-option": honoured({
    takes: takes([oneOf("VERSION", "AGENT", "CUSTOM-HEADER"), text("value")], [{ ...word, syntax: "value" }]),
    connection: true,
    repeats: true,
    doc: "What requests to the proxy say: `VERSION` 1.0 or 1.1, `AGENT` name, `CUSTOM-HEADER` name value.",
  }),
  "http-proxy-user-pass": honoured({
    takes: flag,
    content: { maximumBytes: 16384 },
    secret: true,
    connection: true,
    doc: "User name and password for the HTTP proxy, on two lines.",
  }),
  "socks-proxy": honoured({
    takes: takes([host], [port, path]),
    connection: true,
    conflicts: ["http-proxy"],
    doc: "Connect through a SOCKS 5 proxy, over UDP by its relay for datagrams; port 1080 where none is given. The third word is a file with user name and password.",
  }),
  "socks-proxy-user-pass": honoured({
    takes: flag,
    content: { maximumBytes: 16384 },
    secret: true,
    connection: true,
    doc: "User name and password for the SOCKS proxy, on two lines. Culvert's own: with it a file can carry all that it needs.",
  }),
  "http-proxy-retry": ignored("attempts are always repeated", "Obsolete.", {
    takes: usage("[word...]"),
    connection: true,
  }),
  "http-proxy-timeout": ignored("`server-poll-timeout` covers proxies", "Obsolete.", {
    takes: usage("seconds"),
    connection: true,
  }),
  "socks-proxy-retry": ignored("attempts are always repeated", "Obsolete.", {
    takes: usage("[word...]"),
    connection: true,
  }),
  sndbuf: honoured({
    takes: bufferSize,
    push: "other",
    otherwise: "4 MiB over UDP, the kernel's over TCP",
    doc: "Size of the socket's send buffer; 0 says nothing.",
  }),
  rcvbuf: honoured({
    takes: bufferSize,
    push: "other",
    otherwise: "4 MiB over UDP, less while that would only be a delay; the kernel's over TCP",
    doc: "Size of the socket's receive buffer; 0 says nothing.",
  }),
  "socket-flags": ignored(socketIsOurs, "Flags of the socket, such as TCP_NODELAY.", {
    takes: takesMany([], oneOf("TCP_NODELAY")),
    push: "other",
  }),
  "tcp-nodelay": ignored(socketIsOurs, "Short for `socket-flags TCP_NODELAY`."),
  "mtu-disc": ignored(socketIsOurs, "Path MTU discovery of the socket.", {
    takes: takes([oneOf("no", "maybe", "yes")]),
    connection: true,
  }),
  "mtu-test": ignored(socketIsOurs, "Measure the path MTU once."),
  "ip-remote-hint": ignored("the server's address comes from its name", "An address for the server.", {
    takes: usage("[host]"),
  }),
  preresolve: ignored("names are looked up for every attempt", "Resolve all names at start.", {
    takes: usage("[word]"),
  }),
  "persist-local-ip": ignored("addresses are looked up for every attempt", "Keep the local address over a reconnect."),
  "persist-remote-ip": ignored(
    "addresses are looked up for every attempt",
    "Keep the server's address over a reconnect.",
  ),
  multihome: ignored("only a server needs it", "Answer from the address that a packet came to."),
  passtos: honoured({
    takes: flag,
    doc: "Datagrams have the DSCP of the packet that they carry, so that who forwards them may give it the same precedence. UDP only.",
  }),
  "fast-io": ignored("obsolete: input and output are always batched", "Skip one system call per UDP packet."),
  shaper: ignoredLoudly("the bandwidth is not limited", "Limit the outgoing bandwidth.", {
    takes: takes([integer("bytes", 100, 100000000)]),
    push: "other",
  }),
  mark: honoured({
    takes: takes([integer("mark", 0, 2147483647)]),
    doc: "Mark the outer packets for policy routing.",
  }),
  "bind-dev": honoured({
    takes: takes([deviceName]),
    doc: "Bind the socket to a network device.",
  }),
  "allow-pull-fqdn": honoured({
    takes: flag,
    doc: "Accept host names in pushed routes. They are looked up beside the tunnel, as those in the file are.",
  }),
  "allow-recursive-routing": honoured({
    takes: flag,
    doc: "Let packets into the tunnel that are addressed to the VPN server's own address, protocol and port; else they are dropped, because the tunnel's own would go round for ever.",
  }),
  "tls-server": refused(
    "Culvert is a client",
    "Use TLS, as the side that is connected to.",
    "a client has `client` or `tls-client`",
  ),
  mode: ignored("it is what a client is", "Only `p2p` for a client.", { takes: takes([oneOf("p2p")]) }),
} as const satisfies Record<string, Row>
