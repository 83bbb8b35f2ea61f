/** A line means to us what it means to iproute2: in two network namespaces alike, what `ip` shows afterwards is the same. */
import { dlopen } from "bun:ffi"
import { afterAll, beforeAll, expect, test } from "bun:test"
import { closeSync, openSync } from "node:fs"
import { changeNetwork } from "../../src/linux/index.ts"
import { leftovers } from "../../src/network/change.ts"

const isRoot = process.getuid?.() === 0
const CLONE_NEWNET = 0x40000000
const { symbols } = dlopen("libc.so.6", {
  unshare: { args: ["i32"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
})
const namespaces: Array<number> = []

const makeNamespace = (): number => {
  expect(symbols.unshare(CLONE_NEWNET)).toBe(0)
  for (const line of [
    "link set lo up",
    "tuntap add mode tap name d0",
    "tuntap add mode tun name t0",
    // No addresses of the kernel's own, which come when they like.
    "link set d0 addrgenmode none up",
    "link set t0 addrgenmode none",
    "address add 10.1.2.3/24 dev d0",
    "address add fd01::5/64 dev d0 nodad",
  ])
    expect(ip(line)).toBe("")
  return openSync("/proc/thread-self/ns/net", "r")
}

/** What `ip` complains of. */
const ip = (line: string) => Bun.spawnSync(["ip", ...line.split(" ")]).stderr.toString()

const enter = (namespace: number) => expect(symbols.setns(namespace, CLONE_NEWNET)).toBe(0)

beforeAll(() => {
  if (!isRoot) return
  namespaces.push(openSync("/proc/thread-self/ns/net", "r"))
  namespaces.push(makeNamespace(), makeNamespace())
})

afterAll(() => {
  if (namespaces[0] !== undefined) enter(namespaces[0])
  for (const namespace of namespaces) closeSync(namespace)
})

/** Everything that the kernel knows of links, addresses, routes and rules, as text. */
const shown = () =>
  ["-d link show", "address show", "-d route show table all", "-d -6 route show table all", "rule show", "-6 rule show"]
    .map((line) => Bun.spawnSync(["ip", ...line.split(" ")]).stdout.toString())
    .join("\n")
    // What is another's in another namespace, and what the kernel finds out later.
    .replace(/ link\/ether \S+| link-netns(id)? \S+|NO-CARRIER,|,LOWER_UP| state \S+| linkdown|\d+sec/g, "")
    .replace(/^local .*\n/gm, "")

/** `-6` in front: of IPv6. */
const does = (line: string) =>
  line.startsWith("-6 ") ? changeNetwork(line.slice("-6 ".length), 6) : changeNetwork(line, 4)

const run = (line: string, how: (line: string) => void): string => {
  how(line)
  return shown()
}

const both = (line: string) => {
  enter(namespaces[1]!)
  const ours = run(line, does)
  enter(namespaces[2]!)
  const theirs = run(line, (line) => expect(ip(line.startsWith("-6 ") ? line : `-4 ${line}`)).toBe(""))
  return { ours, theirs }
}

// Each as it comes after those before it.
test
  .skipIf(!isRoot)
  .each([
    "link set dev t0 mtu 1380 up",
    "address replace 10.66.0.2/24 dev t0",
    "address replace 10.66.0.2/24 dev t0",
    "address replace 10.67.0.6 peer 10.67.0.5 dev t0",
    "address replace 10.66.0.9/32 dev t0",
    "-6 address replace fd66::2/64 dev t0 nodad",
    "-6 address replace fd66::2/64 dev t0 nodad preferred_lft 0",
    "route replace 0.0.0.0/1 dev t0 proto 149",
    "route replace 128.0.0.0/1 dev t0 proto 149 metric 50 src 10.66.0.2",
    "route replace 128.0.0.0/1 via 10.66.0.1 dev t0 proto 149 metric 50",
    "route replace 192.0.2.9/32 via 10.1.2.1 dev d0 proto 149 mtu 1340",
    "route replace 0.0.0.0/0 via 169.254.1.1 dev d0 onlink proto 149 table 4911",
    "route replace 10.1.2.0/24 dev d0 proto 149 table 4911",
    "route replace 10.9.0.0/16 dev d0 proto 149 table 77",
    "-6 route replace ::/0 via fd01::1 dev d0 onlink proto 149 table 4911",
    "-6 route replace 2000::/4 dev t0 proto 149",
    "-6 route replace 2000::/4 dev t0 proto 149 metric 30 mtu 1300",
    "-6 route replace fd99::1/128 via fd01::1 dev d0 proto 149",
    "rule add from 10.1.2.3 lookup 4911 pref 4911",
    "-6 rule add from fd01::5 lookup 4911 pref 4911",
    "rule add from 10.66.0.2 lookup 4912 pref 4911",
    "rule del from 10.1.2.3 lookup 4911 pref 4911",
    "rule del pref 4911",
    "-6 rule del from fd01::5 lookup 4911 pref 4911",
    "route del 192.0.2.9/32 via 10.1.2.1 dev d0 proto 149",
    "route del 128.0.0.0/1 via 10.66.0.1 dev t0 proto 149 metric 50",
    "-6 route del 2000::/4 dev t0 proto 149 metric 30",
    "route flush table all proto 149",
    "-6 route flush table all proto 149",
    "address del 10.67.0.6 peer 10.67.0.5 dev t0",
    "address del 10.66.0.9/32 dev t0",
    "-6 address del fd66::2/64 dev t0",
    "link set dev t0 mtu 1400 up",
  ])("%s", (line) => {
  const { ours, theirs } = both(line)
  expect(ours).toBe(theirs)
  expect(ours).toContain("t0")
})

test.skipIf(!isRoot).each([
  ["route replace 10.5.0.0/16 via 203.0.113.1 dev d0 proto 149", /gateway.*: ENETUNREACH$/],
  ["route del 10.5.0.0/16 dev d0 proto 149", /: ESRCH$/],
  ["address del 10.5.0.1/16 dev d0", /: EADDRNOTAVAIL$/],
  ["rule del pref 4911", /: ENOENT$/],
  ["route replace 10.5.0.1/16 dev d0 proto 149", /: EINVAL$/],
  ["link set dev t0 mtu 20 up", /: EINVAL$/],
  ["route replace 10.5.0.0/16 dev nowhere proto 149", /^there is no device nowhere: ENODEV$/],
  ["route replace 10.5.0.0/33 dev d0", /^\/33 is no prefix length: EINVAL$/],
  ["route replace 10.5.0.0/x dev d0", /^\/x is no prefix length: EINVAL$/],
  ["route replace fd00::/16 dev d0", /^fd00:: is no address: EINVAL$/],
  ["route replace 10.5.0.0/16 via fd01::1 dev d0", /^via fd01::1 is no address: EINVAL$/],
  ["route replace 10.5.0.0/16 dev d0 metric many", /^metric many is no number: EINVAL$/],
  ["route replace 10.5.0.0/16", /^dev is missing: EINVAL$/],
  ["route replace 10.5.0.0/16 dev", /^dev has no value: EINVAL$/],
  ["route replace 10.5.0.0/16 dev d0 realm 3", /^"realm" is no word that is known: EINVAL$/],
  ["route replace 10.5.0.0/16 dev via onlink", /^there is no device via: ENODEV$/],
  ["route append 10.5.0.0/16 dev d0", /^"route append" is no change that is known: EINVAL$/],
  ["", /is no change that is known/],
])("%s is refused, and nothing changes", (line, why) => {
  enter(namespaces[1]!)
  const before = shown()
  expect(() => does(line)).toThrow(why)
  expect(shown()).toBe(before)
})

test.skipIf(!isRoot)("what a predecessor left is gone afterwards, in either family, and nothing else", () => {
  enter(namespaces[1]!)
  const before = shown()
  for (const line of ["route replace 10.5.0.0/16 dev t0 proto 149", "-6 route replace 2000::/4 dev t0 proto 149"])
    does(line)
  for (let n = 0; n < 3; n++) does(`rule add from 10.5.0.${n} lookup 4911 pref 4911`)
  expect(shown()).not.toBe(before)
  const may = (line: string, family: 4 | 6) => {
    try {
      changeNetwork(line, family)
    } catch {}
  }
  for (const line of leftovers) for (const family of [4, 6] as const) may(line, family)
  expect(shown()).toBe(before)
})
