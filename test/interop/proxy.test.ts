/** Through a proxy to the real server: the tunnel carries traffic, and nothing but the proxy is reached beside it. */
import { expect } from "bun:test"
import { outer } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { type ProxyKind, ProxyServer, proxyPort, proxyUser, relayPort } from "../support/proxy.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const options: ServerOptions = { transport: "tcp", push: ["redirect-gateway def1"] }
const proxy = `${outer.server.ipv4} ${proxyPort}`
/** The kernel tells routers about the groups of the link when that comes up. */
const multicastReports = "ip6 dst ff02::16"
const login = (tag: string) => [`<${tag}>`, proxyUser.name, proxyUser.password, `</${tag}>`]

interface Case {
  readonly kind: ProxyKind
  readonly lines: ReadonlyArray<string>
  /** What the proxy saw. The server's name is the proxy's to resolve. */
  readonly log: ReadonlyArray<string>
}

const asked = `CONNECT ${outer.hosts.ipv4}:1194 HTTP/1.0 with`
const cases: ReadonlyArray<Case> = [
  { kind: "http", lines: [`http-proxy ${proxy}`], log: [`200 ${asked} nothing`] },
  {
    kind: "http-basic",
    lines: [`http-proxy ${proxy} auto`, ...login("http-proxy-user-pass")],
    log: [`407 ${asked} nothing`, `200 ${asked} Basic`],
  },
  {
    kind: "http-digest",
    lines: [`http-proxy ${proxy} auto-nct`, ...login("http-proxy-user-pass")],
    log: [`407 ${asked} nothing`, `200 ${asked} Digest`],
  },
  { kind: "socks", lines: [`socks-proxy ${proxy}`], log: [`connects to ${outer.hosts.ipv4}:1194`] },
  {
    kind: "socks-login",
    lines: [`socks-proxy ${proxy}`, ...login("socks-proxy-user-pass")],
    log: [`connects to ${outer.hosts.ipv4}:1194`],
  },
]

for (const { kind, lines, log } of cases) {
  testCulvert(`${kind}: everything goes through the proxy`, async () => {
    await using _ = await bench.serve(options)
    await using seen = await ProxyServer.start(bench.lab, kind)
    await using leaks = await Leaks.watch(bench.lab, [proxyPort], multicastReports)
    await using client = bench.connect(options, { host: outer.hosts.ipv4, lines })
    await client.ready()
    await bench.carriesTraffic()
    expect(seen.log.filter((line) => !line.startsWith("listening"))).toEqual([...log])
    expect(leaks.since(0)).toEqual([])
    const { remote } = await client.status()
    expect(remote).toBe(`tcp://${outer.hosts.ipv4}:1194 through the proxy ${outer.server.ipv4}:${proxyPort}`)
    expect(await bench.lab.client.succeed(["nft", "list", "table", "inet", "culvert"])).toContain(
      `tcp dport ${proxyPort}`,
    )
  })
}

testCulvert("a wrong password is said, without the password; any-but-basic never sends it in clear", async () => {
  await using _ = await bench.serve(options)
  for (const { kind, words, message } of [
    { kind: "http-basic", words: "auto", message: /refused the user name or the password \(407\)/ },
    { kind: "http-basic", words: "auto-nct", message: /offers no authentication that may be used, but basic/ },
    { kind: "socks-login", words: "", message: /refused the user name or the password/ },
  ] as const) {
    await using seen = await ProxyServer.start(bench.lab, kind)
    const tag = kind === "socks-login" ? "socks" : "http"
    const user = [`<${tag}-proxy-user-pass>`, "anna", "guessed-wrong", `</${tag}-proxy-user-pass>`]
    await using client = bench.connect(options, { lines: [`${tag}-proxy ${proxy} ${words}`, ...user] })
    const { message: said } = await client.event("disconnected")
    expect(said).toMatch(message)
    expect(said).toContain(`proxy ${outer.server.ipv4}:${proxyPort}: `)
    expect(client.child.output).not.toContain("guessed-wrong")
    if (words === "auto-nct") expect(seen.log.join()).not.toContain("with Basic")
  }
})

testCulvert("a proxy that is away is waited for", async () => {
  await using _ = await bench.serve(options)
  await using client = bench.connect(options, { lines: [`socks-proxy ${proxy}`] })
  expect((await client.event("disconnected")).message).toContain("ECONNREFUSED")
  await using __ = await ProxyServer.start(bench.lab, "socks")
  await client.ready()
  await bench.carriesTraffic()
})

const relayed: ServerOptions = { push: ["redirect-gateway def1"], keepalive: [1, 10] }

for (const { kind, lines, relay, hosts } of [
  { kind: "socks", lines: [`socks-proxy ${proxy}`], relay: "0.0.0.0", hosts: outer.hosts.ipv4 },
  {
    kind: "socks-login",
    lines: [`socks-proxy ${proxy}`, ...login("socks-proxy-user-pass")],
    relay: "10.90.0.9",
    hosts: outer.server.ipv4,
  },
] as const) {
  testCulvert(`${kind} over UDP: the proxy relays every datagram, its relay at ${relay}`, async () => {
    const { lab } = bench
    if (relay !== "0.0.0.0") await lab.server.succeed(["ip", "address", "replace", `${relay}/24`, "dev", "outer"])
    await using _ = await bench.serve(relayed)
    await using seen = await ProxyServer.start(lab, kind, relay)
    await using leaks = await Leaks.watch(lab, [proxyPort], `${multicastReports} or udp port ${relayPort}`)
    await using client = bench.connect(relayed, { host: hosts, lines })
    await client.ready()
    await bench.carriesTraffic()
    expect(seen.log.filter((line) => !line.startsWith("listening"))).toEqual([`relays to ${hosts}:1194`])
    const { remote } = await client.status()
    expect(remote).toBe(`udp://${hosts}:1194 through the proxy ${outer.server.ipv4}:${proxyPort}`)
    // Open are the proxy and its relay, and no other port of either.
    const table = await lab.client.succeed(["nft", "list", "table", "inet", "culvert"])
    expect(table).toContain(`ip daddr ${outer.server.ipv4} tcp dport ${proxyPort}`)
    expect(table).toContain(`ip daddr ${relay === "0.0.0.0" ? outer.server.ipv4 : relay} udp dport ${relayPort}`)
    expect(table).not.toContain("dport 1194")
    expect(leaks.since(0)).toEqual([])
    // The relay goes with the connection that it was asked for over: that is noticed, and another one asked for.
    await seen.endRelays()
    expect((await client.event("disconnected")).message).toContain("it ended the relay of datagrams")
    await client.event("connected", 20_000, 2)
    await bench.carriesTraffic()
    expect((await client.stop()).code).toBe(0)
  })
}
