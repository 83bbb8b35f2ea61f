/** `fragment` against the real server: packets in pieces both ways, none larger than asked for, with every kind of key. */
import { describe, expect, test } from "bun:test"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { download, ping, upload } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

const complaints = (lines: ReadonlyArray<string>) =>
  lines.filter((line) => /FRAG|used inconsistently|Authenticate\/Decrypt|bad packet ID/.test(line))

/** The largest UDP datagram that passed the outer link in each direction while `traffic` went on, headers not counted. */
const largestDatagrams = async (traffic: () => Promise<void>) => {
  const capture = bench.lab.client.start("tcpdump", [
    ...["tcpdump", "-i", "outer", "-l", "-nn", "--immediate-mode", "-B", "65536", "-s", "64"],
    ...["udp", "and", "port", "1194"],
  ])
  await capture.line(/listening on/)
  await traffic()
  await capture.stop("SIGINT")
  const sizes = { up: 0, down: 0 }
  for (const line of capture.lines) {
    const [, from, length] = /IP6? (\S+) > .* length (\d+)$/.exec(line) ?? []
    if (from === undefined) continue
    const direction = from.endsWith(".1194") ? "down" : "up"
    sizes[direction] = Math.max(sizes[direction], Number(length))
  }
  return sizes
}

const cells: ReadonlyArray<readonly [string, ServerOptions]> = [
  ["AEAD", {}],
  ["AEAD, DATA_V1, comp-lzo", { readsClientAs: "none", lines: ["comp-lzo no"] }],
  ["CBC, compress", { dataCiphers: ["AES-256-CBC"], lines: ["auth SHA256", "compress"] }],
]

describe("a ping and 10 MB both ways, with packets larger than a piece", () => {
  test.each([...cells])("%s", async (_name, options) => {
    const lines = ["fragment 1200", "mssfix 0", ...(options.lines ?? [])]
    await using server = await bench.serve({ ...options, lines })
    await using client = bench.connect(options, { lines })
    await client.ready()
    for (const size of ["10", "1150", "1400", "1472", "4000"])
      await ping(bench.lab.client, tunnel.ipv4, 5, ["-s", size])
    await download(bench.lab.client, tunnel.ipv4, 10_000_000)
    // The kernel gives segments in the large: each of them is cut off first, and then into two pieces.
    await upload(bench.lab.client, tunnel.ipv4, 10_000_000)
    expect(complaints(server.log)).toEqual([])
  })
})

testCulvert("no datagram is larger than `fragment` says, and a clamped TCP connection is not cut at all", async () => {
  const lines = ["fragment 1200", "keepalive 1 20"]
  await using _server = await bench.serve({ lines })
  // A capture would see what the kernel still has to cut into datagrams.
  const environment = { CULVERT_DISABLE_OFFLOADS: "udp-segment" }
  await using client = bench.connect({}, { lines: ["fragment 1200"] }, { environment })
  await client.ready()
  const sizes = await largestDatagrams(async () => {
    await ping(bench.lab.client, tunnel.ipv4, 5, ["-s", "3000"])
    await upload(bench.lab.client, tunnel.ipv4, 300_000)
    await download(bench.lab.client, tunnel.ipv4, 300_000)
  })
  expect(sizes.up).toBeWithin(1100, 1201)
  expect(sizes.down).toBeWithin(1100, 1201)
  const { counters = {} } = await client.status()
  expect([counters["drop:malformed"], counters["drop:tooLarge"]]).toEqual([0, 0])
  const clamped = counters.transportWritePackets!
  await upload(bench.lab.client, tunnel.ipv4, 1_000_000)
  const { counters: after = {} } = await client.status()
  // The clamp follows `fragment` (here 1200 with outer headers): a segment is one datagram.
  const segments = Math.ceil(1_000_000 / (1200 - 28 - 24 - 4 - 40))
  expect(after.transportWritePackets! - clamped).toBeLessThan(1.4 * segments)
})
