/** What is asked of a running sidecar, and what has to answer behind it. */
import { expect } from "bun:test"
import { dirname } from "node:path"
import { eventually } from "../support/child.ts"
import { bun, project } from "../support/culvert.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const token = "c0ffee-c0ffee-c0ffee"

/** As an injected pod has it: a key of the Secret that is mounted. */
const controlled = () => ({ CULVERT_CREDENTIALS: dirname(bench.lab.write("credentials/control-token", token, 0o600)) })

const post = async (wish: string, bearer = token) => {
  const authorization = `Authorization: Bearer ${bearer}`
  const url = `http://127.0.0.1:4912/${wish}`
  const curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-H", authorization, url]
  return Number((await bench.lab.client.finish(curl)).stdout)
}

testCulvert("pause takes the tunnel down and keeps the kill switch; resume and reconnect bring it back", async () => {
  const { lab } = bench
  await using _server = await bench.serve()
  await using client = bench.connect({}, {}, { environment: controlled() })
  await client.ready()
  expect(await post("pause", "wrong")).toBe(401)
  expect((await client.status()).phase).toBe("connected")

  expect(await post("pause")).toBe(202)
  await client.becomes("/readyz", 503)
  expect((await client.status()).phase).toBe("paused")
  expect(await client.probe("/livez")).toBe(200)
  expect((await lab.client.finish(["ping", "-n", "-c", "1", "-W", "1", tunnel.ipv4])).code).not.toBe(0)
  expect(await lab.client.succeed(["nft", "list", "tables"])).toContain("inet culvert")

  expect(await post("resume")).toBe(202)
  await client.ready()
  await bench.carriesTraffic()
  expect(await post("reconnect")).toBe(202)
  await client.event("handed_over")
  await bench.carriesTraffic()
  expect(await client.body("/metrics")).toContain('openvpn_client_connects_total{result="success"} 2')
})

testCulvert(
  "without a token file nobody listens, and a file that is missing ends the program with status 64",
  async () => {
    {
      await using client = bench.connect({})
      await client.becomes("/livez", 200)
      expect(await post("pause")).toBe(0)
    }
    const environment = { CULVERT_CONTROL_TOKEN_FILE: "/nowhere/token" }
    await using client = bench.connect({}, {}, { environment })
    expect(await client.child.exited()).toBe(64)
    expect(client.child.output).toContain("/nowhere/token: cannot be read: ENOENT")
  },
)

testCulvert("the ready check is about what lies behind the tunnel, by TCP and by ICMP", async () => {
  await bench.lab.client.succeed(["sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"])
  await using _server = await bench.serve()
  const check = async (target: string, status: number, reason: RegExp) => {
    const options: ServerOptions = {}
    await using client = bench.connect(options, {}, { environment: { CULVERT_READY_CHECK: target } })
    await client.event("connected")
    await client.becomes("/readyz", status)
    await eventually(10_000, `${target} is told`, async () => reason.test(await client.body("/readyz?verbose")))
  }
  await check(`tcp:${tunnel.ipv4}:8080`, 200, /\[\+\] ready-check: tcp:10\.66\.0\.1:8080: answers/)
  await check(`icmp:${tunnel.ipv4}`, 200, /\[\+\] ready-check/)
  await check(`icmp:${tunnel.ipv6}`, 200, /\[\+\] ready-check/)
  await check(`tcp:${tunnel.ipv4}:9`, 503, /\[-\] ready-check: tcp:10\.66\.0\.1:9: ECONNREFUSED/)
  await check("icmp:10.66.0.200", 503, /\[-\] ready-check: icmp:10\.66\.0\.200: (no answer|ping)/)
})

testCulvert("culvert status shows it in a terminal, once or live, and as JSON", async () => {
  const { lab } = bench
  const status = (...parameters: ReadonlyArray<string>) => [bun, "src/main.ts", "status", ...parameters]
  await using _server = await bench.serve()
  await using client = bench.connect({})
  await client.ready()
  const once = await lab.client.succeed(status(), { cwd: project })
  for (const part of ["phase        connected for", "AES-256-GCM", "10.66.0.2/24", "+ tunnel", "kill switch  on"]) {
    expect(once).toContain(part)
  }
  expect(JSON.parse(await lab.client.succeed(status("--json"), { cwd: project }))).toMatchObject({ phase: "connected" })
  const live = lab.client.start("culvert status", status("--watch"), { cwd: project })
  await live.line(/received .*bit\/s/)
  await live.stop()
})
