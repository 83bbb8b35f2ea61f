/** What the kernel says and what iproute2 says of it: the same. As root of a network with something in it. */
import { dlopen } from "bun:ffi"
import { afterAll, beforeAll, expect, test } from "bun:test"
import { closeSync, openSync } from "node:fs"
import { globalAddresses, hasFilterTable, hasMarked, links, mainRoutes, routeTo } from "../../src/linux/index.ts"

// This thread and what it starts are in a network namespace of their own, until the last test is done.
const isRoot = process.getuid?.() === 0
const CLONE_NEWNET = 0x40000000
const { symbols } = dlopen("libc.so.6", {
  unshare: { args: ["i32"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
})
let before = -1

beforeAll(() => {
  if (!isRoot) return
  before = openSync("/proc/thread-self/ns/net", "r")
  expect(symbols.unshare(CLONE_NEWNET)).toBe(0)
  for (const line of [
    "link add d0 type veth peer name d1",
    "link set d1 up",
    "link set d0 mtu 1380 up",
    "link set lo up",
    "address add 10.1.2.3/24 dev d0",
    "address add fd01::5/64 dev d0 nodad",
    "route add default via 10.1.2.1",
    "-6 route add default via fd01::1",
    "route add 10.77.0.0/16 via 10.1.2.9 proto 149 mtu 1200 src 10.1.2.3",
    "route add unreachable 10.8.0.0/16",
    "route add 10.9.0.0/16 table 4911 via 10.1.2.9",
  ])
    expect(Bun.spawnSync(["ip", ...line.split(" ")]).stderr.toString()).toBe("")
})

afterAll(() => {
  if (before < 0) return
  symbols.setns(before, CLONE_NEWNET)
  closeSync(before)
})

interface Shown {
  readonly [field: string]: unknown
}

const ip = (...words: ReadonlyArray<string>) =>
  JSON.parse(Bun.spawnSync(["ip", "-j", ...words]).stdout.toString() || "[]") as ReadonlyArray<Shown>

const nameOf = (link: number | undefined) => links().find(({ index }) => index === link)?.name

test("links have the names and MTUs that ip shows", () => {
  const shown = ip("link", "show").map(({ ifindex, ifname, mtu }) => ({ index: ifindex, name: ifname, mtu }))
  expect(links()).toEqual(shown as never)
})

test("addresses of global scope are those that ip shows", () => {
  const shown = ip("address", "show", "scope", "global").flatMap(({ ifname, addr_info }) =>
    (addr_info as ReadonlyArray<Shown>).flatMap(({ local }) => (local === undefined ? [] : [`${ifname} ${local}`])),
  )
  const own = globalAddresses().map(({ link, address }) => `${nameOf(link)} ${address}`)
  expect(own.toSorted()).toEqual(shown.toSorted())
})

test.each([4, 6] as const)("the main table of IPv%d is the one that ip shows", (family) => {
  const bits = family === 4 ? 32 : 128
  const full = (dst: unknown) =>
    dst === "default"
      ? family === 4
        ? "0.0.0.0/0"
        : "::/0"
      : String(dst).includes("/")
        ? String(dst)
        : `${dst}/${bits}`
  const shown = ip(`-${family}`, "route", "show", "table", "main").map(
    ({ dst, dev, gateway, prefsrc }) => `${full(dst)} ${dev} ${gateway} ${prefsrc}`,
  )
  const own = mainRoutes(family).map(({ target, link, gateway, source }) =>
    [target, nameOf(link), gateway, source].map(String).join(" "),
  )
  expect(own).toEqual(shown)
})

test("the way to an address is the one that ip finds, with the MTU of the path; what is no address has none", () => {
  for (const address of isRoot ? ["127.0.0.1", "10.77.1.1", "fd02::1"] : ["127.0.0.1"]) {
    const [shown] = ip("route", "get", address)
    const route = routeTo(address)
    expect([nameOf(route?.link), route?.gateway, route?.source]).toEqual([
      shown?.dev,
      shown?.gateway,
      shown?.prefsrc,
    ] as never)
  }
  expect(routeTo("10.77.1.1", "10.1.2.3")?.mtu).toBe(isRoot ? 1200 : undefined)
  expect(routeTo("nowhere")).toBeUndefined()
  expect(routeTo("127.0.0.1", "nobody")).toBeUndefined()
})

test.skipIf(!isRoot)("a route is found by its protocol, a rule by its preference, in either family", () => {
  const run = (line: string) => expect(Bun.spawnSync(["ip", ...line.split(" ")]).exitCode).toBe(0)
  expect(hasMarked(149, 4911)).toBe(true)
  expect(hasMarked(150, 4911)).toBe(false)
  run("-6 rule add from fd01::5 lookup 4911 pref 4911")
  expect(hasMarked(150, 4911)).toBe(true)
  run("-6 rule del pref 4911")
  expect(hasMarked(150, 4911)).toBe(false)
})

test.skipIf(!isRoot || Bun.which("nft") === null)("a table of nftables is there or not", () => {
  const run = (line: string) => expect(Bun.spawnSync(["nft", ...line.split(" ")]).exitCode).toBe(0)
  expect(hasFilterTable("culvert")).toBe(false)
  run("add table ip culvert")
  expect(hasFilterTable("culvert")).toBe(false)
  run("add table inet culvert")
  expect(hasFilterTable("culvert")).toBe(true)
  run("delete table inet culvert")
  expect(hasFilterTable("culvert")).toBe(false)
})
