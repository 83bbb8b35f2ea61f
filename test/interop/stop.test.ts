/** The end: the server is told, the host is as it was, and it does not take long. */
import { expect, test } from "bun:test"
import { eventually } from "../support/child.ts"
import { exitCode, subject } from "../support/culvert.ts"
import { networkState } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { useBench } from "./bench.ts"

const bench = useBench()
const push = ["route 10.77.0.0 255.255.255.0", "route-ipv6 fd77::/64"]

/** By the control channel or as OCC message, or the end of the TCP stream. */
const farewell = {
  udp: /CC-EEN exit message received|remote-exit/,
  tcp: /Connection reset|remote-exit|CC-EEN/,
} as const

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  for (const transport of ["udp", "tcp"] as const) {
    test(`${signal} with ${transport}: device, addresses and routes are gone, the server knows, status 0 in 2 s`, async () => {
      const { lab } = bench
      const options: ServerOptions = { transport, push }
      const before = await networkState(lab.client)
      await using server = await bench.serve(options)
      await using client = bench.connect(options)
      await client.ready()
      const connected = await networkState(lab.client)
      for (const part of ["10.66.0.2/24", "fd66::1000/64", "10.77.0.0/24", "fd77::/64"])
        expect(connected).toContain(part)

      const { code, milliseconds } = await client.stop(signal)
      expect(code).toBe(exitCode.stopped)
      expect(milliseconds).toBeLessThan(2_000)
      await server.line(farewell[transport])
      expect(await networkState(lab.client)).toBe(before)
      if (subject === "culvert") expect(client.events().map(({ event }) => event)).toContain("stopped")
    })
  }
}

test("an old server is told by an OCC message in the data channel", async () => {
  const options: ServerOptions = { readsClientAs: "data-v2" }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect((await client.stop()).code).toBe(exitCode.stopped)
  await server.line(/remote-exit/)
})

test("a client that was killed leaves nothing that hinders the next one", async () => {
  const { lab } = bench
  const before = await networkState(lab.client)
  await using _server = await bench.serve({ push })
  const killed = bench.connect({})
  await killed.ready()
  await killed.stop("SIGKILL")
  await eventually(5_000, "the kernel removes the device", async () => (await networkState(lab.client)) === before)
  await using client = bench.connect({})
  await client.ready()
  await bench.carriesTraffic()
})

test("SIGTERM while nobody answers: status 0 in 2 s", async () => {
  const before = await networkState(bench.lab.client)
  await using client = bench.connect({})
  if (subject === "culvert") await client.event("connecting")
  else await client.child.line(/UDPv4 link remote/)
  const { code, milliseconds } = await client.stop()
  expect(code).toBe(exitCode.stopped)
  expect(milliseconds).toBeLessThan(2_000)
  expect(await networkState(bench.lab.client)).toBe(before)
})
