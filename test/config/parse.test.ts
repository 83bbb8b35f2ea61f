import { describe, expect, test } from "bun:test"
import { Schema } from "effect"
import * as Redacted from "effect/Redacted"
import { Profile } from "../../src/config/index.ts"
import { ca, errorsOf, files, minimal, notesOf, parsed, profileOf } from "./fixtures.ts"

describe("defaults", () => {
  test("are those of OpenVPN 2.6", () => {
    const profile = profileOf(minimal())
    expect(profile).toMatchObject({
      device: { type: "tun", name: "tun" },
      remoteRandom: false,
      connectRetryMax: undefined,
      resolvRetry: undefined,
      pull: true,
      identity: undefined,
      authRetry: "none",
      tls: { minimum: "1.2", maximum: undefined, certProfile: "legacy" },
      auth: "SHA1",
      dataCiphers: ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"],
      dataCiphersFallback: undefined,
      replayWindow: { packets: 64, seconds: 15 },
      timers: { handWindow: 60, tranWindow: 3600, tlsTimeout: 2, renegSec: 3600, renegBytes: 0, renegPackets: 0 },
      verb: 1,
    })
    expect(profile.remotes).toEqual([
      {
        host: "vpn.example.com",
        port: 1194,
        transport: "udp",
        family: "any",
        proxy: undefined,
        local: undefined,
        connectTimeout: 120,
        connectRetry: { wait: 1, maximum: 300 },
        float: false,
        explicitExitNotify: undefined,
        controlWrapping: { _tag: "Plain" },
        tunMtu: 1500,
        occMtu: undefined,
        mssfix: { size: 1492, counts: "mtu" },
        fragment: undefined,
        maxPacketSize: 1250,
      },
    ])
    expect(profile.keepalive).toEqual({
      ping: undefined,
      silence: undefined,
      inactive: undefined,
      sessionTimeout: undefined,
    })
    expect(Schema.is(Profile)(profile)).toBe(true)
  })
})

describe("values", () => {
  test("of the honoured directives arrive in the profile", () => {
    const profile = profileOf(
      minimal(`dev tun5
remote-random
remote-random-hostname
connect-retry-max 3
resolv-retry 20
auth-retry interact
tls-version-min 1.0 or-highest
tls-version-max 1.3
tls-cipher TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384:DEFAULT
tls-ciphersuites TLS_AES_256_GCM_SHA384
tls-groups X25519:secp256r1
tls-cert-profile preferred
auth RSA-SHA512
data-ciphers aes-128-gcm:?FOO:AES-256-GCM
data-ciphers-fallback AES-256-GCM
replay-window 128 30
hand-window 30
tran-window 600
tls-timeout 3
reneg-sec 0
reneg-bytes 1000000000000
reneg-pkts 5
route-nopull
pull-filter ignore "auth-token"
pull-filter reject 'dhcp-option DNS 1'
push-peer-info
setenv UV_ID "my id"
persist-tun
verb 4
verify-x509-name "C=KG, CN=server"`),
    )
    expect(profile).toMatchObject({
      device: { name: "tun5" },
      remoteRandom: true,
      remoteRandomHostname: true,
      connectRetryMax: 3,
      resolvRetry: 20,
      authRetry: "interact",
      tls: {
        minimum: "1.0",
        maximum: "1.3",
        ciphers: "TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384:DEFAULT",
        ciphersuites: "TLS_AES_256_GCM_SHA384",
        groups: "X25519:secp256r1",
        certProfile: "preferred",
      },
      auth: "SHA512",
      dataCiphers: ["AES-128-GCM", "AES-256-GCM"],
      dataCiphersFallback: "AES-256-GCM",
      replayWindow: { packets: 128, seconds: 30 },
      timers: { handWindow: 30, tranWindow: 600, tlsTimeout: 3, renegSec: 0, renegBytes: 1e12, renegPackets: 5 },
      routeNopull: true,
      pullFilters: [
        { action: "ignore", prefix: "auth-token" },
        { action: "reject", prefix: "dhcp-option DNS 1" },
      ],
      peerInfo: { push: true, variables: [["UV_ID", "my id"]] },
      persistTun: true,
      verb: 4,
      trust: { verifyX509Name: { form: "subject", value: "C=KG, CN=server" } },
    })
  })

  test("of the network: masks become prefixes, keywords stay, flags add up", () => {
    const { network } = profileOf(
      minimal(`topology subnet
ifconfig 10.8.0.2 255.255.255.0
ifconfig-ipv6 FD00::2/64 fd00::1
route-gateway 10.8.0.1
route-metric 7
route 192.168.1.0 255.255.255.0
route 10.1.2.3
route intranet.example.com default net_gateway 50
route vpn_gateway 255.255.255.255 default
route-ipv6 2001:db8::/32
route-ipv6 2000::/3 fd00::9 5
redirect-gateway def1
redirect-gateway ipv6 def1
block-ipv6
dhcp-option dns 1.1.1.1
dhcp-option DOMAIN-SEARCH corp.example
dhcp-option disable-nbt`),
    )
    expect(network).toEqual({
      topology: "subnet",
      ifconfig: { local: "10.8.0.2", second: "255.255.255.0" },
      ifconfigIpv6: { local: "fd00::2", prefix: 64, remote: "fd00::1" },
      routeGateway: "10.8.0.1",
      routeIpv6Gateway: undefined,
      routeMetric: 7,
      routeDelay: undefined,
      routes: [
        { network: "192.168.1.0", prefix: 24, gateway: undefined, metric: undefined },
        { network: "10.1.2.3", prefix: 32, gateway: undefined, metric: undefined },
        { network: "intranet.example.com", prefix: 32, gateway: "net_gateway", metric: 50 },
        { network: "vpn_gateway", prefix: 32, gateway: undefined, metric: undefined },
      ],
      routesIpv6: [
        { network: "2001:db8::", prefix: 32, gateway: undefined, metric: undefined },
        { network: "2000::", prefix: 3, gateway: "fd00::9", metric: 5 },
      ],
      redirectGateway: ["def1", "ipv6"],
      redirectPrivate: undefined,
      blockIpv6: true,
      dhcpOptions: [
        { type: "DNS", value: "1.1.1.1" },
        { type: "DOMAIN-SEARCH", value: "corp.example" },
        { type: "DISABLE-NBT", value: "" },
      ],
      dns: { servers: [], searchDomains: [] },
    })
  })
})

describe("keepalive", () => {
  const keepaliveOf = (lines: string) => profileOf(minimal(lines)).keepalive

  test("sets ping and ping-restart", () => {
    expect(keepaliveOf("keepalive 10 60")).toMatchObject({ ping: 10, silence: { seconds: 60, then: "restart" } })
  })

  test("0 is off, which is not the same as not said", () => {
    expect(keepaliveOf("ping 0\nping-restart 0")).toMatchObject({ ping: 0, silence: { seconds: 0, then: "restart" } })
  })

  test("the last of ping-restart and ping-exit holds", () => {
    expect(keepaliveOf("ping-restart 0\nping-exit 120")).toMatchObject({ silence: { seconds: 120, then: "exit" } })
    expect(keepaliveOf("ping-exit 120\nping-restart 30")).toMatchObject({ silence: { seconds: 30, then: "restart" } })
    expect(notesOf(minimal("ping-exit 120\nping-restart 30"))).toEqual([
      '6:1: warning: "ping-restart" takes the place of "ping-exit" (line 5): there is one such timer',
    ])
  })

  test("does not go with ping and its kind, and needs twice the interval", () => {
    expect(errorsOf(minimal("keepalive 10 60\nping 5"))).toEqual([
      '5:1: error: "keepalive" and "ping" (line 6) cannot both be given (remove one of them)',
    ])
    expect(errorsOf(minimal("keepalive 10 15"))).toEqual([
      "5:1: error: keepalive: the timeout must be at least twice the interval (a usual pair is: keepalive 10 60)",
    ])
  })
})

test("x509-username-field names fields of the subject, in capitals as OpenVPN reads them, or mail addresses", () => {
  const fields = (words: string) => profileOf(minimal(`x509-username-field ${words}`)).trust.x509UsernameFields
  expect(fields("ou emailAddress serialNumber ext:subjectAltName")).toEqual([
    "OU",
    "emailAddress",
    "serialNumber",
    "ext:subjectAltName",
  ])
  expect(errorsOf(minimal("x509-username-field CN ext:keyUsage"))).toEqual([
    '5:24: error: x509-username-field: expected a field of the subject, ext:subjectAltName or ext:issuerAltName, not "ext:keyUsage"',
  ])
})

test("our own address cannot be the netmask or the peer's as well", () => {
  expect(errorsOf(minimal("ifconfig 10.8.0.2 10.8.0.2"))).toHaveLength(1)
})

test("connect-retry has a maximum that is not below its first wait", () => {
  expect(profileOf(minimal("connect-retry 400")).remotes[0].connectRetry).toEqual({ wait: 400, maximum: 400 })
  expect(profileOf(minimal("connect-retry 20 10")).remotes[0].connectRetry).toEqual({ wait: 20, maximum: 20 })
})

test("a tls-version-max below 1.2 takes the default minimum away", () => {
  expect(profileOf(minimal("tls-version-max 1.1")).tls).toMatchObject({ minimum: "1.0", maximum: "1.1" })
  expect(profileOf(minimal("tls-version-max 1.2")).tls).toMatchObject({ minimum: "1.2", maximum: "1.2" })
})

test("of a variable that is set twice the last value is told to the server", () => {
  expect(profileOf(minimal("setenv UV_A 1\nsetenv UV_B 2\nsetenv UV_A 3")).peerInfo.variables).toEqual([
    ["UV_A", "3"],
    ["UV_B", "2"],
  ])
})

test("an unknown cipher is an error, one of OpenVPN's that is not supported is left out with a warning", () => {
  expect(errorsOf(minimal("data-ciphers AES-128-GCM:FOO"))).toEqual([
    `5:14: error: data-ciphers: the cipher "FOO" is unknown ("?" before its name leaves it out)`,
  ])
  expect(profileOf(minimal("data-ciphers AES-128-GCM:BF-CBC")).dataCiphers).toEqual(["AES-128-GCM"])
  expect(notesOf(minimal("data-ciphers AES-128-GCM:BF-CBC"))).toHaveLength(1)
})

test("connect-retry-max 0 is unlimited, inactive without bytes counts any traffic", () => {
  expect(profileOf(minimal("connect-retry-max 0")).connectRetryMax).toBeUndefined()
  expect(profileOf(minimal("inactive 60")).keepalive.inactive).toEqual({ seconds: 60, bytes: 0 })
})

test("a route to a host address with a network's mask is a route to the network, with a warning", () => {
  const { profile, notes } = parsed(minimal("route 10.1.2.3 255.255.0.0\nroute-ipv6 fd00::1/8"))
  expect(profile.network.routes[0]).toMatchObject({ network: "10.1.0.0", prefix: 16 })
  expect(profile.network.routesIpv6[0]).toMatchObject({ network: "fd00::", prefix: 8 })
  expect(notes.map(({ severity, line }) => [severity, line])).toEqual([
    ["warning", 5],
    ["warning", 6],
  ])
})

describe("static-challenge", () => {
  const challenge = (line: string) => profileOf(minimal(line)).credentials?.challenge

  test("belongs to the login, in OpenVPN's encoding or behind the password", () => {
    expect(challenge('static-challenge "Your code?" 1')).toEqual({ text: "Your code?", echo: true, form: "scrv1" })
    expect(challenge("static-challenge Code? 0 scrv1")).toEqual({ text: "Code?", echo: false, form: "scrv1" })
    expect(challenge("static-challenge Code? 0 concat")).toEqual({ text: "Code?", echo: false, form: "concat" })
  })

  test("means nothing without a login", () => {
    expect(
      notesOf(`client\nremote a\nremote-cert-tls server\nsetenv CLIENT_CERT 0\nstatic-challenge a 1\n${ca}`),
    ).toEqual(['5:1: warning: "static-challenge" has no effect without "auth-user-pass"'])
  })
})

test("a username and password of a block, a file, or asked for", () => {
  const base = `client\nremote a\nremote-cert-tls server\n${ca}`
  const inline = profileOf(`${base}<auth-user-pass>\nalice\np w#1\n</auth-user-pass>\n`).credentials
  expect(inline).toMatchObject({ _tag: "Given", username: "alice" })
  expect(inline?._tag === "Given" && Redacted.value(inline.password)).toBe("p w#1")
  expect(profileOf(`${base}auth-user-pass login`, files({ login: "bob\r\nsecret\r\n" })).credentials).toMatchObject({
    username: "bob",
  })
  expect(profileOf(`${base}auth-user-pass`).credentials).toEqual({
    _tag: "Ask",
    username: undefined,
    challenge: undefined,
  })
})
