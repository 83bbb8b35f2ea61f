/** Every form of every directive that the README of MirageVPN lists. */
import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import { certificate, errorsOf, files, minimal, privateKey, staticKey } from "./fixtures.ts"

const read = files({ f: staticKey, login: "a\nb\n", pem: certificate, pk: privateKey })

describe("is accepted:", () => {
  const forms = [
    ...[
      "auth-nocache",
      "auth-user-pass login",
      "ca pem",
      "cert pem, key pk",
      "tls-auth f",
      "tls-auth f 0",
      "tls-auth f 1",
      "nobind",
      "bind",
    ],
    ...[
      "lport 5000",
      "local host.example",
      "local 10.0.0.1",
      "cipher AES-256-GCM",
      "comp-lzo",
      "dev tun",
      "dev tap",
      "dev tun5",
      "dev tap5",
    ],
    ...[
      "dhcp-option disable-nbt",
      "dhcp-option domain corp.example",
      "dhcp-option ntp 10.0.0.1",
      "dhcp-option dns 10.0.0.1",
      "hand-window 30",
    ],
    ...[
      "tran-window 30",
      "ping 10",
      "ping-exit 60",
      "ping-restart 60",
      "mssfix 1400",
      "link-mtu 1500",
      "tun-mtu 1400",
      "float",
      "ifconfig-nowarn",
    ],
    ...[
      "mute-replay-warnings",
      "passtos",
      "persist-key",
      "persist-tun",
      "remote-random",
      "auth-retry nointeract",
      "proto tcp",
      "proto tcp-client",
      "proto tcp4",
    ],
    ...[
      "proto tcp4-client",
      "proto tcp6",
      "proto tcp6-client",
      "proto udp",
      "proto udp4",
      "proto udp6",
      "pull",
      "client",
      "tls-client",
      "remote-cert-tls server",
    ],
    ...[
      "remote-cert-tls client",
      "reneg-bytes 1000",
      "reneg-pkts 1000",
      "reneg-sec 60",
      "replay-window 64 15",
      "connect-retry 5 60",
      "keepalive 10 60",
    ],
    ...[
      "connect-retry-max unlimited",
      "connect-retry-max 3",
      "connect-timeout 10",
      "server-poll-timeout 10",
      "resolv-retry infinite",
      "resolv-retry 30",
    ],
    ...[
      "route-delay 5 10",
      "route 10.0.0.0",
      "route 10.0.0.0 255.0.0.0",
      "route 10.0.0.0 255.0.0.0 10.0.0.1",
      "route 10.0.0.0 255.0.0.0 10.0.0.1 5",
    ],
    ...[
      "route net_gateway",
      "route remote_host",
      "route vpn_gateway",
      "route 10.0.0.0 default default default",
      "route-gateway default",
    ],
    ...[
      "route-gateway dhcp",
      "route-gateway 10.0.0.1",
      "route-metric default",
      "route-metric 5",
      "tls-timeout 3",
      "tls-version-min 1.1",
    ],
    ...[
      "tls-version-min 1.2",
      "tls-version-min 1.3",
      "tls-version-min 1.1 or-highest",
      "tls-version-min 1.2 or-highest",
    ],
    ...[
      "tls-version-min 1.3 or-highest",
      "topology net30",
      "topology p2p",
      "topology subnet",
      "verb 3",
      "inactive 60",
      "ip-win32 dynamic",
      "rcvbuf 100000",
    ],
    ...[
      "redirect-gateway def1",
      "remote-cert-ku a0",
      "rport 1195",
      "sndbuf 100000",
      "socket-flags TCP_NODELAY",
      "up /etc/up.sh",
      "dh pem",
      "port 1195",
    ],
    ...[
      "socks-proxy p 1080",
      "dhcp-option WINS 10.0.0.1",
      "engine dynamic",
      "allow-recursive-routing",
      "ping-timer-rem",
    ],
  ]
  test.each(forms)("%s", (form) => {
    expect(errorsOf(minimal(form.replace(", ", "\n")), read)).toEqual([])
  })

  test("secret FILE, where it takes the place of TLS", () => {
    expect(errorsOf("remote a\ncipher AES-256-CBC\nsecret f\n", read)).toEqual([])
  })

  test("pkcs12 FILE, where it takes the place of certificate and key", () => {
    const pkcs12 = () => Result.succeed(Uint8Array.of(0x30, 0))
    expect(errorsOf("client\nremote a\npkcs12 x.p12\n", pkcs12)).toEqual([])
  })
})

describe("is refused, with the reason:", () => {
  const forms = ["dev null", "tls-server", "proto tcp-server", "proto tcp4-server", "proto tcp6-server", "connection f"]
  test.each(forms)("%s", (form) => {
    expect(errorsOf(minimal(form), read)).toHaveLength(1)
  })
})
