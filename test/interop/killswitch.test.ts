/** The kill switch: what it lets out, that it stays, how it is explained and removed. */
import { afterEach, expect } from "bun:test"
import { ruleset } from "../../src/network/firewall.ts"
import { eventually } from "../support/child.ts"
import { bun, Client, exitCode, project } from "../support/culvert.ts"
import { allClosed } from "../support/firewall.ts"
import { outer } from "../support/lab.ts"
import { clientConfiguration, OpenVpnServer, type ServerOptions } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })

const culvert = (...parameters: ReadonlyArray<string>) =>
  bench.lab.client.succeed([bun, "src/main.ts", ...parameters], { cwd: project })
/** Outside the tunnel: the server's own outer address, which answers unless something is in the way. */
const outside = (address: string) => ping(bench.lab.client, address, 1)

afterEach(() => bench.lab.client.finish(["nft", "delete", "table", "inet", "culvert"]))

testCulvert("while Culvert runs, and after its end, nothing passes beside the tunnel until it is cleared", async () => {
  await outside(outer.server.ipv4)
  await outside(outer.server.ipv6)
  await using _server = await bench.serve()
  await using client = bench.connect({})
  await client.ready()
  await bench.carriesTraffic()
  await expect(outside(outer.server.ipv4)).rejects.toThrow()
  await expect(outside(outer.server.ipv6)).rejects.toThrow()

  await client.stop("SIGKILL")
  await expect(outside(outer.server.ipv4)).rejects.toThrow()
  expect(await culvert("firewall", "show")).toContain("The kill switch is on")
  expect(await culvert("firewall", "clear")).toContain("removed")
  expect(await culvert("firewall", "show")).toContain("off")
  await outside(outer.server.ipv4)
  await outside(outer.server.ipv6)
})

testCulvert("a file that cannot be understood leaves the pod closed", async () => {
  await outside(outer.server.ipv4)
  await using client = Client.start(bench.lab, "client")
  expect(await client.child.exited()).toBe(exitCode.invalidConfiguration)
  await expect(outside(outer.server.ipv4)).rejects.toThrow()
})

testCulvert(
  "a start without it opens what an earlier one closed, and leaves nothing that looks at packets",
  async () => {
    await using _server = await bench.serve()
    const chains = async () =>
      [...(await bench.lab.client.succeed(["nft", "list", "table", "inet", "culvert"])).matchAll(/chain (\w+)/g)].map(
        (match) => match[1],
      )
    await using closed = bench.connect({})
    await closed.ready()
    expect(await chains()).toEqual(["dns", "output", "input", "forward"])
    await closed.stop("SIGKILL")
    await using open = bench.connect({}, {}, { environment: { CULVERT_KILL_SWITCH: "off", CULVERT_DNS_MODE: "off" } })
    await open.ready()
    expect(await chains()).toEqual(["output"])
    expect(await culvert("firewall", "show")).toBe(
      "The kill switch is off: whatever the routes say may leave the pod.\n",
    )
    await outside(outer.server.ipv4)
    await bench.carriesTraffic()
  },
)

const flood = `const socket = await Bun.udpSocket({})
for (;;) try { socket.send("x", 9, ${JSON.stringify(outer.server.ipv4)}) } catch {}`

testCulvert("no packet of a flood slips through while the table is replaced again and again", async () => {
  const { client, server } = bench.lab
  const open = { ...allClosed, servers: [{ transport: "udp", address: outer.server.ipv4, port: 1194 } as const] }
  const files = [allClosed, open].map((firewall, index) => bench.lab.write(`firewall-${index}`, ruleset(firewall)))
  await client.succeed(["nft", "-f", files[0]!])
  await server.succeed(["nft", "add table inet count; add chain inet count in { type filter hook input priority 0; }"])
  await server.succeed(["nft", "add rule inet count in udp dport 9 counter"])
  const counted = async () => /packets (\d+)/.exec(await server.succeed(["nft", "list", "table", "inet", "count"]))?.[1]
  try {
    await using sender = client.start("flood", [bun, "-e", flood])
    const replace = `for i in $(seq 200); do nft -f ${files[1]}; nft -f ${files[0]}; done`
    await client.succeed(["sh", "-c", replace], { deadline: 60_000 })
    expect(sender.running).toBe(true)
    expect(await counted()).toBe("0")
  } finally {
    await server.succeed(["nft", "delete", "table", "inet", "count"])
  }
})

testCulvert("show says in words where packets may go", async () => {
  await using _server = await bench.serve()
  await using client = bench.connect(
    {},
    {},
    { environment: { CULVERT_BYPASS: "192.0.2.0/24", CULVERT_INBOUND: "tcp:8080" } },
  )
  await client.ready()
  const words = await culvert("firewall", "show")
  for (const part of [
    "into the tunnel tun0",
    `to the VPN server: udp ${outer.server.ipv4} port 1194`,
    "exception 192.0.2.0/24: CULVERT_BYPASS",
    "from the tunnel: tcp port 8080",
    "Kept out of the tunnel:\n  the tunnel's own packets",
    "culvert firewall clear",
  ]) {
    expect(words).toContain(part)
  }
  expect((await client.stop()).code).toBe(exitCode.stopped)
  // The way to the server is closed with the program.
  expect(await culvert("firewall", "show")).not.toContain("VPN server")
})

testCulvert("another server is let through as soon as it is tried, and the one before no more", async () => {
  const { lab } = bench
  await using _second = await OpenVpnServer.start(lab, { port: 1195 })
  const text = clientConfiguration(lab, {}, { lines: ["connect-timeout 1"] }).replace(
    /^remote .*$/m,
    `remote ${outer.server.ipv4} 1194\nremote ${outer.server.ipv4} 1195`,
  )
  await using client = Client.start(lab, text)
  await client.ready()
  await bench.carriesTraffic()
  expect(client.child.output).not.toContain("EPERM")
  const words = await culvert("firewall", "show")
  expect(words).toContain("port 1195")
  expect(words).not.toContain("port 1194")
})

testCulvert(
  "from the tunnel only what CULVERT_INBOUND lists comes in; from outside everything is answered",
  async () => {
    const { lab } = bench
    const options: ServerOptions = {}
    await using _server = await bench.serve(options)
    const listening = [8080, 8081].map((port) =>
      lab.client.start("listener", [
        bun,
        "-e",
        `Bun.serve({ hostname: "::", port: ${port}, fetch: () => new Response("hello") })`,
      ]),
    )
    try {
      await using client = bench.connect(options, {}, { environment: { CULVERT_INBOUND: "tcp:8080" } })
      await client.ready()
      const get = (address: string, port: number) =>
        lab.server.finish(["curl", "-s", "--max-time", "1", `http://${address}:${port}/`])
      await eventually(
        5_000,
        "answers from outside",
        async () => (await get(outer.client.ipv4, 8081)).stdout === "hello",
      )
      expect((await get(`[${outer.client.ipv6}]`, 8081)).stdout).toBe("hello")
      expect((await get("10.66.0.2", 8080)).stdout).toBe("hello")
      expect((await get("10.66.0.2", 8081)).code).not.toBe(0)
      await expect(ping(lab.server, "10.66.0.2", 1)).rejects.toThrow()
      // The tunnel's address is nobody's business on the pod's own network.
      await lab.server.succeed(["ip", "route", "add", "10.66.0.2/32", "via", outer.client.ipv4])
      try {
        expect((await get("10.66.0.2", 8080)).code).not.toBe(0)
      } finally {
        await lab.server.succeed(["ip", "route", "del", "10.66.0.2/32", "via", outer.client.ipv4])
      }
    } finally {
      for (const child of listening) await child.stop("SIGKILL")
    }
  },
)

testCulvert("a table that somebody removes, empties or opens is set again at once, and that is told", async () => {
  const { lab } = bench
  await using _server = await bench.serve()
  await using client = bench.connect({})
  await client.ready()
  const whole = await culvert("firewall", "show")
  for (const [count, command] of [
    "delete table inet culvert",
    "flush ruleset",
    "flush chain inet culvert output",
    "insert rule inet culvert output accept",
    "chain inet culvert output { policy accept; }",
  ].entries()) {
    await lab.client.succeed(["nft", command])
    await client.event("kill_switch_restored", 5_000, count + 1)
  }
  await expect(outside(outer.server.ipv4)).rejects.toThrow()
  const bare = (text: string) => text.replace(/\d+(?= (packets|IPv4|IPv6))/g, "?")
  expect(bare(await culvert("firewall", "show"))).toBe(bare(whole))
  expect(await client.probe("/readyz")).toBe(200)
  await bench.carriesTraffic()
  expect(client.events("kill_switch_restored")).toHaveLength(5)
  expect(await culvert("firewall", "clear")).toContain("stop it first")
  expect(client.events("kill_switch_restored")).toHaveLength(6)
  // Our own changes, and those of others beside us, are nobody's business.
  await lab.client.succeed(["nft", "add table inet elsewhere; delete table inet elsewhere"])
  expect((await client.stop()).code).toBe(exitCode.stopped)
  expect(client.events("kill_switch_restored")).toHaveLength(6)
})

testCulvert("CULVERT_KILL_SWITCH=off leaves no table", async () => {
  const { lab } = bench
  const before = await lab.client.succeed(["nft", "list", "ruleset"])
  await using _server = await bench.serve()
  await using client = bench.connect({}, {}, { environment: { CULVERT_KILL_SWITCH: "off" } })
  await client.ready()
  await outside(outer.server.ipv4)
  expect((await client.stop()).code).toBe(exitCode.stopped)
  expect(await lab.client.succeed(["nft", "list", "ruleset"])).toBe(before)
})
