/** A list of servers of which one is alive at a time: over UDP as over TCP the client finds it, and finds the next one. */
import { expect, test } from "bun:test"
import { eventually } from "../support/child.ts"
import { Client, subject } from "../support/culvert.ts"
import { outer } from "../support/lab.ts"
import { clientConfiguration, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

for (const transport of ["udp", "tcp"] as const) {
  test(`${transport}: the second server when the first is away, and back again when the second goes`, async () => {
    const [first, second]: ReadonlyArray<ServerOptions> = [1194, 1195].map((port) => ({
      transport,
      port,
      keepalive: [1, 3],
    }))
    const alive = await bench.serve(second)
    const lines = [`remote ${outer.server.ipv4} 1195`, "connect-timeout 2"]
    await using client = bench.connect(first!, { lines })
    await client.ready()
    if (subject === "culvert") expect((await client.status()).remote).toBe(`${transport}://${outer.server.ipv4}:1195`)
    await alive.kill()
    await using _ = await bench.serve(first)
    await eventually(30_000, "traffic again", async () => (await ping(bench.lab.client, tunnel.ipv4, 1)) ?? true)
    if (subject === "culvert") expect((await client.status()).remote).toBe(`${transport}://${outer.server.ipv4}:1194`)
    await bench.carriesTraffic()
  })
}

test("blocks have their own transport, port and patience", async () => {
  const { lab } = bench
  const options: ServerOptions = { transport: "udp", port: 1195 }
  await using _ = await bench.serve(options)
  const blocks = [
    // Nobody answers on the first, refuses on the second.
    [`remote ${outer.server.ipv4} 1199 udp4`, "connect-timeout 1"],
    [`remote ${outer.server.ipv4} 1198 tcp4-client`, "connect-timeout 5"],
    [`remote ${outer.server.ipv4} 1195 udp4`, "explicit-exit-notify 1"],
  ].flatMap((lines) => ["<connection>", ...lines, "</connection>"])
  const text = clientConfiguration(lab, options)
    .replace(/^remote .*\n/m, "")
    .replace(/^explicit-exit-notify.*\n/m, "")
  await using client = Client.start(lab, `${text}${blocks.join("\n")}\n`)
  await client.ready()
  await bench.carriesTraffic()
  if (subject !== "culvert") return
  expect(client.events("connecting").map(({ remote }) => remote)).toEqual([
    `udp://${outer.server.ipv4}:1199`,
    `tcp://${outer.server.ipv4}:1198`,
    `udp://${outer.server.ipv4}:1195`,
  ])
  expect(client.events("disconnected").map(({ reason }) => reason)).toEqual(["NoAnswer", "Transport"])
})

test("a name with a dead address: the next address of the name is tried before the next server", async () => {
  if (subject !== "culvert") return
  const { lab } = bench
  // The name has the address of IPv4 and that of IPv6; the server listens on one of them.
  const options: ServerOptions = { transport: "tcp", family: "ipv6" }
  await using _ = await bench.serve(options)
  const text = clientConfiguration(lab, { ...options, family: "any" }, { host: outer.hosts.any })
  await using client = Client.start(lab, `${text}connect-timeout 2\n`)
  await client.ready()
  await bench.carriesTraffic()
  expect((await client.status()).remote).toBe(`tcp://[${outer.server.ipv6}]:1194 (${outer.hosts.any})`)
})
