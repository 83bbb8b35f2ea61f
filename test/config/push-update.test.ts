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
