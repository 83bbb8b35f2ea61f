import { expect, test } from "bun:test"
import type { Remote } from "../../src/config/index.ts"
import { sizesFor } from "../../src/tunnel/mtu.ts"

const remote = (rest: Partial<Remote> = {}): Remote =>
  ({ transport: "udp", mssfix: { size: 1492, counts: "mtu" }, fragment: undefined, ...rest }) as Remote
const aead = { cipher: "AES-256-GCM", digest: undefined, peerId: 1, compression: undefined } as const
const sizes = (
  path: number | undefined,
  rest: Partial<Remote> = {},
  hasIpv6 = false,
  family: "ipv4" | "ipv6" = "ipv4",
) => sizesFor(path, 1500, hasIpv6, remote(rest), family, aead)

test("the sealed packet fits the path, over either family", () => {
  expect(sizes(1500)).toMatchObject({ mtu: 1448, mss: { ipv4: 1400 } })
  expect(sizes(1280)).toMatchObject({ mtu: 1228, mss: { ipv4: 1188, ipv6: 1168 } })
  expect(sizes(1280, {}, false, "ipv6").mtu).toBe(1208)
})

test("what file or server say is not exceeded, and holds where the path is unknown", () => {
  expect(sizes(9000).mtu).toBe(1500)
  expect(sizes(undefined)).toMatchObject({ mtu: 1500, mss: { ipv4: 1400 } })
  expect(sizes(1500, { mssfix: { size: 1200, counts: "fixed" } }).mss.ipv4).toBe(1160)
  expect(sizes(1500, { mssfix: "off" }).mss).toEqual({ ipv4: 0, ipv6: 0 })
})

test("IPv6 inside keeps the device at 1280, while TCP still fits the path", () => {
  expect(sizes(1280, {}, true)).toMatchObject({ mtu: 1280, mss: { ipv4: 1188, ipv6: 1168 } })
  expect(sizes(300).mtu).toBe(576)
})

test("a stream and the directive fragment need no smaller device", () => {
  expect(sizes(1280, { transport: "tcp" }).mtu).toBe(1500)
  expect(sizes(1280, { fragment: { size: 1200, counts: "payload" } }).mtu).toBe(1500)
})
