/** The server goes and comes back: so does the traffic, without anybody's help. */
import { expect, test } from "bun:test"
import { eventually } from "../support/child.ts"
import { subject } from "../support/culvert.ts"
import { networkState } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

for (const transport of ["udp", "tcp"] as const) {
  test(`${transport}: killed and started again, twice`, async () => {
    const { lab } = bench
    const options: ServerOptions = { transport, keepalive: [1, 4], push: ["route 10.77.0.0 255.255.255.0"] }
    const before = await networkState(lab.client)
    await using server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    await bench.carriesTraffic()
    for (const round of [1, 2]) {
      await server.kill()
      if (subject === "culvert") await client.event("disconnected", 20_000, round)
      else await client.child.line(/Inactivity timeout|Connection reset/, 20_000)
      await server.start()
      await eventually(40_000, "traffic again", async () => (await ping(lab.client, tunnel.ipv4, 1)) ?? true)
      await bench.carriesTraffic()
    }
    expect((await client.stop()).code).toBe(0)
    expect(await networkState(lab.client)).toBe(before)
  }, 120_000)
}

test("udp: an orderly stop of the server is noticed at once, not by the missing pings", async () => {
  const options: ServerOptions = { keepalive: [10, 600], lines: ["explicit-exit-notify 1"] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  await server.stop()
  if (subject === "culvert") await client.event("disconnected")
  else await client.child.line(/server-pushed-connection-reset|remote-exit/)
  await server.start()
  await eventually(40_000, "traffic again", async () => (await ping(bench.lab.client, tunnel.ipv4, 1)) ?? true)
})

test("udp: a server that hangs for less than ping-restart is waited for", async () => {
  const options: ServerOptions = { keepalive: [1, 30] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  server.suspend()
  await expect(ping(bench.lab.client, tunnel.ipv4, 1)).rejects.toThrow("ping 10.66.0.1")
  server.resume()
  await bench.carriesTraffic()
  if (subject === "culvert") expect(client.events("disconnected")).toHaveLength(0)
})
