import { describe, expect, test } from "bun:test"
import { Schema } from "effect"
import * as Redacted from "effect/Redacted"
import { Pushed, type PushPolicy, readPush } from "../../src/config/index.ts"

const open: PushPolicy = { pullFilters: [], routeNopull: false }
const read = (message: string, policy: Partial<PushPolicy> = {}) => readPush([message], { ...open, ...policy })

test("what OpenVPN 2.6 pushes with topology subnet and both address families", () => {
  const { pushed, notes, rejected } = read(
    "route 10.8.0.0 255.255.255.0,route-ipv6 2001:db8::/32,redirect-gateway def1 bypass-dhcp,dhcp-option DNS 10.8.0.1,tun-ipv6,route-gateway 10.8.0.1,topology subnet,ping 10,ping-restart 60,ifconfig-ipv6 fd00:8::1000/64 fd00:8::1,ifconfig 10.8.0.2 255.255.255.0,peer-id 0,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm dyn-tls-crypt,tun-mtu 1500",
  )
  expect(pushed).toEqual({
    network: {
      topology: "subnet",
      ifconfig: { local: "10.8.0.2", second: "255.255.255.0" },
      ifconfigIpv6: { local: "fd00:8::1000", prefix: 64, remote: "fd00:8::1" },
      routeGateway: "10.8.0.1",
      routeIpv6Gateway: undefined,
      routeMetric: undefined,
      routeDelay: undefined,
      routes: [{ network: "10.8.0.0", prefix: 24, gateway: undefined, metric: undefined }],
      routesIpv6: [{ network: "2001:db8::", prefix: 32, gateway: undefined, metric: undefined }],
      redirectGateway: ["def1", "bypass-dhcp"],
      redirectPrivate: undefined,
      blockIpv6: false,
      dhcpOptions: [{ type: "DNS", value: "10.8.0.1" }],
      dns: { servers: [], searchDomains: [] },
    },
    keepalive: { ping: 10, silence: { seconds: 60, then: "restart" }, inactive: undefined, sessionTimeout: undefined },
    cipher: "AES-256-GCM",
    peerId: 0,
    protocolFlags: ["cc-exit", "tls-ekm", "dyn-tls-crypt"],
    tunMtu: 1500,
    explicitExitNotify: undefined,
    authToken: undefined,
    authTokenUser: undefined,
    compression: undefined,
    sndbuf: undefined,
    rcvbuf: undefined,
  })
  expect(Schema.is(Pushed)(pushed)).toBe(true)
  expect(notes).toEqual([])
  expect(rejected).toBeUndefined()
})

test("an empty reply is valid", () => {
  expect(readPush([], open).notes).toEqual([])
  expect(read("").pushed.network.routes).toEqual([])
})

test("continuation parts are one list of options", () => {
  const { pushed, notes } = readPush(
    ["ping 5,route 10.0.0.0 255.0.0.0,push-continuation 2", "route 10.1.0.0 255.255.0.0,ping 9,push-continuation 1"],
    open,
  )
  expect(pushed.keepalive.ping).toBe(9)
  expect(pushed.network.routes.map(({ network }) => network)).toEqual(["10.0.0.0", "10.1.0.0"])
  expect(notes).toEqual([])
})

test("the other options that a server may send", () => {
  const { pushed } = read(
    "auth-token SESS_ID abc,auth-token SESS_ID_xyz=,auth-token-user YWxpY2U=,explicit-exit-notify,key-derivation tls-ekm,sndbuf 393216,rcvbuf 0,comp-lzo no,ping-exit 30,inactive 60 100,session-timeout 3600,block-ipv6,peer-id 16777214,cipher chacha20-poly1305,redirect-private,echo hello there,block-outside-dns",
  )
  expect(pushed.authToken && Redacted.value(pushed.authToken)).toBe("SESS_ID_xyz=")
  expect(pushed).toMatchObject({
    authTokenUser: "alice",
    explicitExitNotify: 1,
    protocolFlags: ["tls-ekm"],
    sndbuf: 393216,
    rcvbuf: 0,
    compression: "comp-lzo no",
    peerId: 16777214,
    cipher: "CHACHA20-POLY1305",
    keepalive: { silence: { seconds: 30, then: "exit" }, inactive: { seconds: 60, bytes: 100 }, sessionTimeout: 3600 },
    network: { blockIpv6: true, redirectPrivate: [] },
  })
})

test("what nobody misses on Linux is skipped without a word", () => {
  expect(read("tun-ipv6,block-outside-dns,register-dns,mute 10,setenv-safe ROOM 1").notes).toEqual([])
  expect(read("shaper 1000").notes).toHaveLength(1)
})

describe("options that are skipped", () => {
  const cases: ReadonlyArray<readonly [string, string]> = [
    ["bogus 1 2", 'unknown directive "bogus"'],
    ["reneg-sec 10", '"reneg-sec" is not taken from a server'],
    ["up /bin/sh", '"up" is not taken from a server'],
    ["setenv PATH /x", '"setenv" is not taken from a server'],
    ["<ca>", 'unknown directive "<ca>"'],
    ["ping x", 'ping: expected a whole number from 0 to 2147483647, not "x"'],
    ["ping", '"ping" is incomplete'],
    ["route intranet.example.com", 'route: expected an IPv4 address, not "intranet.example.com"'],
    ["route 10.0.0.0 255.0.255.0", 'route: expected a netmask such as 255.255.255.0 or "default", not "255.0.255.0"'],
    [
      "redirect-gateway def1 foo",
      'redirect-gateway: expected one of def1, local, autolocal, bypass-dhcp, bypass-dns, block-local, ipv6, !ipv4, not "foo"',
    ],
    ["dhcp-option DNS example", 'dhcp-option DNS: expected an IP address, not "example"'],
    ["peer-id 16777215", 'peer-id: expected a whole number from 0 to 16777214, not "16777215"'],
    ['echo "x', '"echo" is skipped: the quotation is not closed'],
    [`echo ${"x".repeat(251)}`, '"echo" is skipped: it has more than 255 characters'],
    ["auth-token-user *", '"auth-token-user" is not base64'],
    ["setenv opt ping 5", '"setenv" is not taken from a server'],
  ]
  for (const [option, note] of cases) {
    test(option.slice(0, 40), () => {
      const { pushed, notes } = read(`ping-restart 7,${option},tun-mtu 1400`)
      expect(notes).toEqual([note])
      expect(pushed).toMatchObject({
        keepalive: { ping: undefined, silence: { seconds: 7, then: "restart" } },
        tunMtu: 1400,
        network: { routes: [], dhcpOptions: [] },
      })
    })
  }

  test("name no secret", () => {
    const { notes } = read("auth-token hunter2 hunter2,auth-token-user hunter2 x")
    expect(notes).toHaveLength(2)
    expect(notes.join()).not.toContain("hunter2")
  })

  test("are bounded in number, over all messages", () => {
    const message = new Array(1500).fill("route 10.0.0.0").join(",")
    const { pushed, notes } = readPush([message, message], open)
    expect(pushed.network.routes).toHaveLength(2000)
    expect(notes).toEqual(["the server pushed more than 2000 options: the others are skipped"])
    expect(read(new Array(100_000).fill("x").join(",")).notes.length).toBeLessThanOrEqual(202)
  })
})

describe("pull-filter", () => {
  const filters = [
    { action: "accept", prefix: "route 10.1." },
    { action: "ignore", prefix: "route " },
    { action: "reject", prefix: "dhcp-option DOMAIN evil" },
  ] as const

  test("the first filter whose prefix matches decides, after leading blanks", () => {
    const { pushed, notes } = read("  route 10.0.0.0,route 10.1.0.0,route-gateway 10.0.0.1", { pullFilters: filters })
    expect(pushed.network.routes.map(({ network }) => network)).toEqual(["10.1.0.0"])
    expect(pushed.network.routeGateway).toBe("10.0.0.1")
    expect(notes).toEqual(['"route" is skipped: pull-filter ignore'])
  })

  test("reject names the option, but not a token", () => {
    expect(read("ping 1,dhcp-option DOMAIN evil.example", { pullFilters: filters }).rejected).toBe(
      "dhcp-option DOMAIN evil.example",
    )
    expect(read("auth-token secret", { pullFilters: [{ action: "reject", prefix: "auth" }] }).rejected).toBe(
      "auth-token",
    )
  })
})

test("route-nopull leaves routes and names out and keeps the rest", () => {
  const { pushed, notes } = read(
    "route 10.0.0.0,route-ipv6 fd00::/8,redirect-gateway,block-ipv6,dhcp-option DNS 1.1.1.1,ping 5,route-gateway 10.0.0.1,ifconfig 10.0.0.2 10.0.0.1",
    { routeNopull: true },
  )
  expect(pushed).toMatchObject({
    network: {
      routes: [],
      routesIpv6: [],
      redirectGateway: undefined,
      blockIpv6: false,
      dhcpOptions: [],
      routeGateway: "10.0.0.1",
    },
    keepalive: { ping: 5 },
  })
  expect(pushed.network.ifconfig).toEqual({ local: "10.0.0.2", second: "10.0.0.1" })
  expect(notes).toHaveLength(5)
})
