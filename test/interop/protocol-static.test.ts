/** A static key instead of TLS (`secret`), against one `openvpn` with the same key at the other end. */
import { describe, expect, test } from "bun:test"
import { Client } from "../support/culvert.ts"
import { outer } from "../support/lab.ts"
import { download, ping, upload } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const peerAddress = "10.66.0.1"

interface Way {
  readonly transport?: "udp" | "tcp"
  /** Ours; the peer has the other one. */
  readonly direction?: 0 | 1
  /** For both ends. */
  readonly lines?: ReadonlyArray<string>
  readonly own?: ReadonlyArray<string>
  readonly theirs?: ReadonlyArray<string>
}

const startPeer = async ({ transport = "udp", direction, lines = [], theirs = [] }: Way) => {
  const key = bench.lab.write("static.key", bench.lab.pki.staticKey)
  const configuration = [
    ...["dev tun", `proto ${transport === "udp" ? "udp4" : "tcp4-server"}`, "ifconfig 10.66.0.1 10.66.0.2", "verb 4"],
    `secret ${key} ${direction === undefined ? "" : 1 - direction}`,
    ...(lines.some((line) => line.startsWith("cipher")) ? lines : ["cipher AES-256-CBC", ...lines]),
    ...theirs,
  ]
  const peer = bench.lab.server.start("openvpn peer", [
    "openvpn",
    "--config",
    bench.lab.write("static-peer.conf", configuration.join("\n")),
  ])
  await peer.line(/link local \(bound\)|Listening for incoming TCP/)
  return peer
}

const connect = ({ transport = "udp", direction, lines = [], own = [] }: Way) =>
  Client.start(
    bench.lab,
    [
      ...["dev tun", `proto ${transport === "udp" ? "udp4" : "tcp4-client"}`, `remote ${outer.server.ipv4} 1194`],
      ...["ifconfig 10.66.0.2 10.66.0.1", "connect-retry 1 5", "verb 4"],
      ...(direction === undefined ? [] : [`key-direction ${direction}`]),
      ...(lines.some((line) => line.startsWith("cipher")) ? lines : ["cipher AES-256-CBC", ...lines]),
      ...own,
      ...["<secret>", bench.lab.pki.staticKey.trim(), "</secret>", ""],
    ].join("\n"),
  )

/** What OpenVPN says of packets that it cannot take, and of options that do not fit. */
const complaints = (lines: ReadonlyArray<string>) =>
  lines.filter((line) => /[Dd]ecrypt error|bad packet ID|used inconsistently|is present in (local|remote)/.test(line))

const cells: ReadonlyArray<readonly [string, Way]> = [
  ["UDP, no direction, another replay window", { own: ["replay-window 128 30", "mute-replay-warnings"] }],
  ["UDP, direction 0, SHA256, AES-128", { direction: 0, lines: ["cipher AES-128-CBC", "auth SHA256"] }],
  ["UDP, direction 1, SHA512, comp-lzo", { direction: 1, lines: ["auth SHA512", "comp-lzo no"] }],
  ["TCP, no direction, AES-192", { transport: "tcp", lines: ["cipher AES-192-CBC"] }],
  ["TCP, direction 1, compress stub-v2", { transport: "tcp", direction: 1, lines: ["compress stub-v2"] }],
]

describe("a ping and 10 MB both ways", () => {
  test.each([...cells])("%s", async (_name, way) => {
    await using peer = await startPeer(way)
    await using client = connect(way)
    await client.ready()
    await ping(bench.lab.client, peerAddress)
    await download(bench.lab.client, peerAddress, 10_000_000)
    await upload(bench.lab.client, peerAddress, 10_000_000)
    expect(complaints(peer.lines)).toEqual([])
  })
})

const pings = ["ping 1", "ping-restart 3"]

testCulvert("says what it is: no forward secrecy, no TLS, and up only once the peer was heard", async () => {
  await using client = connect({})
  const warning = await client.event("static_key")
  expect([warning.level, warning.message]).toEqual(["warn", expect.stringContaining("no forward secrecy")])
  await client.becomes("/livez", 200)
  expect([(await client.status()).phase, await client.probe("/readyz")]).toEqual(["connecting", 503])
  await using _peer = await startPeer({})
  await client.ready()
  expect(await client.status()).toMatchObject({ phase: "connected", cipher: "AES-256-CBC", tls: "static key" })
})

testCulvert("a client that starts anew is taken by a peer that did not, and the other way round", async () => {
  const way: Way = { lines: pings, theirs: ["float"] }
  {
    await using peer = await startPeer(way)
    for (let life = 0; life < 2; life++) {
      await using client = connect(way)
      await client.ready()
      await ping(bench.lab.client, peerAddress)
    }
    expect(complaints(peer.lines)).toEqual([])
  }
  await using client = connect(way)
  for (let life = 1; life <= 2; life++) {
    await using peer = await startPeer(way)
    await client.event("connected", 20_000, life)
    await ping(bench.lab.client, peerAddress)
    await peer.stop("SIGKILL")
    if (life === 1) expect((await client.event("disconnected")).message).toContain("ping-restart")
  }
})

testCulvert("two connections within one second are both taken", async () => {
  await using peer = await startPeer({ theirs: ["float"] })
  await using client = connect({})
  await client.ready()
  for (let life = 2; life <= 3; life++) {
    client.child.signal("SIGHUP")
    await client.event("connected", 20_000, life)
    await ping(bench.lab.client, peerAddress)
  }
  expect(complaints(peer.lines)).toEqual([])
})

test("a peer that asks nobody for options (disable-occ) is heard all the same", async () => {
  await using _peer = await startPeer({ theirs: ["disable-occ"] })
  await using client = connect({})
  await client.ready()
  await ping(bench.lab.client, peerAddress)
})

testCulvert("options that differ are said by name", async () => {
  await using _peer = await startPeer({ theirs: ["tun-mtu 1450"] })
  await using client = connect({})
  await client.ready()
  const { message } = await client.event("peer_options_differ")
  expect(message).toContain('it has "tun-mtu 1450" for "tun-mtu 1500"')
})

testCulvert("packets in pieces, under a static key as well", async () => {
  const lines = ["fragment 1200", "mssfix 0"]
  await using peer = await startPeer({ lines })
  await using client = connect({ lines })
  await client.ready()
  await ping(bench.lab.client, peerAddress, 5, ["-s", "4000"])
  await upload(bench.lab.client, peerAddress, 1_000_000)
  expect([...complaints(peer.lines), ...client.events("peer_options_differ")]).toEqual([])
})

testCulvert("a peer with another key is none: nothing of it is taken, and no traffic is promised", async () => {
  await using _peer = await startPeer({ theirs: ["ping 1"] })
  await using client = connect({ direction: 0, own: ["connect-timeout 3"] })
  const { message } = await client.event("disconnected")
  expect(message).toContain("no authentic packet from the peer within 3 s")
  const { counters = {} } = await client.status()
  expect(counters["drop:authentication"]).toBeGreaterThan(0)
  expect(client.events("connected")).toEqual([])
})

testCulvert("good-bye is said where the file wants it", async () => {
  await using peer = await startPeer({ lines: pings })
  await using client = connect({ lines: pings, own: ["explicit-exit-notify 1"] })
  await client.ready()
  await client.stop()
  await peer.line(/received exit notification|remote-exit/, 10_000)
})
