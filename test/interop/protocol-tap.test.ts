/** `dev tap`: whole Ethernet frames, against `openvpn` as a router and as a bridge. */
import { expect, test } from "bun:test"
import { Client } from "../support/culvert.ts"
import { networkState, outer } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { download, ping, upload } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()
const tap = (options: ServerOptions = {}): ServerOptions => ({
  ...options,
  lines: ["dev tap", ...(options.lines ?? [])],
})

/** Both address families, and 10 MB each way. */
const carriesFrames = async () => {
  await ping(bench.lab.client, tunnel.ipv4)
  await ping(bench.lab.client, tunnel.ipv6)
  await download(bench.lab.client, tunnel.ipv4, 10_000_000)
  await upload(bench.lab.client, tunnel.ipv4, 10_000_000)
}

const warnings = (log: ReadonlyArray<string>) =>
  log.filter((line) => /used inconsistently|Authenticate\/Decrypt|bad packet ID|is present in/.test(line))

test("an address from the push, neighbours found by ARP and ND, routes over the pushed gateway, nothing left at the end", async () => {
  const { lab } = bench
  await lab.server.succeed(["ip", "address", "add", "10.77.0.1/32", "dev", "lo"])
  const options = tap({ push: ["route 10.77.0.0 255.255.0.0", "redirect-gateway def1"] })
  const before = await networkState(lab.client)
  {
    await using server = await bench.serve(options)
    await using client = bench.connect(options, { device: "tap" })
    await client.ready()
    await using leaks = await Leaks.watch(lab)
    await carriesFrames()
    await ping(lab.client, "10.77.0.1")
    const link = await lab.client.succeed(["ip", "-details", "link", "show", "dev", "tap0"])
    // The path's 1500 less 28 of IP and UDP, 24 of the packet, 14 of the frame.
    expect(link).toMatch(/mtu 1434 .*\n.*link\/ether/)
    const routes = await lab.client.succeed(["ip", "route", "show", "dev", "tap0"])
    expect(routes).toContain("10.77.0.0/16 via 10.66.0.1")
    expect(routes).toContain("128.0.0.0/1 via 10.66.0.1")
    for (const [family, address] of [
      ["-4", tunnel.ipv4],
      ["-6", tunnel.ipv6],
    ] as const)
      expect(await lab.client.succeed(["ip", family, "neigh", "show", address, "dev", "tap0"])).toContain("lladdr")
    expect(warnings(server.log)).toEqual([])
    await server.kill()
    await expect(ping(lab.client, "10.77.0.1", 2)).rejects.toThrow("ping")
    expect(leaks.since(0)).toEqual([])
  }
  await lab.server.succeed(["ip", "address", "del", "10.77.0.1/32", "dev", "lo"])
  expect(await networkState(lab.client)).toBe(before)
})

test.each([
  ["TCP, CBC and a smaller MTU", { transport: "tcp", dataCiphers: ["AES-256-CBC"], lines: ["tun-mtu 1400"] }, []],
  ["UDP, the PRF, and a framing that has to escape some frames", { readsClientAs: "data-v2" }, ["compress stub-v2"]],
] as const)("%s", async (_name, ways, lines) => {
  const own = "lines" in ways ? ways.lines : []
  const options = tap({ ...ways, lines: [...own, ...lines] })
  await using server = await bench.serve(options)
  // An address that looks like the mark of the framing.
  const address = lines.length === 0 ? [] : ["ip", "link", "set", "dev", "tap0", "address", "50:00:00:00:00:01"]
  if (address.length > 0) await bench.lab.server.succeed(address)
  await using client = bench.connect(options, { device: "tap", lines: [...own, ...lines] })
  await client.ready()
  await carriesFrames()
  const mtu = own.length > 0 ? 1400 : 1434
  expect(await bench.lab.client.succeed(["ip", "link", "show", "dev", "tap0"])).toContain(`mtu ${mtu} `)
  expect(warnings(server.log)).toEqual([])
  expect((await client.status()).counters?.["drop:malformed"] ?? 0).toBe(0)
})

test("connections inside keep to the MSS, which counts the head of the frame", async () => {
  const { lab } = bench
  const options = tap()
  await using _server = await bench.serve(options)
  await using client = bench.connect(options, { device: "tap", lines: ["mssfix 1200 mtu"] })
  await client.ready()
  const watch = ["bash", "-c", `while ss -tin dst ${tunnel.ipv4}; do sleep 0.02; done`]
  await using connections = lab.client.start("ss", watch)
  await download(lab.client, tunnel.ipv4, 10_000_000)
  const sizes = connections.lines.flatMap((line) => /\bmss:(\d+)/.exec(line)?.[1] ?? []).map(Number)
  // 28 of IP and UDP, 24 of the packet, 14 of the frame, 40 of IP and TCP, 12 of their timestamps.
  expect(Math.max(...sizes)).toBe(1200 - 28 - 24 - 14 - 40 - 12)
})

test("server-bridge: the client is one more host of the server's Ethernet", async () => {
  const { lab } = bench
  const { authority, server, ca, client: own } = lab.pki
  const configuration = [
    ...["dev tap7", "dev-type tap", "mode server", "tls-server", "dh none", "proto udp4", "keepalive 1 10", "verb 4"],
    "server-bridge 10.66.0.1 255.255.255.0 10.66.0.50 10.66.0.60",
    ...[`ca ${authority.certificateFile}`, `cert ${server.certificateFile}`, `key ${server.keyFile}`],
  ]
  const file = lab.write("bridge.conf", configuration.join("\n"))
  await lab.server.succeed(["ip", "tuntap", "add", "mode", "tap", "name", "tap7"])
  await lab.server.succeed(["ip", "link", "add", "br0", "type", "bridge"])
  await lab.server.succeed(["ip", "link", "set", "tap7", "master", "br0", "up"])
  await lab.server.succeed(["ip", "address", "add", "10.66.0.1/24", "dev", "br0"])
  await lab.server.succeed(["ip", "link", "set", "br0", "up"])
  try {
    await using _bridge = lab.server.start("openvpn bridge", ["openvpn", "--config", file])
    await _bridge.line(/Initialization Sequence Completed/)
    const lines = [
      ...["client", "dev tap", "proto udp4", `remote ${outer.server.ipv4} 1194`, "nobind", "remote-cert-tls server"],
      ...["<ca>", ca.trim(), "</ca>", `cert ${own.certificateFile}`, `key ${own.keyFile}`, ""],
    ]
    await using client = Client.start(lab, lines.join("\n"))
    await client.ready()
    await ping(lab.client, "10.66.0.1")
    await download(lab.client, "10.66.0.1", 1_000_000)
    expect((await client.status()).addresses).toEqual(["10.66.0.50/24"])
  } finally {
    for (const device of ["br0", "tap7"]) await lab.server.succeed(["ip", "link", "del", device])
  }
})
