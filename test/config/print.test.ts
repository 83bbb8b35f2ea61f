import { describe, expect, test } from "bun:test"
import { print } from "../../src/config/index.ts"
import {
  certificate,
  expectSameProfile,
  files,
  minimal,
  otherCertificate,
  privateKey,
  profileOf,
  staticKey,
} from "./fixtures.ts"

const read = files({
  "ta.key": staticKey,
  "my.crt": certificate + otherCertificate,
  "my.key": privateKey,
  login: "al ice\n p#\"'\\w \n",
})
const profile = (lines: string) => profileOf(minimal(lines), read)

describe("parse, print, parse gives the same profile", () => {
  const cases = [
    "",
    "dev tun7",
    "dev vpn0\ndev-type tun",
    "remote b 443 tcp\nremote c 53 udp6\nremote-random",
    "tls-auth ta.key 1\nexplicit-exit-notify 2",
    "tls-auth ta.key",
    "tls-crypt ta.key\nremote b",
    "cert my.crt\nkey my.key",
    "auth-user-pass login",
    "remote b 1 tcp\nexplicit-exit-notify 3\nfloat\nlport 5000\nlocal 10.0.0.1",
    "local host.example\nlport 0",
    "bind",
    "mssfix 0",
    "mssfix 1450",
    "mssfix 1450 fixed\ntun-mtu 1400",
    "tun-mtu 1400",
    "max-packet-size 1200",
    "max-packet-size 1250",
    "max-packet-size 1200\nmssfix",
    "connect-retry 5\nconnect-retry-max 4\nresolv-retry 0\nserver-poll-timeout 9",
    "ping 5\nping-exit 20\ninactive 60 1000\nsession-timeout 77",
    "ping 0\nping-restart 0",
    "keepalive 10 60",
    "route 10.0.0.0 255.0.0.0\nroute a.example default net_gateway 4\nroute remote_host\nroute 10.1.0.0 default default 9",
    "route-ipv6 fd00::/8\nroute-ipv6 2000::/3 default 5\nroute-ipv6 ::/0 vpn_gateway",
    "topology p2p\nifconfig 10.0.0.1 10.0.0.2\nifconfig-ipv6 fd00::1/64 fd00::2\nroute-gateway 10.0.0.2\nroute-metric 0\nroute-delay 5",
    "redirect-gateway\nredirect-private ipv6 def1\nblock-ipv6\nroute-nopull",
    'dhcp-option DNS 1.1.1.1\ndhcp-option DOMAIN "a b"\ndhcp-option DISABLE-NBT',
    'pull-filter ignore "route "\npull-filter accept \'say "x" \\\'\npull-filter reject "#"',
    "setenv UV_A \"x 'y' z\"\nsetenv UV_B\nsetenv IV_GUI_VER 1\npush-peer-info",
    "tls-version-min 1.3\ntls-version-max 1.3\ntls-cipher A:B\ntls-ciphersuites C\ntls-groups D\ntls-cert-profile suiteb",
    "auth SHA512\ndata-ciphers CHACHA20-POLY1305\ndata-ciphers-fallback AES-128-GCM\nreplay-window 0",
    "hand-window 1\ntran-window 0\ntls-timeout 1\nreneg-sec 0\nreneg-bytes 9007199254740991\nreneg-pkts 1\nverb 11\nauth-retry nointeract\npersist-tun",
    'static-challenge "Your code?" 0',
    "static-challenge Code? 1 concat",
    "verify-x509-name server- name-prefix\nremote-cert-tls client",
    `peer-fingerprint ${new Array(32).fill("AB").join(":")}\npeer-fingerprint ${new Array(32).fill("00").join(":")}`,
  ]
  for (const lines of cases) {
    test(lines === "" ? "the least" : lines.replaceAll("\n", "; ").slice(0, 80), () => {
      const original = profile(lines)
      expectSameProfile(profileOf(print(original, { secrets: true })), original)
    })
  }

  test("connection blocks that share some things and not others", () => {
    const original = profile(
      `server-poll-timeout 5\n<connection>\nremote a 1 tcp4\ntls-auth ta.key 1\ntun-mtu 1400\n</connection>\n<connection>\nremote b\n<tls-crypt>\n${staticKey}</tls-crypt>\nmax-packet-size 1000\nfloat\n</connection>\n<connection>\nremote c\nmssfix 0\n</connection>`,
    )
    const text = print(original, { secrets: true })
    expectSameProfile(profileOf(text), original)
    expect(text.match(/server-poll-timeout/g)).toHaveLength(1)
    expect(text.match(/<connection>/g)).toHaveLength(3)
  })

  test("with auth-nocache, which leaves the login in its file", () => {
    const original = profile("auth-user-pass login\nauth-nocache")
    const text = print(original, { secrets: true })
    expect(text).not.toContain("al ice")
    expectSameProfile(profileOf(text, read), original)
  })

  test("without pull, and without any proof of who we are", () => {
    const text = minimal().replace("client", "tls-client\nsetenv CLIENT_CERT 0").replace("auth-user-pass\n", "")
    const original = profileOf(text)
    expect(original).toMatchObject({ pull: false, credentials: undefined })
    expectSameProfile(profileOf(print(original)), original)
  })
})

test("the text is canonical: printing what was parsed from it gives it again", () => {
  const text = print(profile("remote b 443 tcp\ncert my.crt\nkey my.key\ntls-auth ta.key 0\nverb 3"), { secrets: true })
  expect(print(profileOf(text), { secrets: true })).toBe(text)
})

test("only what is not the default is printed", () => {
  expect(print(profile(""))).toBe(
    `client\ndev tun\nremote vpn.example.com 1194 udp\nremote-cert-tls server\n<ca>\n${certificate}</ca>\nauth-user-pass\n`,
  )
  expect(print(profile("hand-window 60\nverb 1"))).toBe(print(profile("")))
})

test("secrets are shown only when asked for", () => {
  const original = profile(
    "cert my.crt\nkey my.key\ntls-crypt ta.key\nauth-user-pass login\n<connection>\nremote x\n</connection>\n<connection>\nremote y\ntls-auth ta.key\n</connection>",
  )
  const hidden = print(original)
  expect(hidden).toContain("# <key> is not shown\n# <auth-user-pass> is not shown\n")
  expect(hidden).toContain("# <tls-crypt> is not shown")
  for (const secret of [privateKey.split("\n")[1]!, "000102030405", "al ice", "p#"]) {
    expect(hidden).not.toContain(secret)
    expect(print(original, { secrets: true })).toContain(secret)
  }
})
