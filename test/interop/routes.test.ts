/** Routes as the kernel has them, through a real server: every main form, conflicts, what is left to others. */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import { networkState, outer } from "../support/lab.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })

const get = (address: string) => bench.lab.client.succeed(["ip", "route", "get", address])
const routes = (...rest: ReadonlyArray<string>) => bench.lab.client.succeed(["ip", ...rest, "route", "show"])

testCulvert("file and push: networks, gateways, metrics, names and keywords", async () => {
  const options: ServerOptions = {
    push: [
      "route 10.77.0.0 255.255.255.0",
      "route 10.78.0.0 255.255.255.0 net_gateway",
      "route-ipv6 fd77::/64",
      "route-metric 7",
    ],
  }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, {
    lines: [
      "route 10.79.0.0 255.255.0.0 vpn_gateway 3",
      `route ${outer.hosts.ipv4} 255.255.255.255 net_gateway`,
      "route remote_host 255.255.255.255 net_gateway 9",
      "route-ipv6 fd79::/32",
    ],
  })
  await client.ready()
  await bench.carriesTraffic()
  const ipv4 = await routes("-4")
  expect(ipv4).toMatch(/^10\.77\.0\.0\/24 dev tun0 .*metric 7/m)
  expect(ipv4).toMatch(new RegExp(`^10\\.78\\.0\\.0/24 via ${outer.server.ipv4} dev outer .*metric 7`, "m"))
  expect(ipv4).toMatch(/^10\.79\.0\.0\/16 dev tun0 .*metric 3/m)
  expect(ipv4).toMatch(/^10\.90\.0\.1 via 10\.90\.0\.1 dev outer .*metric 7/m)
  expect(ipv4).toMatch(/^10\.90\.0\.1 via 10\.90\.0\.1 dev outer .*metric 9/m)
  const ipv6 = await routes("-6")
  expect(ipv6).toMatch(/^fd77::\/64 dev tun0 .*metric 7/m)
  expect(ipv6).toMatch(/^fd79::\/32 dev tun0/m)
})

/** Where packets for the Internet over IPv4 and IPv6, the pod's own network, and the server go. */
const ways = async () => {
  const texts = await Promise.all(
    ["198.51.100.1", "2001:db8::1", "10.90.0.77", outer.server.ipv4].map((address) => get(address)),
  )
  return texts.map((text) => / dev (\S+)/.exec(text)?.[1]).join(" ")
}

for (const [flags, expected] of [
  ["def1", "tun0 outer outer outer"],
  ["", "tun0 outer outer outer"],
  ["def1 ipv6", "tun0 tun0 outer outer"],
  ["ipv6 !ipv4", "outer tun0 outer outer"],
  ["autolocal bypass-dhcp bypass-dns", "tun0 outer outer outer"],
  ["def1 local", "tun0 outer outer outer"],
  ["def1 ipv6 block-local", "tun0 tun0 tun0 outer"],
] as const) {
  testCulvert(`redirect-gateway ${flags}: Internet over both families, the pod's network and the server`, async () => {
    const options: ServerOptions = { push: [`redirect-gateway ${flags}`.trim()] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    expect(await ways()).toBe(expected)
    await bench.carriesTraffic()
  })
}

testCulvert("redirect-private: only the server's own route", async () => {
  const options: ServerOptions = { push: ["redirect-private def1"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect(await ways()).toBe("outer outer outer outer")
  expect(await routes("-4")).toContain(`${outer.server.ipv4} dev outer proto 149`)
})

for (const killSwitch of ["on", "off"]) {
  testCulvert(`block-ipv6: whoever tries is told at once that there is no way; kill switch ${killSwitch}`, async () => {
    const options: ServerOptions = { push: ["redirect-gateway def1 ipv6", "block-ipv6"] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options, {}, { environment: { CULVERT_KILL_SWITCH: killSwitch } })
    await client.ready()
    const { client: pod } = bench.lab
    // 7: the connection failed; a packet that vanishes would be a timeout, 28.
    expect((await pod.finish(["curl", "-s", "--max-time", "5", "http://[2001:db8::1]/"])).code).toBe(7)
    const { stdout, stderr } = await pod.finish(["ping", "-6", "-n", "-c", "1", "-w", "5", "2001:db8::1"])
    expect(stdout + stderr).toMatch(/Destination unreachable: No route/)
  })
}

testCulvert("what is addressed to the server is not sent into the tunnel, unless the file allows it", async () => {
  // "local" leaves out the server's own route.
  const options: ServerOptions = {
    push: ["redirect-gateway def1 local", "route 10.90.0.1 255.255.255.255 vpn_gateway"],
  }
  await using _server = await bench.serve(options)
  const send = () => bench.lab.client.finish(["bash", "-c", `echo hello >/dev/udp/${outer.server.ipv4}/1194`])
  {
    await using client = bench.connect(options)
    await client.ready()
    expect(await get(outer.server.ipv4)).toContain("dev tun0")
    expect((await send()).stderr).toContain("Operation not permitted")
    await bench.carriesTraffic()
  }
  await using client = bench.connect(options, { lines: ["allow-recursive-routing"] })
  await client.ready()
  expect((await send()).code).toBe(0)
})

for (const [topology, address] of [
  ["net30", /10\.66\.0\.6 peer 10\.66\.0\.5\/32/],
  ["p2p", /10\.66\.0\.\d+ peer 10\.66\.0\.1\/32/],
  ["subnet", /10\.66\.0\.\d+\/24/],
] as const) {
  testCulvert(`topology ${topology}: the address as the server means it, and traffic`, async () => {
    const options: ServerOptions = { lines: [`topology ${topology}`] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    expect(await bench.lab.client.succeed(["ip", "-4", "-o", "address", "show", "dev", "tun0"])).toMatch(address)
    await bench.carriesTraffic()
  })
}

testCulvert("route-nopull takes no route and no name server from the server, but those of the file hold", async () => {
  const options: ServerOptions = {
    push: ["redirect-gateway def1", "route 10.77.0.0 255.255.255.0", "dhcp-option DNS 10.66.0.1"],
  }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, { lines: ["route-nopull", "route 10.79.0.0 255.255.0.0"] })
  await client.ready()
  expect(await ways()).toBe("outer outer outer outer")
  expect(await routes("-4")).not.toContain("10.77.0.0")
  expect(await get("10.79.0.1")).toContain("dev tun0")
  expect((await client.status()).dns).toMatchObject({ servers: [] })
})

testCulvert("after SIGKILL a start finds the leftovers and converges without a complaint", async () => {
  const options: ServerOptions = {
    push: ["redirect-gateway def1 ipv6 block-local", "route 10.77.0.0 255.255.255.0 net_gateway"],
  }
  await using server = await bench.serve(options)
  await using killed = bench.connect(options)
  await killed.ready()
  // A new device has another number and another link-local address.
  const lasting = async () => (await networkState(bench.lab.client)).replace(/^.*fe80::[\w:]+.*\n|^\d+: /gm, "")
  const state = await lasting()
  await killed.stop("SIGKILL")
  // The server forgets the client, so that it gives the same address again.
  await server.stop()
  await server.start()
  await using client = bench.connect(options)
  await client.ready()
  expect(client.events("network_note")).toEqual([])
  expect(await lasting()).toBe(state)
})

testCulvert("route-noexec and ifconfig-noexec leave routes and addresses to somebody else", async () => {
  const options: ServerOptions = { push: ["route 10.77.0.0 255.255.255.0"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, { lines: ["route-noexec", "ifconfig-noexec"] })
  await client.ready()
  expect(await routes("-4")).not.toContain("10.77.0.0")
  expect(await bench.lab.client.succeed(["ip", "address", "show", "dev", "tun0"])).not.toContain("10.66.0")
})

testCulvert("a tunnel network that the pod has already: one message, not ready, nothing applied", async () => {
  const { lab } = bench
  await lab.client.succeed(["ip", "address", "add", "10.66.0.99/24", "dev", "outer"])
  try {
    const before = await networkState(lab.client)
    await using _server = await bench.serve()
    await using client = bench.connect({})
    const { message } = await client.event("disconnected")
    expect(message).toContain("10.66.0.0/24")
    expect(message).toMatch(/give .* another network/)
    expect(await client.probe("/readyz")).toBe(503)
    expect(await lab.client.succeed(["ip", "-4", "-o", "address", "show", "dev", "tun0"])).toBe("")
    await client.stop()
    await eventually(5_000, "as before", async () => (await networkState(lab.client)) === before)
  } finally {
    await lab.client.succeed(["ip", "address", "del", "10.66.0.99/24", "dev", "outer"])
  }
})
