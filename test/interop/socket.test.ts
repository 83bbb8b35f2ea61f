/** What the file says about the socket is what the kernel has, and the connection stands with it. */
import { expect, test } from "bun:test"
import { useBench } from "./bench.ts"

const bench = useBench()

test.each(["udp", "tcp"] as const)("%s: sndbuf, rcvbuf, mark and bind-dev", async (transport) => {
  await using _server = await bench.serve({ transport })
  const lines = ["sndbuf 300000", "rcvbuf 500000", "mark 77", "bind-dev outer"]
  await using client = bench.connect({ transport }, { lines })
  await client.ready()
  await bench.carriesTraffic()
  const sockets = await bench.lab.client.succeed([
    ...["ss", "--no-header", "--numeric", "--extended", "--memory", `--${transport}`],
    ...["state", "established", "dport", "=", ":1194"],
  ])
  // The kernel doubles sizes, for its own bookkeeping.
  expect(sockets).toContain("rb1000000,")
  expect(sockets).toContain("tb600000,")
  expect(sockets).toContain("fwmark:0x4d")
  expect(sockets).toContain("%outer:")
})
