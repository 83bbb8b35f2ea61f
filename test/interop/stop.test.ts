/** The end: the server is told, the host is as it was, and it does not take long. */
import { expect, test } from "bun:test"
import { exitCode, subject } from "../support/culvert.ts"
import { networkState, outer } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })
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

// A device that goes takes its addresses and routes along. These two tests are about what it does not take.

test("redirect-gateway: the routes around the tunnel are undone", async () => {
  const { lab } = bench
  const options: ServerOptions = { push: ["redirect-gateway def1 ipv6"] }
  const before = await networkState(lab.client)
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  await bench.carriesTraffic()
  // Everything goes into the tunnel but the tunnel itself.
  for (const address of ["198.51.100.1", "203.0.113.1", "2001:db8::1"]) {
    expect(await lab.client.succeed(["ip", "route", "get", address])).toContain("dev tun0")
  }
  expect(await lab.client.succeed(["ip", "route", "get", outer.server.ipv4])).toContain("dev outer")
  expect((await client.stop()).code).toBe(exitCode.stopped)
  expect(await networkState(lab.client)).toBe(before)
})

test("a persistent device keeps nothing of ours", async () => {
  const { lab } = bench
  await lab.client.succeed("ip tuntap add mode tun name tun9".split(" "))
  try {
    const addresses = () => lab.client.succeed("ip -o address show dev tun9 scope global".split(" "))
    const routes = async () => {
      const families = await Promise.all(
        ["-4", "-6"].map((family) => lab.client.succeed(["ip", family, ..."route show table all dev tun9".split(" ")])),
      )
      // The kernel's own, which come and go with the state of the link.
      const lines = families.join("").split("\n")
      return lines.filter((line) => line !== "" && !/fe80::|ff00::/.test(line)).join("\n")
    }
    await using _server = await bench.serve({ push })
    await using client = bench.connect({}, { device: "tun9" })
    await client.ready()
    await bench.carriesTraffic()
    expect(await addresses()).toContain("10.66.0.2/24")
    expect(await routes()).toContain("10.77.0.0/24")
    expect((await client.stop()).code).toBe(exitCode.stopped)
    expect(await addresses()).toBe("")
    expect(await routes()).toBe("")
  } finally {
    await lab.client.succeed("ip tuntap delete mode tun name tun9".split(" "))
  }
})

test("an old server is told by an OCC message in the data channel", async () => {
  const options: ServerOptions = { readsClientAs: "data-v2" }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect((await client.stop()).code).toBe(exitCode.stopped)
  await server.line(/remote-exit/)
})

test("a client that was killed leaves nothing that hinders the next one, and that one removes it", async () => {
  const { lab } = bench
  const before = await networkState(lab.client)
  const options: ServerOptions = { push: [...push, "redirect-gateway def1 ipv6"] }
  await using _server = await bench.serve(options)
  for (const _round of [1, 2]) {
    const killed = bench.connect(options)
    await killed.ready()
    await killed.stop("SIGKILL")
  }
  await using client = bench.connect(options)
  await client.ready()
  await bench.carriesTraffic()
  if (subject === "culvert")
    expect((await lab.client.succeed(["ip", "rule", "show"])).match(/lookup 4911/g)).toHaveLength(1)
  expect((await client.stop()).code).toBe(exitCode.stopped)
  expect(await networkState(lab.client)).toBe(before)
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
