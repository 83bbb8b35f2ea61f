/**
 * The kill switch as text for `nft -f`: one table that lets out of the pod only what is meant to leave it. Pure. The text
 * replaces what the table holds in one transaction, so there is no moment with half of it, and the first start, a restart and
 * a change are the same thing. The comments of the rules are what `culvert firewall show` prints.
 */
import { isIpv6 } from "./change.ts"

export const tableName = "culvert"

export interface Firewall {
  /** False: nothing is refused; the table only catches DNS. */
  readonly enforced: boolean
  readonly tunnel: Tunnel | undefined
  /** Addresses that the tunnel had before, while connections of then still use them. */
  readonly formerAddresses: ReadonlyArray<string>
  /** Where encrypted packets go now: one for each link, so the same may be there twice. */
  readonly servers: ReadonlyArray<ServerEndpoint>
  readonly exceptions: ReadonlyArray<Exception>
  /** New connections that may come in through the tunnel. */
  readonly inbound: ReadonlyArray<Inbound>
  readonly dns: {
    /** The pod's own resolvers, port 53. */
    readonly resolvers: ReadonlyArray<string>
    /** While the program's own names are looked up by the system: port 53 of the resolvers is open for everybody. */
    readonly resolving: boolean
    /** Names are looked up by the forwarder, so that nobody else needs the resolvers. */
    readonly forwarded: boolean
    /** Where the forwarder listens on loopback; undefined: queries are not caught. */
    readonly redirectTo: number | undefined
  }
  /** Local ports of UDP sockets that were there before the table was. */
  readonly earlierUdpPorts: ReadonlyArray<number>
}

export interface Tunnel {
  readonly device: string
  readonly addresses: ReadonlyArray<string>
  /** What is addressed to a VPN server may go into the tunnel as well: `allow-recursive-routing`. */
  readonly allowsServers?: boolean
  /** `block-ipv6`: whoever sends IPv6 into the tunnel is told that there is no way. */
  readonly blocksIpv6?: boolean
}

export interface ServerEndpoint {
  readonly transport: "udp" | "tcp"
  readonly address: string
  readonly port: number
}

/** What may be reached outside the tunnel. */
export interface Exception {
  /** An address or a network. */
  readonly network: string
  /** Undefined: everything there. */
  readonly tcpPort: number | undefined
  /** Why it is there, for people. */
  readonly why: string
}

export type Inbound =
  | { readonly protocol: "tcp" | "udp"; readonly port: number }
  | { readonly protocol: "icmp" | "all" }

/**
 * Local ports that only the DNS forwarder sends from. Below the range from which the kernel gives out ports, so that no
 * application has one by chance; several, because a port that is hard to guess makes answers hard to forge.
 */
export const forwarderPorts = { first: 29110, last: 29173 } as const

/** `before`: names of chains that the table has from an earlier process; those that are not needed any more go. */
export const ruleset = (firewall: Firewall, before: ReadonlyArray<string> = []): string => {
  const chains = chainsOf(firewall)
  const stale = before.filter((name) => chains.every((chain) => chain.name !== name))
  return [
    `add table inet ${tableName}`,
    // The chains stay: one that is deleted and made anew lets packets through in between, transaction or not.
    ...chains.map(({ name, head }) => `add chain inet ${tableName} ${name} { ${head} }`),
    ...[...chains.map(({ name }) => name), ...stale].map((name) => `flush chain inet ${tableName} ${name}`),
    ...stale.map((name) => `delete chain inet ${tableName} ${name}`),
    `add set inet ${tableName} ${earlierSet} { type inet_service; }`,
    `flush set inet ${tableName} ${earlierSet}`,
    `table inet ${tableName} {`,
    "  counter refused_ipv4 { }",
    "  counter refused_ipv6 { }",
    `  set ${earlierSet} { type inet_service; ${elements(firewall.earlierUdpPorts.map(String))}}`,
    ...chains.flatMap(({ name, head, rules }) => chain(name, head, rules)),
    "}",
    "",
  ].join("\n")
}

/** Whether a table is needed for it before there is a tunnel. */
export const doesSomething = ({ enforced, dns }: Firewall): boolean => enforced || dns.redirectTo !== undefined

interface Chain {
  readonly name: string
  readonly head: string
  readonly rules: ReadonlyArray<string>
}

/**
 * Only those that do something: each costs every packet a look, and one of NAT, like any rule that asks about connections, has the
 * kernel track all of them, a twentieth of the CPU time of an upload.
 */
const chainsOf = (firewall: Firewall): ReadonlyArray<Chain> => {
  const { redirectTo } = firewall.dns
  const dns = "type nat hook output priority -100; policy accept;"
  const caught = redirectTo === undefined ? [] : [{ name: "dns", head: dns, rules: dnsRules(redirectTo) }]
  const policy = firewall.enforced ? "drop" : "accept"
  const output = {
    name: "output",
    head: `type filter hook output priority 0; policy ${policy};`,
    rules: outputRules(firewall),
  }
  if (!firewall.enforced) return [...caught, output]
  return [
    ...caught,
    output,
    { name: "input", head: "type filter hook input priority 0; policy accept;", rules: inputRules(firewall) },
    { name: "forward", head: "type filter hook forward priority 0; policy drop;", rules: forwardRules(firewall) },
  ]
}

/** Name of the set of `earlierUdpPorts`, which a restart reads back. */
export const earlierSet = "earlier_udp"

/** Where the routes lead the tunnel's own packets into the tunnel, each would come back to be sent once more, for ever. */
const recursionRules = ({ tunnel, servers }: Firewall): ReadonlyArray<string> =>
  tunnel === undefined || tunnel.allowsServers === true
    ? []
    : [...new Set(servers.map((server) => `oifname "${tunnel.device}" ${toServer(server)}`))].map((match) =>
        rule(match, "drop", "the tunnel's own packets, into the tunnel"),
      )

/**
 * Not by routes: where one says "unreachable", the kernel chooses a source address and asks again with it, and the pod's own
 * address has another way. Told only to ourselves: an answer to a forged source would leave the pod.
 */
const ipv6Rules = ({ tunnel }: Firewall): ReadonlyArray<string> =>
  tunnel?.blocksIpv6 === true
    ? [
        rule(
          `oifname "${tunnel.device}" meta nfproto ipv6 fib saddr type local`,
          "reject with icmpv6 no-route",
          "IPv6 into the tunnel, which blocks it (block-ipv6)",
        ),
        rule(`oifname "${tunnel.device}" meta nfproto ipv6`, "drop", "IPv6 into the tunnel, from elsewhere"),
      ]
    : []

const outputRules = (firewall: Firewall): ReadonlyArray<string> => {
  const { tunnel, servers, dns } = firewall
  if (!firewall.enforced) return [...recursionRules(firewall), ...ipv6Rules(firewall)]
  return [
    rule(`oifname "lo"`, "accept", "inside the pod"),
    ...recursionRules(firewall),
    ...ipv6Rules(firewall),
    // A caught query still shows the device that it would have left by.
    ...(dns.redirectTo === undefined
      ? []
      : [
          rule("ct status dnat ip daddr 127.0.0.0/8", "accept", "DNS queries, to the forwarder in the pod"),
          rule("ct status dnat ip6 daddr ::1", "accept", "DNS queries over IPv6, to the forwarder in the pod"),
        ]),
    ...(tunnel === undefined ? [] : [rule(`oifname "${tunnel.device}"`, "accept", `into the tunnel ${tunnel.device}`)]),
    rule(
      "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255",
      "accept",
      "IPv6 neighbour discovery",
    ),
    // Not "established" alone: that would let go on what the application itself had opened before.
    // Marked, because "reply" alone would also be the answer to a tunnel connection whose device is gone, and the ICMP error about
    // a caught query whose source address went with the device.
    rule(
      `ct direction reply ct state established,related ct mark ${outsideMark}`,
      "accept",
      "answers to connections that came from outside",
    ),
    ...new Set(
      servers.map((server) => {
        const { transport, address, port } = server
        return rule(toServer(server), "accept", `to the VPN server: ${transport} ${address} port ${port}`)
      }),
    ),
    ...dns.resolvers.flatMap((resolver) =>
      (["udp", "tcp"] as const).map((transport) =>
        dns.resolving
          ? rule(
              `${to(resolver)} ${transport} dport 53`,
              "accept",
              `to the pod's resolver while the server is looked up: ${transport} ${resolver}`,
            )
          : rule(
              `${to(resolver)} ${transport} sport ${portRange} ${transport} dport 53`,
              "accept",
              `DNS forwarder to the pod's resolver: ${transport} ${resolver}`,
            ),
      ),
    ),
    ...firewall.exceptions.map(({ network, tcpPort, why }) =>
      rule(
        `${to(network)}${tcpPort === undefined ? "" : ` tcp dport ${tcpPort}`}`,
        "accept",
        `exception ${network}${tcpPort === undefined ? "" : ` tcp port ${tcpPort}`}: ${why}`,
      ),
    ),
    "meta nfproto ipv4 counter name refused_ipv4",
    "meta nfproto ipv6 counter name refused_ipv6",
    // A connection fails at once instead of hanging. Only towards ourselves: an answer to a forged source would leave the pod.
    "meta l4proto tcp fib saddr type local reject with tcp reset",
  ]
}

const inputRules = ({ tunnel, formerAddresses, inbound, earlierUdpPorts }: Firewall): ReadonlyArray<string> => [
  `iifname "lo" accept`,
  "ct state established,related accept",
  ...(tunnel === undefined
    ? []
    : [
        // Nobody on the pod's own network may probe for what goes through the tunnel.
        ...[...tunnel.addresses, ...formerAddresses].map((address) => {
          const bare = address.split("/")[0]!
          return rule(
            `iifname != "${tunnel.device}" ${to(bare)}`,
            "drop",
            `from elsewhere to the tunnel's address ${bare}`,
          )
        }),
        ...inbound.map((open) =>
          rule(`iifname "${tunnel.device}"${inboundMatch(open)}`, "accept", `from the tunnel: ${inboundText(open)}`),
        ),
        // No connection: it is not tracked. Without it nobody on the Ethernet of a tap device could be found.
        rule(
          `iifname "${tunnel.device}" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255`,
          "accept",
          "IPv6 neighbour discovery in the tunnel",
        ),
        rule(`iifname "${tunnel.device}"`, "drop", "new connections from the tunnel"),
      ]),
  // Connection tracking would take the middle of an outgoing connection for an incoming one, and its answers for replies.
  rule(
    "meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn",
    "drop",
    "TCP connections that were there before the kill switch",
  ),
  ...(earlierUdpPorts.length === 0
    ? []
    : [rule(`ct state new udp dport @${earlierSet}`, "drop", "UDP sockets that were there before the kill switch")]),
  `ct state new ct mark set ${outsideMark}`,
]

const forwardRules = ({ tunnel }: Firewall): ReadonlyArray<string> =>
  tunnel === undefined
    ? []
    : [
        ...(tunnel.blocksIpv6 === true
          ? [rule(`oifname "${tunnel.device}" meta nfproto ipv6`, "reject with icmpv6 no-route", "IPv6 is blocked")]
          : []),
        rule(`oifname "${tunnel.device}"`, "accept", `forwarded into the tunnel ${tunnel.device}`),
        rule(`iifname "${tunnel.device}" ct state established,related`, "accept", "answers to forwarded connections"),
      ]

const dnsRules = (port: number): ReadonlyArray<string> =>
  (["udp", "tcp"] as const).flatMap((transport) => [
    `${transport} sport ${portRange} ${transport} dport 53 return`,
    rule(`${transport} dport 53`, `redirect to :${port}`, `${transport} DNS queries to whatever server`),
  ])

const chain = (name: string, head: string, rules: ReadonlyArray<string>): ReadonlyArray<string> => [
  `  chain ${name} {`,
  `    ${head}`,
  ...rules.map((line) => `    ${line}`),
  "  }",
]

/** nftables allows 128 bytes of comment. */
const rule = (match: string, verdict: string, comment: string): string =>
  `${match} counter ${verdict} comment "${comment.replace(/["\\\n]/g, "").slice(0, 120)}"`

const to = (network: string): string => `${isIpv6(network) ? "ip6" : "ip"} daddr ${network}`

const toServer = ({ transport, address, port }: ServerEndpoint): string => `${to(address)} ${transport} dport ${port}`

const elements = (values: ReadonlyArray<string>): string =>
  values.length === 0 ? "" : `elements = { ${values.join(", ")} } `

const inboundMatch = (open: Inbound): string => {
  switch (open.protocol) {
    case "all":
      return ""
    case "icmp":
      return " meta l4proto { icmp, ipv6-icmp }"
    default:
      return ` ${open.protocol} dport ${open.port}`
  }
}

const inboundText = (open: Inbound): string =>
  "port" in open ? `${open.protocol} port ${open.port}` : open.protocol === "all" ? "everything" : "ICMP"

/** On connections that came in from the pod's own network. */
const outsideMark = "0xc417"

const portRange = `${forwarderPorts.first}-${forwarderPorts.last}`
