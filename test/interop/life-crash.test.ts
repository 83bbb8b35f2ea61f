/** Parts of the program crash in the middle of their work, against the real server. */
import { expect } from "bun:test"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { Resolver } from "../support/dnsmasq.ts"
import { networkState } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { lookup } from "../support/lookup.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const options: ServerOptions = { keepalive: [1, 10], push: ["redirect-gateway def1"] }
/** SIGUSR2 is a crash of this part; of the worker at the next keepalive, a second later at most. */
const crashing = (part: "worker" | "http" | "dns") => ({
  environment: { CRASH: part, BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}` },
})

const tunnelRoutes = () => bench.lab.client.succeed(["ip", "route", "show", "proto", "149"])

testCulvert(
  "a crash is told with its cause, and traffic flows again on the same device, with nothing leaked",
  async () => {
    const { lab } = bench
    const before = await networkState(lab.client)
    await using _ = await bench.serve(options)
    await using client = bench.connect(options, {}, crashing("worker"))
    await client.ready()
    await using leaks = await Leaks.watch(lab)
    const routes = await tunnelRoutes()
    client.child.signal("SIGUSR2")
    expect(await client.event("part_crashed")).toMatchObject({
      part: "data plane worker",
      cause: expect.stringContaining("'keyId'"),
    })
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
  await using client = bench.connect(options, {}, crashing("worker"))
  await client.ready()
  for (let crash = 1; crash <= 5; crash++) {
    client.child.signal("SIGUSR2")
    await client.event("part_crashed", 20_000, crash)
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

testCulvert(
  "a crash of the HTTP server is told, and it answers on the same port, with what it had counted; the fifth is the end",
  async () => {
    const { lab } = bench
    await using _ = await bench.serve(options)
    await using client = bench.connect(options, {}, crashing("http"))
    await client.ready()
    client.child.signal("SIGUSR2")
    const crash = await client.event("part_crashed")
    expect(crash).toMatchObject({ part: "HTTP server", cause: expect.stringContaining("nobody listens on") })
    await client.becomes("/readyz", 200)
    expect(await client.probe("/startupz")).toBe(200)
    expect(await client.body("/metrics")).toContain('openvpn_client_connects_total{result="success"} 1\n')
    expect(client.events("connected")).toHaveLength(1)
    await bench.carriesTraffic()
    for (let crash = 2; crash <= 5; crash++) {
      client.child.signal("SIGUSR2")
      await client.event("part_crashed", 20_000, crash)
      if (crash < 5) await client.becomes("/readyz", 200)
    }
    expect(await client.child.exited()).toBe(1)
    expect(client.events("failed").at(-1)?.message).toMatch(/^HTTP server crashed 5 times within a minute/)
    expect(await lab.client.succeed(["nft", "list", "table", "inet", "culvert"])).toContain("policy drop")
    await lab.client.succeed(["nft", "delete", "table", "inet", "culvert"])
  },
)

testCulvert(
  "a crash of the DNS forwarder is told, and names are answered again; the tunnel never noticed",
  async () => {
    const { lab } = bench
    const vpn = "10.53.0.1"
    await lab.server.succeed(["ip", "address", "add", `${vpn}/32`, "dev", "lo"])
    await using __ = await Resolver.start(lab, lab.server, [vpn], { "db.example": "10.66.0.1" })
    const named: ServerOptions = { ...options, push: [...(options.push ?? []), `dhcp-option DNS ${vpn}`] }
    await using _ = await bench.serve(named)
    await using client = bench.connect(named, {}, crashing("dns"))
    await client.ready()
    const ask = () => lookup(lab.client, vpn, "db.example")
    expect(await ask()).toMatchObject({ addresses: ["10.66.0.1"] })
    for (let crash = 1; crash <= 4; crash++) {
      client.child.signal("SIGUSR2")
      expect(await client.event("part_crashed", 20_000, crash)).toMatchObject({
        part: "DNS forwarder",
        cause: expect.stringContaining("induced"),
      })
      await client.event("part_restarted", 20_000, crash)
      await eventually(10_000, "an answer", async () => (await ask()).addresses[0] === "10.66.0.1")
    }
    expect(client.events("connected")).toHaveLength(1)
    client.child.signal("SIGUSR2")
    expect(await client.child.exited()).toBe(1)
    expect(client.events("failed").at(-1)?.message).toMatch(/^DNS forwarder crashed 5 times within a minute/)
    expect(await lab.client.succeed(["nft", "list", "table", "inet", "culvert"])).toContain("policy drop")
    await lab.client.succeed(["nft", "delete", "table", "inet", "culvert"])
  },
)
