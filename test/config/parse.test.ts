import { describe, expect, test } from "bun:test"
import { Schema } from "effect"
import * as Redacted from "effect/Redacted"
import { formatDiagnostic, Profile } from "../../src/config/index.ts"
import {
  ca,
  certificate,
  diagnosticsOf,
  errorsOf,
  files,
  minimal,
  noFiles,
  notesOf,
  parsed,
  privateKey,
  profileOf,
} from "./fixtures.ts"

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
        float: false,
        connectTimeout: 120,
        connectRetry: { wait: 1, maximum: 300 },
        explicitExitNotify: undefined,
        controlWrapping: { _tag: "Plain" },
        tunMtu: 1500,
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
    `5:1: error: data-ciphers: the cipher "FOO" is unknown ("?" before its name leaves it out)`,
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

describe("what is missing", () => {
  test("a server, a mode, trust and a proof of who we are: all said at once", () => {
    const messages = errorsOf("verb 3\n")
    expect(messages).toHaveLength(4)
    expect(messages.every((message) => message.startsWith("1:1: error: "))).toBe(true)
    expect(messages.join("\n")).toContain("no server is given (add a line such as: remote vpn.example.com 1194 udp)")
    expect(messages.join("\n")).toContain("add a line: client")
    expect(messages.join("\n")).toContain("neither ca nor peer-fingerprint")
    expect(messages.join("\n")).toContain("neither a certificate nor auth-user-pass")
  })

  test("is not missing when it stands there with a fault", () => {
    expect(errorsOf("client\nremote a b\nauth-user-pass x y\n<ca>\n</ca>\n")).toEqual([
      '2:10: error: remote: expected a whole number from 1 to 65535, not "b"',
      '3:18: error: unexpected this word after "auth-user-pass" (usage: auth-user-pass [file])',
      "4:1: error: ca: there is no certificate in it: no PEM section at all",
    ])
  })

  test("is not complained about after a block that never ends", () => {
    expect(errorsOf("<ca>\nclient\nremote a\n")).toEqual([
      "1:1: error: the block <ca> is not closed (add a line </ca> after its content)",
    ])
  })

  test("a fingerprint can take the place of ca; nothing can take the place of both", () => {
    const fingerprint = new Array(32).fill("Ab").join(":")
    const base = "client\nremote a\nauth-user-pass\n"
    expect(profileOf(`${base}peer-fingerprint ${fingerprint}`).trust).toMatchObject({
      ca: undefined,
      fingerprints: ["ab".repeat(32)],
    })
    expect(
      profileOf(
        `${base}<peer-fingerprint>\n# one\n${fingerprint}\n\n${fingerprint.replace("Ab", "00")}\n</peer-fingerprint>`,
      ).trust.fingerprints,
    ).toHaveLength(2)
    expect(errorsOf(`${base}remote-cert-tls server`)).toHaveLength(1)
  })

  test("a block of fingerprints that holds none is no proof of anything", () => {
    const base = "client\nremote a\nauth-user-pass\n"
    expect(errorsOf(`${base}<peer-fingerprint>\n# none\n</peer-fingerprint>`)).toEqual([
      "4:1: error: the block <peer-fingerprint> holds nothing (usage: peer-fingerprint fingerprint)",
    ])
    expect(errorsOf(minimal("<verify-hash>\n</verify-hash>"))).toHaveLength(1)
  })

  test("a certificate needs its key and a key its certificate", () => {
    const base = `client\nremote a\n${ca}`
    expect(errorsOf(`${base}<cert>\n${certificate}</cert>`).join()).toContain('"cert" needs "key" as well')
    expect(errorsOf(`${base}<key>\n${privateKey}</key>`).join()).toContain('"key" needs "cert" as well')
    expect(profileOf(`${base}<cert>\n${certificate}</cert>\n<key>\n${privateKey}</key>`).identity).toMatchObject({
      _tag: "Pem",
      certificate,
    })
  })

  test("setenv CLIENT_CERT 0 says that no proof is wanted", () => {
    expect(profileOf(`client\nremote a\nsetenv CLIENT_CERT 0\n${ca}`)).toMatchObject({
      identity: undefined,
      credentials: undefined,
    })
  })

  test("a server that any certificate of the authority can impersonate is warned about", () => {
    expect(notesOf(`client\nremote a\nauth-user-pass\n${ca}`)).toEqual([
      "4:1: warning: any certificate that leads to this authority can pass as the server (add a line: remote-cert-tls server)",
    ])
  })
})

describe("conflicts name both lines", () => {
  const cases = [
    [
      "tls-auth a\ntls-crypt b",
      '6:1: error: "tls-crypt" and "tls-auth" (line 5) cannot both be given (remove one of them)',
    ],
    ["nobind\nlport 0", '6:1: error: "lport" and "nobind" (line 5) cannot both be given (remove one of them)'],
    ["local 10.0.0.1\nnobind", '5:1: error: "local" and "nobind" (line 6) cannot both be given (remove one of them)'],
    [
      "tls-version-min 1.3\ntls-version-max 1.2",
      "6:1: error: tls-version-max 1.2 is below tls-version-min 1.3 (line 5)",
    ],
  ] as const
  for (const [lines, message] of cases) {
    test(lines.replace("\n", ", "), () => {
      expect(errorsOf(minimal(lines), files({})).filter((error) => !error.includes("cannot read"))).toEqual([message])
    })
  }
})

describe("directives that cannot both be given", () => {
  const lines = {
    nobind: "nobind",
    lport: "lport 0",
    local: "local 10.0.0.1",
    bind: "bind",
    "http-proxy": "http-proxy p 1",
    "socks-proxy": "socks-proxy p",
    pkcs12: "pkcs12 x",
    cert: "cert x",
    key: "key x",
    "tls-auth": "tls-auth x",
    "tls-crypt": "tls-crypt x",
    "tls-crypt-v2": "tls-crypt-v2 x",
  }
  const pairs: ReadonlyArray<readonly [keyof typeof lines, keyof typeof lines]> = [
    ["nobind", "lport"],
    ["nobind", "local"],
    ["nobind", "bind"],
    ["http-proxy", "socks-proxy"],
    ["pkcs12", "cert"],
    ["pkcs12", "key"],
    ["tls-auth", "tls-crypt"],
    ["tls-auth", "tls-crypt-v2"],
    ["tls-crypt", "tls-crypt-v2"],
  ]
  for (const [one, other] of pairs) {
    test(`${one} and ${other}, whichever comes first`, () => {
      for (const [first, second] of [
        [one, other],
        [other, one],
      ] as const) {
        const errors = errorsOf(minimal(`${lines[first]}\n${lines[second]}`)).filter((error) =>
          error.includes("cannot both be given"),
        )
        expect(errors).toHaveLength(1)
        expect(errors[0]).toMatch(
          new RegExp(
            `^5:1: error: "${first}" and "${second}" \\(line 6\\)|^6:1: error: "${second}" and "${first}" \\(line 5\\)`,
          ),
        )
      }
    })
  }

  const ofTls = {
    ...{ client: "client", "tls-client": "tls-client", pull: "pull", ca: "ca x", cert: "cert x", key: "key x" },
    ...{ pkcs12: "pkcs12 x", "tls-auth": "tls-auth x", "tls-crypt": "tls-crypt x", "tls-crypt-v2": "tls-crypt-v2 x" },
    "auth-user-pass": "auth-user-pass",
    "peer-fingerprint": `peer-fingerprint ${new Array(32).fill("ab").join(":")}`,
  }
  test.each(Object.entries(ofTls))("secret and %s", (name, line) => {
    const errors = errorsOf(`remote a\ncipher AES-256-CBC\nsecret x\n${line}\n`).filter((error) =>
      error.includes("cannot both be given"),
    )
    expect(errors.join()).toContain(`"${name}"`)
  })
})

describe("directives that are given again", () => {
  test("the last one holds, with a note; quieter when it says the same", () => {
    const { profile, notes } = parsed(minimal("verb 3\nverb 3\nverb 4"))
    expect(profile.verb).toBe(4)
    expect(notes.map(formatDiagnostic)).toEqual([
      'client.ovpn:6:1: info: "verb" is given again and takes the place of line 5',
      'client.ovpn:7:1: warning: "verb" is given again and takes the place of line 6',
    ])
  })

  test("an alias counts as the same directive", () => {
    const text = minimal("server-poll-timeout 5\nconnect-timeout 6\nncp-ciphers AES-128-GCM")
    const profile = profileOf(text)
    expect(profile.remotes[0].connectTimeout).toBe(6)
    expect(profile.dataCiphers).toEqual(["AES-128-GCM"])
    expect(notesOf(text)).toHaveLength(1)
  })
})

describe("unknown directives", () => {
  test("are errors, with the nearest name", () => {
    expect(errorsOf(minimal("data-ciphers-fallbacks AES-256-GCM\nfoo bar\nVerb 3\n<<<<<<< HEAD"))).toEqual([
      '5:1: error: unknown directive "data-ciphers-fallbacks" (did you mean "data-ciphers-fallback"?)',
      '6:1: error: unknown directive "foo"',
      '7:1: error: unknown directive "Verb" (names are written in lower case: "verb")',
      '8:1: error: unknown directive "<<<<<<<" (this is a merge conflict marker: resolve the conflict)',
    ])
  })

  test("are not matched by prefix", () => {
    expect(errorsOf(minimal("dhcp-options DNS 1.1.1.1\nupdate now\nlogging on"))).toHaveLength(3)
  })

  test("names that every object has are unknown too", () => {
    expect(errorsOf(minimal("constructor\n__proto__ x\n<tostring>\n</tostring>\ntoString"))).toHaveLength(4)
  })

  test("may be allowed one by one, by name, or altogether", () => {
    expect(notesOf(minimal("setenv opt foo bar"))).toEqual([
      '5:12: info: unknown directive "foo"; skipped as the file says',
    ])
    expect(notesOf(minimal("foo\nignore-unknown-option foo bar\nbar"))).toHaveLength(2)
    expect(notesOf(minimal("foo\nsetenv FORWARD_COMPATIBLE 1"))).toHaveLength(1)
  })

  test("setenv opt takes a known directive as it is", () => {
    expect(profileOf(minimal("setenv opt hand-window 20")).timers.handWindow).toBe(20)
    expect(errorsOf(minimal("setenv opt hand-window x"))).toHaveLength(1)
  })

  test("refused ones stay refused whatever the file says", () => {
    expect(errorsOf(minimal("setenv opt no-iv\nignore-unknown-option no-iv\nno-iv"))).toHaveLength(2)
  })
})

describe("refused directives", () => {
  const lines = [
    "client-nat snat 10.0.0.0 255.0.0.0 11.0.0.0",
    "proto tcp\nhttp-proxy proxy.example 8080 auto ntlm2",
    "dev null",
    "no-replay",
    "no-iv",
    "tls-server",
    "server 10.0.0.0 255.0.0.0",
    "plugin x.so",
    "proto tcp-server",
    "mode server",
    "key-method 1",
    "config other.ovpn",
    "auth SHA3-256",
    "auth-token x",
    "tls-verify x",
    "capath /etc/ssl/certs",
    "setenv GENERIC_CONFIG",
    "allow-compression no\ncomp-lzo yes",
  ]
  for (const line of lines) {
    test(line.replace("\n", ", "), () => {
      const errors = errorsOf(minimal(line), noFiles, "accept")
      expect(errors).toHaveLength(1)
      expect(errors[0]).toMatch(/^[56]:\d+: error: /)
    })
  }
})

describe("directives without effect", () => {
  test("say why, once each", () => {
    expect(notesOf(minimal("persist-key\nblock-outside-dns\nup /etc/up.sh\n<dh>\nx\n</dh>"))).toEqual([
      '5:1: info: "persist-key" has no effect here: keys are always kept in memory',
      '6:1: info: "block-outside-dns" has no effect here: it concerns Windows',
      '7:1: warning: "up" has no effect here: no scripts are run',
      '8:2: info: "dh" has no effect here: it concerns servers',
    ])
  })

  test("cipher is negotiated instead, as in OpenVPN 2.6", () => {
    expect(profileOf(minimal("cipher AES-256-CBC")).dataCiphers).toHaveLength(3)
    expect(notesOf(minimal("cipher AES-256-CBC"))).toEqual([
      '5:1: warning: cipher "AES-256-CBC" is not used: the server chooses from data-ciphers (AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305) (to offer it as well: data-ciphers AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305:AES-256-CBC)',
    ])
    expect(notesOf(minimal("cipher aes-256-gcm"))).toEqual([])
  })

  test("auth none is harmless, except with tls-auth", () => {
    expect(profileOf(minimal("auth none")).auth).toBe("SHA1")
    expect(errorsOf(minimal("auth none\ntls-auth k")).join()).toContain(
      '"auth none" leaves "tls-auth" without a digest',
    )
  })
})

describe("diagnostics", () => {
  test("point at the word that is at fault", () => {
    expect(
      errorsOf(
        minimal("  remote a.example 70000 udp # x\nproto  quic\nclient now\nremote\nredirect-gateway def1 nope"),
      ),
    ).toEqual([
      '5:20: error: remote: expected a whole number from 1 to 65535, not "70000"',
      '6:8: error: proto: expected one of udp, udp4, udp6, tcp, tcp4, tcp6, tcp-client, tcp4-client, tcp6-client, not "quic"',
      '7:8: error: unexpected "now" after "client" (usage: client)',
      '8:1: error: "remote" is incomplete (usage: remote host [port] [udp|udp4|udp6|tcp|tcp4|tcp6|tcp-client|tcp4-client|tcp6-client])',
      '9:23: error: redirect-gateway: expected one of def1, local, autolocal, bypass-dhcp, bypass-dns, block-local, ipv6, !ipv4, not "nope"',
    ])
  })

  test("two directives on one line are recognised", () => {
    expect(errorsOf(minimal("float persist-key"))).toEqual([
      '5:7: error: unexpected "persist-key" after "float" ("persist-key" begins a line of its own)',
    ])
    expect(errorsOf(minimal("verb 3nobind"))).toEqual([
      '5:6: error: verb: expected a whole number from 0 to 15, not "3nobind"',
    ])
  })

  test("carry the line, but never one that may hold a secret", () => {
    const [shown] = diagnosticsOf(minimal("hand-window x # why"))
    expect(shown).toMatchObject({ file: "client.ovpn", line: 5, column: 13, source: "hand-window x # why" })
    const secrets = diagnosticsOf(
      `${minimal("auth-user-pass alice hunter2\nauth-token hunter2")}<auth-user-pass>\nhunter2\n</auth-user-pass>\n<key>\nhunter2\n</key>\n${"ab12".repeat(8)}\n`,
    )
    expect(secrets.length).toBeGreaterThan(3)
    expect(JSON.stringify(secrets)).not.toContain("hunter2")
    expect(JSON.stringify(secrets)).not.toContain("ab12ab12")
  })

  test("do not show a line of a block, even when it looks like a directive", () => {
    const [inBlock] = diagnosticsOf(minimal("<tls-crypt>\nverb hunter2\n</tls-crypt>"))
    expect(inBlock).toMatchObject({ line: 6, source: undefined })
  })

  test("cannot act on a terminal", () => {
    const [diagnostic] = diagnosticsOf(minimal("\u001b[31mred"))
    expect(formatDiagnostic(diagnostic!)).not.toContain("\u001b")
  })

  test("know a comment sign without a blank, typographic quotes, and what is no configuration at all", () => {
    expect(errorsOf(minimal("port 1194;\nproto “udp”"))).toEqual([
      '5:6: error: port: expected a whole number from 1 to 65535, not "1194;" (a comment begins with a blank before its sign)',
      expect.stringContaining("these are typographic quotation marks: use \" or '"),
    ])
    expect(errorsOf("<!DOCTYPE html>\n")[0]).toContain("(this is a web page: was the download complete?)")
    expect(errorsOf("client\nremote a\0b\nfoo")).toEqual([
      "2:9: error: a NUL character: this is not a text file (is this a configuration file?)",
    ])
  })

  test("show the line of a misspelling, unless it may hold a secret", () => {
    const sources = (line: string) => diagnosticsOf(minimal(line)).map(({ source }) => source)
    expect(sources("remote-cert-tsl server")).toEqual(["remote-cert-tsl server"])
    expect(sources("auth-user-pas alice hunter2")).toEqual([undefined])
    expect(sources("hunter2 hunter3")).toEqual([undefined])
  })

  test("stop when there are far too many", () => {
    const messages = errorsOf("x\n".repeat(10_000))
    expect(messages).toHaveLength(201)
    expect(messages.at(-1)).toContain("too many errors")
  })
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
