/** Rows: the tun device, addresses, routes, names, and what may be taken from the server. */
import { flag, honoured, ignored, type Row, refused, takes, takesMany, usage, word } from "../row.ts"
import { deviceName, host, integer, ipv4, ipv6, ipv6Prefix, netmask, oneOf, text, wordOr } from "../values.ts"

const metric = wordOr("default", integer("metric", 0, 2147483647))
const redirectFlag = oneOf("def1", "local", "autolocal", "bypass-dhcp", "bypass-dns", "block-local", "ipv6", "!ipv4")
const windowsOnly = "it concerns Windows"

export const network = {
  dev: honoured({
    takes: takes([deviceName]),
    default: ["tun"],
    doc: "The device: `tun` for any free name, `tun5` for that one; `tap` and `tap5` carry Ethernet frames. Another name needs `dev-type`.",
  }),
  "dev-type": honoured({
    takes: takes([oneOf("tun", "tap")]),
    doc: "The type of a device whose name does not tell.",
  }),
  "dev-node": ignored("the device node is /dev/net/tun", "Path of the device node.", { takes: usage("path") }),
  topology: honoured({
    takes: takes([oneOf("net30", "p2p", "subnet")]),
    push: "other",
    updatable: true,
    otherwise: "net30",
    doc: "What the second word of `ifconfig` is: a netmask with `subnet`, else the peer's address.",
  }),
  ifconfig: honoured({
    takes: takes([ipv4, ipv4]),
    push: "other",
    updatable: true,
    doc: "The tunnel's IPv4 address, and its netmask or the peer's address.",
  }),
  "ifconfig-ipv6": honoured({
    takes: takes([ipv6Prefix, ipv6]),
    push: "other",
    updatable: true,
    doc: "The tunnel's IPv6 address with its prefix length, and the peer's address.",
  }),
  "ifconfig-noexec": honoured({
    takes: flag,
    doc: "Leave the device's addresses to somebody else.",
  }),
  "ifconfig-nowarn": ignored(
    "nothing is compared with the server's options",
    "Do not warn about different addresses.",
    { push: "other" },
  ),
  "tun-mtu": honoured({
    takes: takes([integer("bytes", 100, 65535)], [integer("occ-mtu", 100, 65535)]),
    default: [1500],
    connection: true,
    push: "other",
    updatable: true,
    doc: "MTU of the tun device, and what the other side is told of it where that differs.",
  }),
  "tun-mtu-max": ignored("buffers hold the largest packet", "Largest MTU that a server may push.", {
    takes: takes([integer("bytes", 68, 65536)]),
    connection: true,
  }),
  "tun-mtu-extra": ignored("buffers hold the largest frame", "Room for larger packets read from the device.", {
    takes: usage("bytes"),
    connection: true,
  }),
  "tun-ipv6": ignored("obsolete: tun devices carry IPv6", "Let the tun device carry IPv6.", { push: "other" }),
  "link-mtu": honoured({
    takes: takes([integer("bytes", 100, 65535)]),
    connection: true,
    conflicts: ["tun-mtu"],
    doc: "In place of `tun-mtu`: the size of the outer packets' payload, from which the tunnel's is reckoned as OpenVPN 2.6 does; deprecated there.",
  }),
  "udp-mtu": honoured({
    takes: takes([integer("bytes", 100, 65535)]),
    connection: true,
    aliasOf: "link-mtu",
    doc: "Another name of `link-mtu`.",
  }),
  route: honoured({
    takes: takes([host], [wordOr("default", netmask), wordOr("default", host), metric]),
    repeats: true,
    push: "route",
    updatable: true,
    doc: "An IPv4 route through the tunnel: network (an address, a host name, `vpn_gateway`, `net_gateway` or `remote_host`), netmask, gateway, metric.",
  }),
  "route-ipv6": honoured({
    takes: takes([ipv6Prefix], [wordOr("default", host), metric]),
    repeats: true,
    push: "route",
    updatable: true,
    doc: "An IPv6 route through the tunnel.",
  }),
  "route-gateway": honoured({
    takes: takes([wordOr("default", host)]),
    push: "other",
    updatable: true,
    otherwise: "the peer of `ifconfig`",
    doc: "The gateway of routes that name none.",
  }),
  "route-ipv6-gateway": honoured({
    takes: takes([ipv6]),
    push: "other",
    updatable: true,
    doc: "The gateway of IPv6 routes that name none.",
  }),
  "route-metric": honoured({
    takes: takes([metric]),
    push: "route",
    updatable: true,
    otherwise: "the kernel's",
    doc: "The metric of routes that name none.",
  }),
  "route-delay": honoured({
    takes: takes([], [integer("seconds", 0, 3600), integer("windows", 0, 3600)]),
    push: "other",
    doc: "Seconds between the tunnel's addresses and its routes; it is up afterwards. Routes that are there already stay.",
  }),
  "route-method": ignored(windowsOnly, "How routes are set on Windows.", { takes: usage("method"), push: "other" }),
  "route-nopull": honoured({ takes: flag, doc: "Take no routes and no names from the server." }),
  "route-noexec": honoured({
    takes: flag,
    doc: "Leave routes to somebody else.",
  }),
  "max-routes": ignored("obsolete: the number of routes is not limited", "Limit the number of routes.", {
    takes: usage("[count]"),
    connection: true,
  }),
  "redirect-gateway": honoured({
    takes: takesMany([], redirectFlag),
    repeats: true,
    push: "route",
    updatable: true,
    doc: "Send all traffic through the tunnel. Flags of several lines add up. `bypass-dhcp` and `bypass-dns` are accepted and have no effect: the routes that a pod has stay.",
  }),
  "redirect-private": honoured({
    takes: takesMany([], redirectFlag),
    repeats: true,
    push: "route",
    updatable: true,
    doc: "As `redirect-gateway`, without changing the default route.",
  }),
  "block-ipv6": honoured({
    takes: flag,
    push: "route",
    updatable: true,
    doc: "Refuse IPv6 packets that would enter the tunnel.",
  }),
  "client-nat": refused(
    "packets are carried as they are",
    "Translate addresses one to one on their way into the tunnel.",
    "translate with nft in the pod",
    { push: "route" },
  ),
  "dhcp-option": honoured({
    takes: takes([text("type")], [word]),
    repeats: true,
    push: "dns",
    updatable: true,
    doc: "A name server (`DNS`, `DNS6`) or a search domain (`DOMAIN`, `DOMAIN-SEARCH`, `ADAPTER_DOMAIN_SUFFIX`); other types have no effect, which a note says.",
  }),
  dns: honoured({
    takes: takesMany([oneOf("server", "search-domains")], text("word")),
    repeats: true,
    push: "dns",
    updatable: true,
    doc: "Name servers and search domains: `server N address A...`, `server N resolve-domains D...`, `server N dnssec yes|optional|no`, `server N transport plain|DoH|DoT`, `server N sni NAME`, `search-domains D...`.",
  }),
  "dns-updown": ignored("no scripts are run", "Script that sets name servers.", { takes: usage("command") }),
  "block-outside-dns": ignored(windowsOnly, "Block name servers outside of the tunnel.", {
    push: "dns",
    updatable: true,
  }),
  "register-dns": ignored(windowsOnly, "Renew the registration of names.", { push: "dns" }),
  "pull-filter": honoured({
    takes: takes([oneOf("accept", "ignore", "reject"), { ...word, syntax: "prefix" }]),
    repeats: true,
    doc: "Accept, skip, or end the attempt at pushed options that begin with these characters; the first filter that matches decides.",
  }),
  "persist-tun": honoured({ takes: flag, doc: "Keep the device and its routes over a reconnect." }),
  lladdr: ignored("the kernel gives each tap device one", "Link-layer address of a tap device.", {
    takes: usage("address"),
    push: "other",
  }),
  txqueuelen: ignored("the device keeps the kernel's queue length", "Length of the device's transmit queue.", {
    takes: usage("packets"),
  }),
} as const satisfies Record<string, Row>
