/** `passtos`: what the outer link sees of the precedence of packets in the tunnel. */
import { expect, test } from "bun:test"
import { eventually } from "../support/child.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { iperf3, ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

/** How many datagrams of the client had each type of service (traffic class), once `traffic` made at least `least` of them. */
const classesSeen = async (least: number, traffic: () => Promise<unknown>) => {
  const filter = ["udp", "and", "dst", "port", "1194"]
  const capture = bench.lab.server.start("tcpdump", [
    ...["tcpdump", "-i", "outer", "-l", "-v", "-nn", "--immediate-mode", "-B", "65536", ...filter],
  ])
  const classes = () =>
    capture.lines.flatMap((line) => {
      const header = /IP6? \((?:tos|class|flowlabel|hlim) ([^,]+),/.exec(line)
      return header === null
        ? []
        : [/^0x[0-9a-f]+$/.test(header[1]!) && !line.includes("(flowlabel") ? header[1]! : "0x0"]
    })
  await capture.line(/listening on/)
  await traffic()
  await eventually(20_000, `${least} datagrams`, () => classes().length >= least)
  await capture.stop("SIGINT")
  const seen: Record<string, number> = {}
  for (const name of classes()) seen[name] = (seen[name] ?? 0) + 1
  return seen
}

const expedited = () => ping(bench.lab.client, tunnel.ipv4, 5, ["-Q", "0xb8"])

const families: ReadonlyArray<readonly [string, ServerOptions]> = [
  ["IPv4", {}],
  ["IPv6", { family: "ipv6" }],
]

test.each([...families])(
  "over %s the datagram has the DSCP of the packet in it, and other packets have none",
  async (_, options) => {
    await using _server = await bench.serve(options)
    await using client = bench.connect(options, { lines: ["passtos"] })
    await client.ready()
    const seen = await classesSeen(3, async () => {
      await expedited()
      await ping(bench.lab.client, tunnel.ipv4)
      await ping(bench.lab.client, tunnel.ipv6, 5, ["-Q", "0x28"])
    })
    expect([seen["0xb8"], seen["0x28"]]).toEqual([1, 1])
    expect(seen["0x0"]).toBeGreaterThanOrEqual(1)
  },
)

test("a TCP connection sent in the large has it in every datagram", async () => {
  await using _server = await bench.serve()
  await using client = bench.connect({}, { lines: ["passtos"] })
  await client.ready()
  const seen = await classesSeen(20, () => iperf3(bench.lab, tunnel.ipv4, 1, ["-S", "0xb8", "-b", "20M"]))
  // Plain are the handshake and the like, which the program cannot mark.
  expect(seen["0xb8"]).toBeGreaterThan(2 * (seen["0x0"] ?? 0))
})

test("without the line nothing of it is told", async () => {
  await using _server = await bench.serve()
  await using client = bench.connect({})
  await client.ready()
  const seen = await classesSeen(1, expedited)
  expect(Object.keys(seen)).toEqual(["0x0"])
})
