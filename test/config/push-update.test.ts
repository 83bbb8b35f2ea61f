import { describe, expect, test } from "bun:test"
import { type PushPolicy, pushOptions, readPush, updatePush } from "../../src/config/index.ts"

const open: PushPolicy = { pullFilters: [], routeNopull: false }
const before = pushOptions(["route 10.1.0.0 255.255.0.0,route 10.2.0.0 255.255.0.0,dhcp-option DNS 10.1.0.1,peer-id 3"])
const update = (text: string | ReadonlyArray<string>, policy: PushPolicy = open) =>
  updatePush(before, typeof text === "string" ? [text] : text, policy)

describe("an update", () => {
  test("sets: the first of a name takes the place of all before, further ones add", () => {
    expect(update("route 10.3.0.0 255.255.0.0,route 10.4.0.0 255.255.0.0")).toEqual({
      options: ["dhcp-option DNS 10.1.0.1", "peer-id 3", "route 10.3.0.0 255.255.0.0", "route 10.4.0.0 255.255.0.0"],
      notes: [],
      restart: undefined,
    })
  })

  test("removes what begins with a minus, and leaves the rest", () => {
    expect(update("-route").options).toEqual(["dhcp-option DNS 10.1.0.1", "peer-id 3"])
    expect(update("-dns").options).toEqual(before)
  })

  test("in parts is one update", () => {
    const { options } = update(["route 10.3.0.0 255.255.0.0", "route 10.4.0.0 255.255.0.0"])
    expect(options.filter((option) => option.startsWith("route"))).toHaveLength(2)
  })

  test("gives options that are read like those of a reply", () => {
    const { pushed, notes } = readPush(update("topology subnet,-dhcp-option").options, open)
    expect(pushed.network).toMatchObject({
      topology: "subnet",
      dhcpOptions: [],
      routes: [{ prefix: 16 }, { prefix: 16 }],
    })
    expect([pushed.peerId, notes]).toEqual([3, []])
  })
})

test("everything that OpenVPN 2.7 changes can be changed, and the timers as well", () => {
  const changes = [
    ...["block-ipv6", "block-outside-dns", "dhcp-option DNS 10.1.0.2", "dns search-domains a.example"],
    ...["ifconfig 10.8.0.9 255.255.255.0", "ifconfig-ipv6 fd00::9/64 fd00::1", "redirect-gateway def1"],
    ...["redirect-private", "route 10.3.0.0", "route-gateway 10.8.0.1", "route-ipv6 fd01::/64", "route-metric 5"],
    ...["topology subnet", "tun-mtu 1400", "keepalive 10 60"],
    ...["ping 5", "ping-restart 30", "ping-exit 30", "inactive 60", "session-timeout 600", "explicit-exit-notify 1"],
  ]
  for (const change of changes) {
    const { options, notes, restart } = update(change)
    expect([change, restart, notes]).toEqual([change, undefined, []])
    expect(options.at(-1)).toBe(change)
    expect(readPush(options, open).notes).toEqual([])
  }
})

test("of the directives for one timer the one that was pushed last holds", () => {
  const keepalive = (text: string) => readPush(updatePush(["ping 10", "ping-restart 60"], [text], open).options, open)
  expect(keepalive("keepalive 5 20").pushed.keepalive).toMatchObject({
    ping: 5,
    silence: { seconds: 20, then: "restart" },
  })
  expect(keepalive("ping-exit 30").pushed.keepalive).toMatchObject({ ping: 10, silence: { seconds: 30, then: "exit" } })
  expect(keepalive("-ping-restart").pushed.keepalive).toMatchObject({ ping: 10, silence: undefined })
})

describe("what cannot be changed", () => {
  test("ends the connection, unless the server says that it is optional", () => {
    expect(update("cipher AES-128-GCM").restart).toBe(
      'the server\'s update of "cipher" cannot be carried out: it cannot be changed while connected',
    )
    expect(update("?cipher AES-128-GCM,-?unheard-of")).toEqual({
      options: before,
      notes: ['"cipher" is skipped: it cannot be changed while connected', '"unheard-of" is skipped: it is unknown'],
      restart: undefined,
    })
  })

  test("a pull-filter decides as it does for a reply", () => {
    const filtered = (action: "ignore" | "reject") =>
      update("route 10.9.0.0 255.255.0.0", { ...open, pullFilters: [{ action, prefix: "route" }] })
    expect(filtered("ignore")).toEqual({
      options: before,
      notes: ['"route" is skipped: pull-filter ignore'],
      restart: undefined,
    })
    expect(filtered("reject").restart).toContain("pull-filter reject")
  })

  test("odd signs are no names of options", () => {
    for (const text of ["--route", "?-route", "-", "?", "-?"]) {
      const { options, notes, restart } = update(text)
      expect(options).toEqual(before)
      expect(notes.length + (restart === undefined ? 0 : 1)).toBe(1)
    }
  })
})
