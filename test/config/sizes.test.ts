/** `tun-mtu`, `link-mtu`, `mssfix` and `fragment`: what OpenVPN 2.6.14 prints for the same lines (verb 4). */
import { describe, expect, test } from "bun:test"
import { print } from "../../src/config/index.ts"
import { diagnosticsOf, expectSameProfile, files, minimal, parsed, staticKey } from "./fixtures.ts"

const sideFiles = files({ "s.key": staticKey })
const staticFile = (lines: string) =>
  `dev tun\nremote peer.example\nifconfig 10.0.0.1 10.0.0.2\ncipher AES-256-CBC\nsecret s.key\n${lines}\n`

const sizes = (text: string) => {
  const { profile } = parsed(text, sideFiles)
  expectSameProfile(parsed(print(profile, { secrets: true })).profile, profile)
  const { tunMtu, mssfix, fragment } = profile.remotes[0]
  const clamp = mssfix === "off" ? "off" : `${mssfix.size} ${mssfix.counts}`
  return fragment === undefined ? [tunMtu, clamp] : [tunMtu, clamp, `${fragment.size} ${fragment.counts}`]
}

describe("mssfix", () => {
  test.each([
    ["", [1500, "1492 mtu"]],
    ["mssfix", [1500, "1492 mtu"]],
    ["mssfix 0", [1500, "off"]],
    ["mssfix 1400", [1500, "1400 payload"]],
    ["mssfix 1400 mtu", [1500, "1400 mtu"]],
    ["mssfix 1400 fixed", [1500, "1400 fixed"]],
    ["tun-mtu 1400", [1400, "1400 fixed"]],
    ["tun-mtu 1400\nmssfix", [1400, "1400 fixed"]],
    ["max-packet-size 1300", [1500, "1300 mtu"]],
    ["fragment 1300", [1500, "1300 mtu", "1300 payload"]],
    ["fragment 1300 mtu", [1500, "1300 mtu", "1300 mtu"]],
    ["fragment 1300\nmssfix", [1500, "1300 mtu", "1300 payload"]],
    ["fragment 1300\ntun-mtu 1400", [1400, "1300 mtu", "1300 payload"]],
    ["fragment 1300\nmssfix 1200", [1500, "1200 payload", "1300 payload"]],
    ["fragment 1300\nmssfix 0", [1500, "off", "1300 payload"]],
    ["fragment 1300\nmax-packet-size 1200", [1500, "1200 mtu", "1300 payload"]],
  ])("with %j", (lines, expected) => {
    expect(sizes(minimal(lines))).toEqual(expected)
  })
})

test("tun-mtu may say another size to the other side than it has", () => {
  const { tunMtu, occMtu } = parsed(minimal("tun-mtu 1400 1450")).profile.remotes[0]
  expect([tunMtu, occMtu]).toEqual([1400, 1450])
  expect(sizes(minimal("tun-mtu 1400 1450"))).toEqual([1400, "1400 fixed"])
})

describe("link-mtu", () => {
  test.each([
    ["link-mtu 1400", [1375, "off"]],
    ["udp-mtu 1400", [1375, "off"]],
    ["link-mtu 1400\nauth SHA512", [1331, "off"]],
    ["link-mtu 1400\nproto tcp", [1373, "off"]],
    ["link-mtu 1400\ncomp-lzo no", [1375, "off"]],
    ["link-mtu 1400\ncipher AES-256-CBC", [1347, "off"]],
    ["link-mtu 1400\ncipher AES-256-GCM", [1351, "off"]],
    ["link-mtu 1400\ncipher CHACHA20-POLY1305", [1366, "off"]],
    ["link-mtu 1400\ndata-ciphers-fallback AES-128-CBC", [1347, "off"]],
    ["link-mtu 1400\nmssfix", [1375, "off"]],
    ["link-mtu 1400\nmssfix 1300 mtu", [1375, "1300 mtu"]],
    ["link-mtu 1400\nmax-packet-size 1300", [1375, "1300 mtu"]],
    ["link-mtu 1400\nfragment 1300", [1375, "1300 mtu", "1300 payload"]],
  ])("with %j", (lines, expected) => {
    expect(sizes(minimal(lines))).toEqual(expected)
  })

  test("with a static key reckons with its packets", () => {
    expect(sizes(staticFile("link-mtu 1400"))).toEqual([1348, "off"])
    expect(sizes(staticFile("link-mtu 1400\nauth SHA512\nproto tcp"))).toEqual([1302, "off"])
    expect(sizes(staticFile("link-mtu 1400\nfragment 1300"))).toEqual([1348, "1300 mtu", "1300 payload"])
  })

  test("with tun-mtu is a contradiction, and what leaves nothing is refused", () => {
    const errors = (lines: string) => diagnosticsOf(minimal(lines)).filter(({ severity }) => severity === "error")
    expect(errors("link-mtu 1400\ntun-mtu 1300").map(({ message }) => message)).toEqual([
      expect.stringContaining("cannot both be given"),
    ])
    expect(errors("link-mtu 110").map(({ message }) => message)).toEqual([
      "link-mtu 110 leaves 85 bytes for packets in the tunnel, 100 are needed",
    ])
  })
})
