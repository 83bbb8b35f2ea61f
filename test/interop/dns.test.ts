/** The pod's names: the cluster's beside the tunnel, all others through it, whoever the application asks. */
import { afterAll, beforeAll, expect } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { Client, exitCode } from "../support/culvert.ts"
import { Resolver } from "../support/dnsmasq.ts"
import { outer } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { lookup } from "../support/lookup.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ pod: true })

const cluster = "10.96.0.10"
const vpn = "10.53.0.1"
/** What kubelet writes into a pod. */
const resolvConf = `nameserver ${cluster}
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
`
const resolvConfFile = () => `/etc/netns/${bench.lab.client.name}/resolv.conf`
let clusterDns: Resolver
let vpnDns: Resolver

beforeAll(async () => {
  const { lab } = bench
  await lab.node.succeed(["ip", "address", "add", `${cluster}/32`, "dev", "lo"])
  await lab.server.succeed(["ip", "address", "add", `${vpn}/32`, "dev", "lo"])
  writeFileSync(resolvConfFile(), resolvConf)
  clusterDns = await Resolver.start(lab, lab.node, [cluster], {
    "web.default.svc.cluster.local": "10.96.0.80",
    "vpn.example": outer.server.ipv4,
    "secret.example": "192.0.2.66",
  })
  vpnDns = await Resolver.start(lab, lab.server, [vpn], {
    "db.corp.example": "10.66.0.1",
    "secret.example": "192.0.2.77",
  })
})
afterAll(async () => {
  await clusterDns?.[Symbol.asyncDispose]()
  await vpnDns?.[Symbol.asyncDispose]()
})

const start = (server: ServerOptions, environment: Readonly<Record<string, string>> = {}, ...lines: Array<string>) =>
  Client.start(bench.lab, clientConfiguration(bench.lab, server, { host: "vpn.example", lines }), { environment })
const ask = (server: string, name: string, transport?: "udp" | "tcp") =>
  lookup(bench.lab.client, server, name, transport)
/** As most applications do it: by resolv.conf. */
const system = async (name: string) => {
  const { stdout } = await bench.lab.client.finish(["getent", "ahostsv4", name])
  return stdout.split(/\s/)[0]
}

testCulvert(
  "redirect: caught whoever is asked; without the tunnel only the cluster answers; nothing asked outside",
  async () => {
    const { lab } = bench
    const options: ServerOptions = { push: [`dhcp-option DNS ${vpn}`], keepalive: [1, 4] }
    await using leaks = await Leaks.watch(lab, [1194], `host ${cluster} and (udp or tcp) and portrange 29110-29173`)
    await using client = start(options)
    await client.event("connecting")
    const position = leaks.position
    expect(await system("web.default.svc.cluster.local")).toBe("10.96.0.80")
    expect(await system("web")).toBe("10.96.0.80")
    const down = await ask("8.8.8.8", "secret.example")
    expect(down).toMatchObject({ rcode: "SERVFAIL" })
    expect(down.milliseconds).toBeLessThan(1000)

    await using server = await bench.serve(options)
    await client.ready()
    for (const resolver of [cluster, "8.8.8.8", "2001:4860:4860::8888", "127.0.0.1", vpn]) {
      for (const transport of ["udp", "tcp"] as const) {
        const { rcode, addresses } = await ask(resolver, "secret.example", transport)
        expect({ resolver, transport, rcode, addresses }).toEqual({
          resolver,
          transport,
          rcode: "NOERROR",
          addresses: ["192.0.2.77"],
        })
      }
    }
    expect(await system("db.corp.example")).toBe("10.66.0.1")
    expect(await system("web.default")).toBe("10.96.0.80")
    // Too long for a datagram without EDNS0: cut, and whole over TCP.
    expect(await ask("8.8.8.8", "long.db.corp.example")).toMatchObject({ truncated: true })
    expect((await ask("8.8.8.8", "long.db.corp.example", "tcp")).addresses).toHaveLength(100)
    // From memory: the server was asked once.
    expect(vpnDns.askedFor("secret.example")).toHaveLength(1)
    // Another connection takes over: what the one before leaves behind is not the names of this one.
    client.child.signal("SIGHUP")
    await client.event("handed_over")
    expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ addresses: ["192.0.2.77"] })
    expect(await client.probe("/readyz")).toBe(200)

    await server.kill()
    await client.event("disconnected")
    expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ rcode: "SERVFAIL" })
    expect(await system("web")).toBe("10.96.0.80")
    await client.stop("SIGKILL")
    expect((await ask("8.8.8.8", "secret.example")).rcode).toBe("timeout")
    await server.start()
    await using again = start(options)
    await again.ready()
    expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ addresses: ["192.0.2.77"] })
    expect(clusterDns.askedFor("secret.example")).toEqual([])
    expect(leaks.since(position)).toEqual([])
  },
  90_000,
)

testCulvert("split domains, by the server's word or the user's, also after SIGKILL", async () => {
  const options: ServerOptions = { push: [`dns server 1 address ${vpn}`, "dns server 1 resolve-domains corp.example"] }
  await using _server = await bench.serve(options)
  {
    await using client = start(options)
    await client.ready()
    expect(await system("db.corp.example")).toBe("10.66.0.1")
    // Nobody was named for all other names.
    expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ rcode: "REFUSED" })
    expect((await client.event("dns_no_server")).message).toContain("CULVERT_DNS")
    await client.stop("SIGKILL")
  }
  await using client = start(options, { CULVERT_DNS: vpn, CULVERT_CLUSTER_DOMAINS: "secret.example" })
  await client.ready()
  expect(await ask("8.8.8.8", "db.corp.example")).toMatchObject({ addresses: ["10.66.0.1"] })
  expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ addresses: ["192.0.2.66"] })
  expect(await ask("8.8.8.8", "elsewhere.example")).toMatchObject({ rcode: "NXDOMAIN" })
  expect(vpnDns.askedFor("elsewhere.example")).toHaveLength(1)
})

testCulvert(
  "host names in routes are looked up beside the tunnel, those of the server where the file allows it",
  async () => {
    const options: ServerOptions = { push: [`dhcp-option DNS ${vpn}`, "route secret.example 255.255.255.255"] }
    await using _server = await bench.serve(options)
    const routes = () => bench.lab.client.succeed(["ip", "-4", "route", "show", "dev", "tun0"])
    {
      await using client = start(options)
      await client.ready()
      expect(await routes()).not.toContain("192.0.2.66")
      expect((await client.event("push_options_skipped")).message).toContain("route")
    }
    await using client = start(options, {}, "allow-pull-fqdn", "route web.default.svc.cluster.local")
    await client.ready()
    expect(await routes()).toContain("192.0.2.66 proto 149")
    expect(await routes()).toContain("10.96.0.80 proto 149")
    // For everybody else, and from then on, the name is the tunnel's to answer.
    expect(await ask("8.8.8.8", "secret.example")).toMatchObject({ addresses: ["192.0.2.77"] })
  },
)

testCulvert("resolvconf: the file is ours while Culvert runs, after SIGKILL too, and then as it was", async () => {
  const options: ServerOptions = { push: [`dhcp-option DNS ${vpn}`, "dhcp-option DOMAIN corp.example"] }
  await using _server = await bench.serve(options)
  const environment = { CULVERT_DNS_MODE: "resolvconf" }
  await using killed = start(options, environment)
  await killed.ready()
  await killed.stop("SIGKILL")
  await using client = start(options, environment)
  await client.ready()
  const text = readFileSync(resolvConfFile(), "utf8")
  expect(text).toContain("nameserver 127.0.0.1\n")
  expect(text).toContain("cluster.local corp.example\n")
  expect(text).toContain("ndots:5")
  expect(await system("secret.example")).toBe("192.0.2.77")
  expect(await system("web")).toBe("10.96.0.80")
  expect(await system("db")).toBe("10.66.0.1")
  // Who asks somebody else is not caught, and not let out either.
  expect((await ask("8.8.8.8", "secret.example")).rcode).toBe("timeout")
  expect((await client.stop()).code).toBe(exitCode.stopped)
  expect(readFileSync(resolvConfFile(), "utf8")).toBe(resolvConf)
})

testCulvert("off: DNS is left alone, and the pod's resolvers are open only while the server is looked up", async () => {
  const options: ServerOptions = {}
  await using _server = await bench.serve(options)
  await using client = start(options, { CULVERT_DNS_MODE: "off" })
  await client.ready()
  expect((await ask(cluster, "web.default.svc.cluster.local")).rcode).toBe("timeout")
  expect(readFileSync(resolvConfFile(), "utf8")).toBe(resolvConf)
})
