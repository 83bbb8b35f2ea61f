import { describe, expect, test } from "bun:test"
import { errorsOf, files, minimal, notesOf, profileOf, revealed, staticKey, staticKeyBytes } from "./fixtures.ts"

const remotesOf = (text: string) => profileOf(text, files({ "ta.key": staticKey })).remotes
const remoteOf = (lines: string) => remotesOf(minimal(lines))[0]
const blocks = (text: string) => remotesOf(minimal().replace("remote vpn.example.com\n", text))

describe("remote lines", () => {
  test("accumulate in order; port and protocol come from the line, else from port and proto, wherever these stand", () => {
    const remotes = remotesOf(minimal("remote b 443\nremote c 53 tcp6-client\nport 1200\nproto tcp4\nremote ::1"))
    expect(remotes.map(({ host, port, transport, family }) => [host, port, transport, family])).toEqual([
      ["vpn.example.com", 1200, "tcp", "ipv4"],
      ["b", 443, "tcp", "ipv4"],
      ["c", 53, "tcp", "ipv6"],
      ["::1", 1200, "tcp", "ipv4"],
    ])
  })

  test("rport is the server's port alone; the last of port and rport holds", () => {
    expect(remoteOf("port 1\nrport 2").port).toBe(2)
    expect(remoteOf("rport 2\nport 1").port).toBe(1)
  })

  test("proto-force keeps the servers of one transport", () => {
    expect(remotesOf(minimal("remote b 1 tcp\nproto-force tcp")).map(({ host }) => host)).toEqual(["b"])
    expect(errorsOf(minimal("proto-force tcp"))).toEqual([
      '5:1: error: no server has the transport of "proto-force tcp"',
    ])
  })
})

describe("the local end", () => {
  test("is bound only when the file asks for it", () => {
    expect(remoteOf("port 1200").local).toBeUndefined()
    expect(remoteOf("nobind").local).toBeUndefined()
    expect(remoteOf("lport 0").local).toBeUndefined()
    expect(remoteOf("bind").local).toEqual({ address: undefined, port: 1194 })
    expect(remoteOf("bind\nport 1200").local).toEqual({ address: undefined, port: 1200 })
    expect(remoteOf("lport 5000").local).toEqual({ address: undefined, port: 5000 })
    expect(remoteOf("local 10.0.0.1\nlport 0").local).toEqual({ address: "10.0.0.1", port: undefined })
  })
})

test("an address that its own protocol excludes is warned about", () => {
  expect(notesOf(minimal("remote fd00::1 1194 udp4\nremote 10.0.0.1 443 tcp6\nremote 10.0.0.2 1 udp4"))).toEqual([
    '5:8: warning: "fd00::1" is never reached with udp4, which is for the other address family',
    '6:8: warning: "10.0.0.1" is never reached with tcp6, which is for the other address family',
  ])
})

test("the server's address and port cannot be our own", () => {
  expect(errorsOf(minimal("local 10.0.0.1\nlport 1194\nremote 10.0.0.1"))).toEqual([
    "5:1: error: the server's address and port are our own (is this line meant for the server?)",
  ])
  expect(errorsOf(minimal("local 10.0.0.1\nlport 1195\nremote 10.0.0.1"))).toEqual([])
})

test("what needs the other transport is an error, for the servers that are reached over the wrong one", () => {
  expect(errorsOf(minimal("http-proxy p 80"))).toEqual([
    `5:1: error: "http-proxy" carries TCP only, and the server is reached over UDP (proto tcp-client, if the server has it)`,
  ])
  expect(errorsOf(minimal("fragment 1300\nproto tcp")).join()).toContain(
    `5:1: error: "fragment" is for UDP only, and the server is reached over TCP (remove the line)`,
  )
})

describe("sizes", () => {
  test("mssfix follows tun-mtu and max-packet-size unless it is given", () => {
    expect(remoteOf("tun-mtu 1400").mssfix).toEqual({ size: 1400, counts: "fixed" })
    expect(remoteOf("tun-mtu 1400\nmax-packet-size 1200").mssfix).toEqual({ size: 1200, counts: "mtu" })
    expect(remoteOf("max-packet-size 1250").mssfix).toEqual({ size: 1250, counts: "mtu" })
    expect(remoteOf("mssfix").mssfix).toEqual({ size: 1492, counts: "mtu" })
    expect(remoteOf("mssfix 0").mssfix).toBe("off")
    expect(remoteOf("mssfix 1450").mssfix).toEqual({ size: 1450, counts: "payload" })
    expect(remoteOf("max-packet-size 1200\nmssfix 1400 fixed").mssfix).toEqual({ size: 1400, counts: "fixed" })
  })
})

test("float is for UDP only, and without a proxy", () => {
  expect(remoteOf("float").float).toBe(true)
  expect(remoteOf("").float).toBe(false)
  expect(remoteOf("float\nproto tcp").float).toBe(false)
  expect(notesOf(minimal("float\nproto tcp\nremote b"))).toHaveLength(1)
  expect(remoteOf("float\nsocks-proxy p 1080").float).toBe(false)
  expect(notesOf(minimal("float\nsocks-proxy p 1080"))).toHaveLength(1)
})

test("explicit-exit-notify counts once by default, and only over UDP", () => {
  expect(remoteOf("explicit-exit-notify").explicitExitNotify).toBe(1)
  expect(remoteOf("explicit-exit-notify 3").explicitExitNotify).toBe(3)
  expect(remoteOf("explicit-exit-notify 0").explicitExitNotify).toBeUndefined()
  expect(remoteOf("explicit-exit-notify 3\nproto tcp").explicitExitNotify).toBeUndefined()
  expect(notesOf(minimal("explicit-exit-notify 3\nproto tcp\nremote b"))).toHaveLength(1)
})

describe("connection blocks", () => {
  test("take what stands above them where they say nothing, and nothing that stands below", () => {
    const [first, second] = blocks(
      "server-poll-timeout 5\n<connection>\nremote a 1\nexplicit-exit-notify\nconnect-retry 3\n</connection>\nport 99\n<connection>\nremote b\nproto tcp\n</connection>\nserver-poll-timeout 9\n",
    )
    expect(first).toMatchObject({
      host: "a",
      port: 1,
      transport: "udp",
      explicitExitNotify: 1,
      connectTimeout: 5,
      connectRetry: { wait: 3, maximum: 300 },
    })
    expect(second).toMatchObject({
      host: "b",
      port: 99,
      transport: "tcp",
      explicitExitNotify: undefined,
      connectTimeout: 5,
      connectRetry: { wait: 1, maximum: 300 },
    })
  })

  test("that say only their remote take what stands above each of them", () => {
    const block = (remote: string) => `<connection>\nremote ${remote}\n</connection>\n`
    const remotes = blocks(
      `${block("a")}port 2\n${block("b")}${block("c 3")}bind\n${block("d")}proto tcp\n${block("e 5 udp")}${block("f")}`,
    )
    const bound = { address: undefined, port: 2 }
    expect(remotes.map(({ host, port, transport, local }) => [host, port, transport, local])).toEqual([
      ["a", 1194, "udp", undefined],
      ["b", 2, "udp", undefined],
      ["c", 3, "udp", undefined],
      ["d", 2, "udp", bound],
      ["e", 5, "udp", bound],
      ["f", 2, "tcp", bound],
    ])
  })

  test("may say a lot", () => {
    const lines =
      "bind\nlport 5\nrport 6\nproto tcp\nmssfix 0\nconnect-retry 7\nserver-poll-timeout 8\ntun-mtu 1400\nconnect-retry 9"
    expect(blocks(`port 1\n<connection>\nremote a\n${lines}\n</connection>\n`)).toMatchObject([
      {
        port: 6,
        transport: "tcp",
        local: { port: 5 },
        mssfix: "off",
        connectRetry: { wait: 9 },
        connectTimeout: 8,
        tunMtu: 1400,
      },
    ])
  })

  test("make remote lines outside of them void, with a warning", () => {
    const text = minimal("<connection>\nremote a\n</connection>")
    expect(remotesOf(text).map(({ host }) => host)).toEqual(["a"])
    expect(notesOf(text)).toEqual(['2:1: warning: "remote" has no effect outside of the <connection> blocks'])
  })

  test("have one remote, and only directives that may differ; positions are those of the file", () => {
    expect(errorsOf(minimal("<connection>\nproto udp\n</connection>"))).toEqual([
      '5:1: error: the <connection> block has no "remote"',
    ])
    expect(errorsOf(minimal("<connection>\nremote a\n remote b\n verb x\n</connection>"))).toEqual([
      '7:2: error: a <connection> block has one "remote"',
      '8:2: error: "verb" cannot stand in a <connection> block',
    ])
    expect(errorsOf(minimal("<connection>\nremote a 'b\n</connection>"))).toEqual([
      "6:10: error: the quotation is not closed",
    ])
    expect(errorsOf(minimal("connection x"))).toEqual(['5:1: error: "connection" is a block: <connection>'])
  })

  test("may have keys of their own; those outside hold for the others, wherever they stand", () => {
    const [first, second] = blocks(
      `<connection>\nremote a\n<tls-crypt>\n${staticKey}</tls-crypt>\n</connection>\n<connection>\nremote b\n</connection>\ntls-auth ta.key 1\n`,
    )
    expect(first!.controlWrapping._tag).toBe("TlsCrypt")
    expect(second!.controlWrapping).toMatchObject({ _tag: "TlsAuth", direction: 1 })
  })
})

describe("control channel keys", () => {
  const wrapping = (lines: string) => revealed(remoteOf(lines).controlWrapping)
  const key = { secret: Buffer.from(staticKeyBytes).toString("hex") }
  const block = (name: string) => `<${name}>\n${staticKey}</${name}>`

  test("come from a file or a block, the direction from either directive", () => {
    expect(wrapping("tls-auth ta.key")).toEqual({ _tag: "TlsAuth", key, direction: undefined })
    expect(wrapping("tls-auth ta.key 0")).toEqual({ _tag: "TlsAuth", key, direction: 0 })
    expect(wrapping("tls-auth ta.key\nkey-direction 1")).toEqual({ _tag: "TlsAuth", key, direction: 1 })
    expect(wrapping(`key-direction 1\n${block("tls-auth")}`)).toEqual({ _tag: "TlsAuth", key, direction: 1 })
    expect(wrapping(`tls-auth [inline] 1\n${block("tls-auth")}`)).toEqual({ _tag: "TlsAuth", key, direction: 1 })
    expect(wrapping(block("tls-crypt"))).toEqual({ _tag: "TlsCrypt", key })
    expect(wrapping("tls-crypt ta.key")).toEqual({ _tag: "TlsCrypt", key })
  })

  test("cannot have two directions", () => {
    expect(errorsOf(minimal("key-direction 0\ntls-auth ta.key 1"), files({ "ta.key": staticKey }))).toEqual([
      '6:1: error: "tls-auth" and "key-direction" (line 5) give different directions (remove one of them)',
    ])
  })

  test("[inline] needs its block", () => {
    expect(errorsOf(minimal("tls-auth [inline] 1"))).toEqual([
      '5:1: error: "tls-auth [inline]" has no block (add <tls-auth> ... </tls-auth>)',
    ])
  })
})
