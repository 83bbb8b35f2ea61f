import { expect, test } from "bun:test"
import { type Firewall, ruleset } from "../../src/network/firewall.ts"
import { allClosed as closed } from "../support/firewall.ts"

const tunnel = { device: "tun0", addresses: ["10.8.0.2/24", "fd00:8::1000/64"] }

/** The rules of a chain without counters and comments. */
const chain = (firewall: Firewall, name: string): ReadonlyArray<string> => {
  const text = new RegExp(`chain ${name} \\{\\n([\\s\\S]*?)\\n  \\}`).exec(ruleset(firewall))?.[1] ?? ""
  return text
    .split("\n")
    .map((line) =>
      line
        .trim()
        .replace(/ counter (?!name)/, " ")
        .replace(/ comment ".*"$/, ""),
    )
    .slice(1)
}
const accepted = (firewall: Firewall) => chain(firewall, "output").filter((line) => line.endsWith("accept"))

test("the table is replaced in one transaction, whether it was there or not", () => {
  const text = ruleset({ ...closed, dns: { ...closed.dns, redirectTo: 5300 } })
  expect(text).not.toContain("delete")
  for (const name of ["dns", "output", "input", "forward"]) {
    expect(text.indexOf(`add chain inet culvert ${name} {`)).toBeGreaterThan(0)
    expect(text.indexOf(`flush chain inet culvert ${name}\n`)).toBeLessThan(text.indexOf(`  chain ${name} {\n`))
  }
})

test("before anything is known only loopback, neighbour discovery and answers leave", () => {
  expect(accepted(closed)).toEqual([
    'oifname "lo" accept',
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept",
    "ct direction reply ct state established,related ct mark 0xc417 accept",
  ])
  expect(ruleset(closed)).toContain("type filter hook output priority 0; policy drop;")
})

test("the server is let through by address, protocol and port, once for all links to it", () => {
  const server = { transport: "tcp", address: "fd00::1", port: 443 } as const
  const firewall: Firewall = { ...closed, servers: [server, { ...server }] }
  expect(accepted(firewall).filter((line) => !accepted(closed).includes(line))).toEqual([
    "ip6 daddr fd00::1 tcp dport 443 accept",
  ])
})

test("what is addressed to the server does not go into the tunnel, unless the file allows it", () => {
  const firewall: Firewall = { ...closed, tunnel, servers: [{ transport: "udp", address: "192.0.2.1", port: 1194 }] }
  const rule = 'oifname "tun0" ip daddr 192.0.2.1 udp dport 1194 drop'
  const rules = chain(firewall, "output")
  expect(rules.indexOf(rule)).toBeGreaterThanOrEqual(0)
  expect(rules.indexOf(rule)).toBeLessThan(rules.indexOf('oifname "tun0" accept'))
  // Without a kill switch it would go round as well.
  expect(chain({ ...firewall, enforced: false }, "output")).toEqual([rule])
  expect(chain({ ...firewall, tunnel: { ...tunnel, allowsServers: true } }, "output")).not.toContain(rule)
})

test("block-ipv6: whoever sends IPv6 into the tunnel is told so, with a kill switch or without", () => {
  const blocked: Firewall = { ...closed, tunnel: { ...tunnel, blocksIpv6: true } }
  const rules = [
    'oifname "tun0" meta nfproto ipv6 fib saddr type local reject with icmpv6 no-route',
    'oifname "tun0" meta nfproto ipv6 drop',
  ]
  const output = chain(blocked, "output")
  expect(output.filter((rule) => rules.includes(rule))).toEqual(rules)
  expect(output.indexOf(rules[1]!)).toBeLessThan(output.indexOf('oifname "tun0" accept'))
  expect(chain({ ...blocked, enforced: false }, "output")).toEqual(rules)
  expect(chain(blocked, "forward")[0]).toBe('oifname "tun0" meta nfproto ipv6 reject with icmpv6 no-route')
})

test("exceptions: whole networks, or one port of an address", () => {
  const firewall: Firewall = {
    ...closed,
    exceptions: [
      { network: "10.244.0.0/16", tcpPort: undefined, why: "CULVERT_BYPASS" },
      { network: "10.96.0.1", tcpPort: 443, why: "the cluster's API server" },
    ],
  }
  expect(accepted(firewall).slice(-2)).toEqual([
    "ip daddr 10.244.0.0/16 accept",
    "ip daddr 10.96.0.1 tcp dport 443 accept",
  ])
})

test("the pod's resolvers are open for the forwarder's ports, or for all while the server is looked up", () => {
  const dns = { ...closed.dns, resolvers: ["10.96.0.10"] }
  expect(accepted({ ...closed, dns }).slice(-2)).toEqual([
    "ip daddr 10.96.0.10 udp sport 29110-29173 udp dport 53 accept",
    "ip daddr 10.96.0.10 tcp sport 29110-29173 tcp dport 53 accept",
  ])
  expect(accepted({ ...closed, dns: { ...dns, resolving: true } }).slice(-2)).toEqual([
    "ip daddr 10.96.0.10 udp dport 53 accept",
    "ip daddr 10.96.0.10 tcp dport 53 accept",
  ])
})

test("caught queries reach the forwarder, whose own are let go", () => {
  const firewall: Firewall = { ...closed, dns: { ...closed.dns, redirectTo: 5300 } }
  expect(chain(firewall, "dns")).toEqual([
    "udp sport 29110-29173 udp dport 53 return",
    "udp dport 53 redirect to :5300",
    "tcp sport 29110-29173 tcp dport 53 return",
    "tcp dport 53 redirect to :5300",
  ])
  expect(accepted(firewall)).toContain("ct status dnat ip daddr 127.0.0.0/8 accept")
})

test("from the tunnel only what is listed comes in; its address answers nowhere else", () => {
  expect(chain({ ...closed, tunnel, inbound: [{ protocol: "tcp", port: 80 }, { protocol: "icmp" }] }, "input")).toEqual(
    [
      'iifname "lo" accept',
      "ct state established,related accept",
      'iifname != "tun0" ip daddr 10.8.0.2 drop',
      'iifname != "tun0" ip6 daddr fd00:8::1000 drop',
      'iifname "tun0" tcp dport 80 accept',
      'iifname "tun0" meta l4proto { icmp, ipv6-icmp } accept',
      'iifname "tun0" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept',
      'iifname "tun0" drop',
      "meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn drop",
      // The only ones that are answered.
      "ct state new ct mark set 0xc417",
    ],
  )
})

test("connections from before: the middle of a TCP one, and the ports of UDP sockets, do not count as incoming", () => {
  const rules = chain({ ...closed, earlierUdpPorts: [40000, 40001] }, "input")
  expect(rules.slice(-3, -1)).toEqual([
    "meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn drop",
    "ct state new udp dport @earlier_udp drop",
  ])
  expect(ruleset({ ...closed, earlierUdpPorts: [40000, 40001] })).toContain("elements = { 40000, 40001 }")
})

test("switched off it refuses nothing", () => {
  const off = ruleset({ ...closed, enforced: false, dns: { ...closed.dns, redirectTo: 5300 } })
  expect(off).toContain("redirect to :5300")
  expect(off).not.toMatch(/drop|reject/)
})

test("there are only chains that do something, and none that is left from before", () => {
  const chains = (text: string) => [...text.matchAll(/^add chain inet culvert (\w+)/gm)].map((match) => match[1])
  const off: Firewall = { ...closed, enforced: false }
  expect(chains(ruleset(closed))).toEqual(["output", "input", "forward"])
  expect(chains(ruleset(off))).toEqual(["output"])
  expect(chains(ruleset({ ...off, dns: { ...off.dns, redirectTo: 5300 } }))).toEqual(["dns", "output"])
  const lines = ruleset(off, ["dns", "output", "input"]).split("\n")
  for (const name of ["dns", "input"]) {
    const flush = lines.indexOf(`flush chain inet culvert ${name}`)
    expect(flush).toBeGreaterThan(0)
    expect(lines.indexOf(`delete chain inet culvert ${name}`)).toBeGreaterThan(flush)
  }
  expect(lines).not.toContain("delete chain inet culvert output")
})

test("no text of a setting can end a comment or a line", () => {
  const why = `"; accept # \n${"x".repeat(300)}`
  const lines = ruleset({ ...closed, exceptions: [{ network: "192.0.2.1", tcpPort: undefined, why }] }).split("\n")
  const line = lines.find((text) => text.includes("192.0.2.1"))!
  expect(line.match(/"/g)).toHaveLength(2)
  expect(line.length).toBeLessThan(200)
})
