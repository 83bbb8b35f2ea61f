/** What the file says about the socket is what the kernel has, and the connection stands with it. */
import { expect, test } from "bun:test"
import { useBench } from "./bench.ts"

const bench = useBench()

/** Of the client's socket to the server, as `ss` has it. The kernel doubles sizes, for its own bookkeeping. */
const socket = (transport: "udp" | "tcp") =>
  bench.lab.client.succeed([
    ...["ss", "--no-header", "--numeric", "--extended", "--memory", `--${transport}`],
    ...["state", "established", "dport", "=", ":1194"],
  ])

test.each(["udp", "tcp"] as const)("%s: sndbuf, rcvbuf, mark and bind-dev", async (transport) => {
  await using _server = await bench.serve({ transport })
  const lines = ["sndbuf 300000", "rcvbuf 500000", "mark 77", "bind-dev outer"]
  await using client = bench.connect({ transport }, { lines })
  await client.ready()
  await bench.carriesTraffic()
  const sockets = await socket(transport)
  expect(sockets).toContain("rb1000000,")
  expect(sockets).toContain("tb600000,")
  expect(sockets).toContain("fwmark:0x4d")
  expect(sockets).toContain("%outer:")
})

test("the server's sndbuf and rcvbuf take the place of the file's", async () => {
  await using _server = await bench.serve({ push: ["sndbuf 200000", "rcvbuf 0"] })
  await using client = bench.connect({}, { lines: ["sndbuf 300000", "rcvbuf 500000"] })
  await client.ready()
  await bench.carriesTraffic()
  const sockets = await socket("udp")
  expect(sockets).toContain("tb400000,")
  expect(sockets).toContain("rb1000000,")
})
