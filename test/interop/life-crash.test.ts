/** The data plane's worker crashes in the middle of its work, against the real server. */
import { expect } from "bun:test"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { networkState } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const options: ServerOptions = { keepalive: [1, 10], push: ["redirect-gateway def1"] }
/** SIGUSR2 is a crash at the next keepalive, a second later at most. */
const crashable = { environment: { BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}` } }

const tunnelRoutes = () => bench.lab.client.succeed(["ip", "route", "show", "proto", "149"])

testCulvert(
  "a crash is told with its cause, and traffic flows again on the same device, with nothing leaked",
  async () => {
    const { lab } = bench
    const before = await networkState(lab.client)
    await using _ = await bench.serve(options)
    await using client = bench.connect(options, {}, crashable)
    await client.ready()
    await using leaks = await Leaks.watch(lab)
    const routes = await tunnelRoutes()
    client.child.signal("SIGUSR2")
    expect((await client.event("part_crashed")).part).toBe("data plane worker")
    await client.event("connected", 20_000, 2)
    await bench.carriesTraffic()
    // The server saw no end of the old session, so the address is another; the routes are the same.
    expect(await tunnelRoutes()).toBe(routes)
    expect(leaks.since(0)).toEqual([])
    expect((await client.stop()).code).toBe(0)
    expect(await networkState(lab.client)).toBe(before)
  },
)

testCulvert("five crashes within a minute end it with exit code 1, and the kill switch stays up", async () => {
  const { lab } = bench
  await using _ = await bench.serve(options)
  await using client = bench.connect(options, {}, crashable)
  for (let round = 1; round <= 5; round++) {
    await client.event("connected", 20_000, round)
    client.child.signal("SIGUSR2")
    await client.event("part_crashed", 20_000, round)
  }
  expect(await client.child.exited()).toBe(1)
  expect(client.events("failed").at(-1)?.message).toMatch(/^data plane worker crashed 5 times within a minute/)
  expect(await lab.client.succeed(["nft", "list", "table", "inet", "culvert"])).toContain("policy drop")
  await expect(ping(lab.client, tunnel.ipv4, 1)).rejects.toThrow()
  await lab.client.succeed(["nft", "delete", "table", "inet", "culvert"])
  await eventually(5_000, "no device is left", async () => {
    const links = await lab.client.succeed(["ip", "-o", "link", "show"])
    return !links.includes("tun")
  })
})
