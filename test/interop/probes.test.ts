/** The probes tell the truth in every phase. */
import { expect } from "bun:test"
import { Client, exitCode } from "../support/culvert.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

testCulvert(
  "before the server exists, connected, without the server, and after its return",
  async () => {
    const options: ServerOptions = { keepalive: [1, 4] }
    await using client = bench.connect(options)
    await client.becomes("/livez", 200)
    expect(await client.probe("/startupz")).toBe(503)
    expect(await client.probe("/readyz")).toBe(503)
    expect((await client.status()).phase).not.toBe("connected")

    await using server = await bench.serve(options)
    await client.becomes("/readyz", 200)
    expect(await client.probe("/startupz")).toBe(200)
    expect(await client.probe("/livez")).toBe(200)
    const status = await client.status()
    expect(status.phase).toBe("connected")
    expect(status.cipher).toBe("AES-256-GCM")
    expect(JSON.stringify(status.tls)).toContain("TLSv1.3")
    expect(JSON.stringify(status.remote)).toContain("10.90.0.1")
    expect(JSON.stringify(status.addresses)).toContain("10.66.0.")
    expect(JSON.stringify(status.addresses)).toContain("fd66::")

    await server.kill()
    await client.becomes("/readyz", 503)
    expect(await client.probe("/startupz")).toBe(200)
    expect(await client.probe("/livez")).toBe(200)
    const without = await client.status()
    expect(without.phase).not.toBe("connected")
    expect(without.lastError).toBeTruthy()

    await server.start()
    await client.becomes("/readyz", 200, 30_000)
    await bench.carriesTraffic()
    expect((await client.status()).phase).toBe("connected")
    expect((await client.stop()).code).toBe(exitCode.stopped)
    expect(await client.probe("/livez")).toBe(0)
  },
  90_000,
)

testCulvert("the address is a setting", async () => {
  await using client = bench.connect({}, {}, { environment: { CULVERT_HTTP: "127.0.0.1:4912" } })
  await client.child.line(/connecting/)
  expect(await client.probe("/livez", "127.0.0.1:4912")).toBe(200)
  expect(await client.probe("/livez")).toBe(0)
})

testCulvert("an address that is taken ends the program with a message", async () => {
  await using first = bench.connect({})
  await first.becomes("/livez", 200)
  await using second = Client.start(bench.lab, clientConfiguration(bench.lab, {}))
  expect(await second.child.exited()).toBe(exitCode.hostRefused)
  expect(second.child.output).toMatch(/4911/)
  expect(await first.probe("/livez")).toBe(200)
})

testCulvert("nothing that is asked of the server harms it", async () => {
  await using client = bench.connect({})
  await client.becomes("/livez", 200)
  for (const path of ["/nothing", "/../../etc/passwd", "/livez/", "/%00", `/${"x".repeat(5_000)}`]) {
    expect(await client.probe(path)).toBeGreaterThanOrEqual(400)
  }
  expect(await client.probe("/livez")).toBe(200)
})
