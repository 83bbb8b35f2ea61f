import { describe, expect, test } from "bun:test"
import type { DnsServer, NetworkOptions } from "../../../src/config/index.ts"
import { podNames, routeName, searchDomains, tunnelNames } from "../../../src/network/dns/names.ts"

const search = ["team.svc.cluster.local", "svc.cluster.local", "cluster.local"]
const pod = podNames(
  { nameservers: ["10.96.0.10"], search, options: [] },
  [".Internal.Example."],
  ["VPN.example.com", "192.0.2.1"],
)
type Options = Pick<NetworkOptions, "dhcpOptions" | "dns">
const options = (rest: Partial<Options>): NetworkOptions =>
  ({ dhcpOptions: [], dns: { servers: [], searchDomains: [] }, ...rest }) as unknown as NetworkOptions
const server = (priority: number, address: string, rest: Partial<DnsServer> = {}): DnsServer => ({
  priority,
  addresses: [{ address, port: undefined }],
  resolveDomains: [],
  dnssec: undefined,
  transport: undefined,
  sni: undefined,
  ...rest,
})
const pushed = tunnelNames(options({ dhcpOptions: [{ type: "DNS", value: "10.8.0.1" }] }), [])

/** "pod", the addresses in the tunnel, or why nobody is asked. */
const asked = (name: string, tunnel: typeof pushed | undefined = pushed) => {
  const route = routeName(name, pod, tunnel)
  if (route.type === "refused") return route.reason
  return route.type === "pod" ? "pod" : route.servers.map(({ address }) => address).join(" ")
}

describe("who is asked", () => {
  test("the cluster's domains, and those that the user names, are the pod's own resolvers'", () => {
    for (const name of ["web.team.svc.cluster.local", "CLUSTER.LOCAL.", "a.internal.example"])
      expect(asked(name)).toBe("pod")
    for (const name of ["example.com", "notcluster.local", "web", "local"]) expect(asked(name)).toBe("10.8.0.1")
  })

  test("without a tunnel the cluster's names go on, all others are refused", () => {
    expect(routeName("web.svc.cluster.local", pod, undefined).type).toBe("pod")
    expect(asked("example.com", [])).toBe("noServer")
    expect(routeName("example.com", pod, undefined)).toEqual({ type: "refused", reason: "tunnelDown" })
  })

  test("the VPN server's own name is looked up beside the tunnel, and only that name", () => {
    expect(asked("vpn.example.com")).toBe("pod")
    expect(asked("www.vpn.example.com")).toBe("10.8.0.1")
    expect(asked("192.0.2.1")).toBe("10.8.0.1")
  })

  test("split domains: the longest that fits, a tie is the tunnel's", () => {
    const split = tunnelNames(
      options({
        dns: {
          servers: [
            server(1, "10.8.0.1"),
            server(2, "10.8.0.2", { resolveDomains: ["corp.example"] }),
            server(3, "10.8.0.3", { resolveDomains: ["lab.corp.example", "cluster.local"] }),
          ],
          searchDomains: [],
        },
      }),
      [],
    )
    expect(asked("www.example.com", split)).toBe("10.8.0.1")
    expect(asked("db.corp.example", split)).toBe("10.8.0.2")
    expect(asked("x.lab.corp.example", split)).toBe("10.8.0.3")
    expect(asked("cluster.local", split)).toBe("10.8.0.3")
    expect(asked("web.svc.cluster.local", split)).toBe("pod")
  })
})

test("servers for the same domains stand in for each other, in the order of their numbers", () => {
  const corp = { resolveDomains: ["corp.example"] }
  const servers = [
    server(1, "10.8.0.1"),
    server(2, "10.8.0.2", corp),
    server(3, "10.8.0.3"),
    server(4, "10.8.0.4", corp),
  ]
  const names = tunnelNames(options({ dns: { servers, searchDomains: [] } }), [])
  expect(asked("example.com", names)).toBe("10.8.0.1 10.8.0.3")
  expect(asked("db.corp.example", names)).toBe("10.8.0.2 10.8.0.4")
})

describe("what file and push name", () => {
  test("dhcp-option DNS and DNS6", () => {
    const dhcpOptions = [
      { type: "DNS", value: "10.8.0.1" },
      { type: "DNS6", value: "fd00::53" },
      { type: "NTP", value: "10.8.0.9" },
    ]
    expect(tunnelNames(options({ dhcpOptions }), ["9.9.9.9"])).toMatchObject([
      { servers: [{ address: "10.8.0.1", port: 53, transport: "plain" }, { address: "fd00::53" }], domains: [] },
    ])
  })

  test("dns puts dhcp-option out of force; transports have their ports", () => {
    const servers = [
      server(1, "10.8.0.1", { transport: "DoT", sni: "dns.example", dnssec: "yes" }),
      server(2, "10.8.0.2", { transport: "DoH" }),
    ]
    const names = tunnelNames(
      options({ dhcpOptions: [{ type: "DNS", value: "10.8.0.9" }], dns: { servers, searchDomains: [] } }),
      [],
    )
    expect(names.flatMap((group) => group.servers)).toEqual([
      { address: "10.8.0.1", port: 853, transport: "DoT", serverName: "dns.example", validated: true },
      { address: "10.8.0.2", port: 443, transport: "DoH", serverName: undefined, validated: false },
    ])
  })

  test("the fallback stands in when nobody is named, or nobody for all names", () => {
    expect(tunnelNames(options({}), ["9.9.9.9"])).toMatchObject([{ servers: [{ address: "9.9.9.9" }], domains: [] }])
    expect(tunnelNames(options({}), [])).toEqual([])
    const split = [server(1, "10.8.0.1", { resolveDomains: ["corp.example"] })]
    const names = tunnelNames(options({ dns: { servers: split, searchDomains: [] } }), ["9.9.9.9"])
    expect(asked("db.corp.example", names)).toBe("10.8.0.1")
    expect(asked("example.com", names)).toBe("9.9.9.9")
  })

  test("search domains, of either kind", () => {
    const dhcpOptions = ["DOMAIN", "DOMAIN-SEARCH", "ADAPTER_DOMAIN_SUFFIX", "DNS"].map((type, index) => ({
      type,
      value: `d${index}.example`,
    }))
    expect(searchDomains(options({ dhcpOptions }))).toEqual(["d0.example", "d1.example", "d2.example"])
    expect(searchDomains(options({ dhcpOptions, dns: { servers: [], searchDomains: ["Corp.example"] } }))).toEqual([
      "corp.example",
    ])
  })
})
