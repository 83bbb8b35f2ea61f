/** A session with a static key in virtual time: what it asks, says and waits for. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import type { Remote, StaticKeyProfile } from "../../src/config/index.ts"
import { concat } from "../../src/protocol/bytes.ts"
import { OCC_MAGIC, OCC_REPLY, OCC_REQUEST } from "../../src/protocol/datachannel.ts"
import { mssFor, withFragments } from "../../src/protocol/mtu.ts"
import { differingOptions, staticKeyOptionsString } from "../../src/protocol/options.ts"
import type { Output } from "../../src/protocol/output.ts"
import { type StaticKeyOptions, StaticKeySession } from "../../src/protocol/statickeysession.ts"

const block = Uint8Array.from({ length: 256 }, (_, index) => index)

type Change = Partial<Pick<StaticKeyProfile, "cipher" | "auth" | "compression">> &
  Partial<Pick<Remote, "transport" | "tunMtu" | "occMtu" | "fragment" | "explicitExitNotify">> & {
    readonly key?: Uint8Array
    readonly direction?: 0 | 1
    readonly type?: "tun" | "tap"
    readonly addresses?: Partial<StaticKeyProfile["network"]>
  }

const pointToPoint = { ifconfig: { local: "10.1.0.1", second: "10.1.0.2" } }

const optionsFor = (change: Change = {}): StaticKeyOptions => ({
  unixTime: 0x65000000 * 1000 + 7,
  outerFamily: "ipv4",
  remote: {
    transport: "udp",
    tunMtu: 1500,
    occMtu: undefined,
    fragment: undefined,
    connectTimeout: 20,
    explicitExitNotify: undefined,
    ...change,
  },
  profile: {
    device: { type: change.type ?? "tun", name: "any" },
    cipher: "AES-256-CBC",
    auth: "SHA1",
    compression: undefined,
    ...change,
    staticKey: { key: Redacted.make(change.key ?? block), direction: change.direction },
    network: (change.addresses ?? pointToPoint) as StaticKeyProfile["network"],
  },
})

const drained = (session: StaticKeySession): ReadonlyArray<Output> => {
  const outputs: Array<Output> = []
  for (let output = session.poll(); output !== undefined; output = session.poll()) outputs.push(output)
  return outputs
}

const started = (change: Change = {}) => {
  const session = new StaticKeySession(optionsFor(change))
  session.start(0)
  return { session, outputs: drained(session) }
}

const request = concat(OCC_MAGIC, Uint8Array.of(OCC_REQUEST))
const reply = (text: string) => concat(OCC_MAGIC, Uint8Array.of(OCC_REPLY), new TextEncoder().encode(`${text}\0`))

const keyOf = (outputs: ReadonlyArray<Output>) => outputs.find((output) => output.type === "installKey")?.key

describe("at its start", () => {
  test("the key is there at once, the peer is asked, and nothing is promised", () => {
    const { outputs } = started()
    expect(outputs.map(({ type }) => type)).toEqual(["notice", "installKey", "useKey", "occ"])
    expect(outputs[0]).toMatchObject({ level: "warn", event: "static-key" })
    expect(outputs[3]).toEqual({ type: "occ", message: request })
  })

  test.each([
    [undefined, 0, 0],
    [0, 0, 128],
    [1, 128, 0],
  ] as const)("direction %p sends with the half at %i and receives with that at %i", (direction, send, receive) => {
    const key = keyOf(started(direction === undefined ? {} : { direction }).outputs)!
    expect(key.send.cipherKey).toEqual(block.slice(send, send + 32))
    expect(key.send.hmacKey).toEqual(block.slice(send + 64, send + 84))
    expect(key.receive.cipherKey).toEqual(block.slice(receive, receive + 32))
    expect(key).toMatchObject({
      keyId: 0,
      peerId: undefined,
      digest: "SHA1",
      staticKey: { unixTime: 0x65000000, firstPacketId: 7001 },
    })
  })

  test("a key of nothing but zeros is refused for good", () => {
    const { outputs } = started({ key: new Uint8Array(256) })
    expect(outputs).toEqual([
      { type: "closed", reason: expect.objectContaining({ tag: "KeyUnusable", retry: "never" }) },
    ])
  })
})

describe("a peer that is silent", () => {
  test("is asked again, ever more seldom, until connect-timeout", () => {
    const { session } = started()
    const asked: Array<number> = []
    for (let next = session.nextTimeout(); next !== undefined; next = session.nextTimeout()) {
      session.timeout(next.at)
      const [output] = drained(session)
      if (output?.type === "occ") asked.push(next.at)
      else
        expect([next.at, output]).toEqual([
          20_000,
          { type: "closed", reason: expect.objectContaining({ tag: "NoAnswer" }) },
        ])
    }
    expect(asked).toEqual([1000, 3000, 7000, 15_000])
  })

  test("is asked no more once a packet of it was authentic", () => {
    const { session } = started()
    session.peerUsesKey()
    session.peerUsesKey()
    expect(drained(session)).toEqual([{ type: "peerHeard" }])
    expect(session.nextTimeout()).toBeUndefined()
  })
})

describe("options", () => {
  // What OpenVPN 2.6.14 prints with verb 7 for `ifconfig 10.1.0.1 10.1.0.2`, ours and those it expects.
  const printed: ReadonlyArray<readonly [string, Change, string, string]> = [
    [
      "as they are",
      {},
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.2 10.1.0.1,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.1 10.1.0.2,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "secret FILE 1, AES-128-CBC, SHA512",
      { direction: 1, cipher: "AES-128-CBC", auth: "SHA512" },
      "V4,dev-type tun,link-mtu 1604,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.2 10.1.0.1,keydir 1,cipher AES-128-CBC,auth SHA512,keysize 128,secret",
      "V4,dev-type tun,link-mtu 1604,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.1 10.1.0.2,keydir 0,cipher AES-128-CBC,auth SHA512,keysize 128,secret",
    ],
    [
      "fragment, comp-lzo no",
      { fragment: { size: 1300, counts: "mtu" }, compression: { framing: "lzo-off", allow: "no" } },
      "V4,dev-type tun,link-mtu 1565,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.2 10.1.0.1,comp-lzo,mtu-dynamic,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1565,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.1 10.1.0.2,comp-lzo,mtu-dynamic,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "TCP, direction 0, compress stub-v2",
      { transport: "tcp", direction: 0, compression: { framing: "stub-v2", allow: "no" } },
      "V4,dev-type tun,link-mtu 1562,tun-mtu 1500,proto TCPv4_CLIENT,ifconfig 10.1.0.2 10.1.0.1,comp-lzo,keydir 0,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1562,tun-mtu 1500,proto TCPv4_SERVER,ifconfig 10.1.0.1 10.1.0.2,comp-lzo,keydir 1,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "tun-mtu 1400 1450",
      { tunMtu: 1400, occMtu: 1450 },
      "V4,dev-type tun,link-mtu 1460,tun-mtu 1450,proto UDPv4,ifconfig 10.1.0.2 10.1.0.1,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1460,tun-mtu 1450,proto UDPv4,ifconfig 10.1.0.1 10.1.0.2,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "dev tap",
      { type: "tap", addresses: { ifconfig: { local: "10.1.0.1", second: "255.255.255.0" } } },
      "V4,dev-type tap,link-mtu 1592,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.0 255.255.255.0,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tap,link-mtu 1592,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.0 255.255.255.0,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "topology subnet",
      { addresses: { topology: "subnet", ifconfig: { local: "10.1.0.1", second: "255.255.255.0" } } },
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.0 255.255.255.0,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,ifconfig 10.1.0.0 255.255.255.0,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
    [
      "no addresses",
      { addresses: {} },
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
      "V4,dev-type tun,link-mtu 1560,tun-mtu 1500,proto UDPv4,cipher AES-256-CBC,auth SHA1,keysize 256,secret",
    ],
  ]

  test.each([...printed])("are OpenVPN's own: %s", (_name, change, ours, theirs) => {
    const options = optionsFor(change)
    expect(staticKeyOptionsString(options, "ours")).toBe(ours)
    expect(staticKeyOptionsString(options, "theirs")).toBe(theirs)
  })

  test("go to a peer that asks", () => {
    const { session } = started()
    session.occ(0, request)
    expect(drained(session)).toEqual([{ type: "occ", message: reply(printed[0]![2]) }])
  })

  test("of the peer that fit are not worth a word", () => {
    const { session } = started()
    session.occ(0, reply(printed[0]![3]))
    expect(drained(session)).toEqual([])
  })

  test("of the peer that do not fit are named once, and nothing of it that cannot be printed", () => {
    const { session } = started()
    for (let time = 0; time < 3; time++)
      session.occ(time, reply(printed[0]![3].replace("tun-mtu 1500", "tun-mtu 9\x1b[2J")))
    expect(drained(session)).toEqual([
      {
        type: "notice",
        level: "warn",
        event: "peer-options-differ",
        message: `the peer's options do not match: it has "tun-mtu 9_[2J" for "tun-mtu 1500"`,
      },
    ])
  })

  test("are named each: another value, one that is missing, one too many", () => {
    expect(differingOptions("V4,a 1,b,c 2", "V4,c 2,a 2,d 3")).toEqual([
      `it has "a 2" for "a 1"`,
      `it does not have "b"`,
      `it has "d 3", we do not`,
    ])
  })

  test("messages of any other kind are nothing", () => {
    const { session } = started()
    for (const message of [
      OCC_MAGIC,
      OCC_MAGIC.subarray(1),
      concat(OCC_MAGIC, Uint8Array.of(2)),
      Uint8Array.of(OCC_REQUEST),
    ])
      session.occ(0, message)
    expect(drained(session)).toEqual([])
  })
})

describe("good-bye", () => {
  const heard = (change: Change) => {
    const { session } = started(change)
    session.peerUsesKey()
    return session
  }

  test("goes as data over UDP, where the file wants it and the peer was heard", () => {
    expect(heard({ explicitExitNotify: 1 }).exitNotification).toBe("data")
    expect(heard({}).exitNotification).toBe("none")
    expect(heard({ explicitExitNotify: 1, transport: "tcp" }).exitNotification).toBe("none")
    expect(started({ explicitExitNotify: 1 }).session.exitNotification).toBe("none")
  })

  test("is the end: nothing is sent or answered after it", () => {
    const { session } = started()
    session.close()
    session.occ(1, request)
    session.peerUsesKey()
    session.timeout(100_000)
    expect(drained(session)).toEqual([{ type: "closed", reason: expect.objectContaining({ tag: "Requested" }) }])
    expect(session.nextTimeout()).toBeUndefined()
  })
})

describe("sizes", () => {
  const key = keyOf(started().outputs)!
  const lzo = { form: "lzo", decompress: false } as const

  // OpenVPN 2.6.14: "Fragmentation MTU parms [ mss_fix:1179 max_frag:1251 ... ]" with `fragment 1300`.
  test("of MSS and pieces are OpenVPN's, its pieces cut to a multiple of four", () => {
    const pieces = withFragments(key, { size: 1300, counts: "payload" }, "ipv4")
    expect(pieces.fragmentSize).toBe(1248)
    expect(mssFor({ size: 1300, counts: "mtu" }, 1500, "udp", "ipv4", pieces).ipv4).toBe(1179)
    expect(mssFor({ size: 1300, counts: "mtu" }, 1500, "udp", "ipv6", pieces).ipv4).toBe(1163)
    expect(withFragments(key, { size: 1300, counts: "mtu" }, "ipv6").fragmentSize).toBe(1200)
    const framed = { ...pieces, compression: lzo }
    expect(mssFor({ size: 1300, counts: "mtu" }, 1500, "udp", "ipv6", framed).ipv4).toBe(1162)
  })

  test("without `fragment` nothing is set aside for it", () => {
    expect(withFragments(key, undefined, "ipv4")).toBe(key)
    expect(mssFor({ size: 1300, counts: "payload" }, 1500, "udp", "ipv4", key).ipv4).toBe(1263 - 8 - 40)
  })
})
