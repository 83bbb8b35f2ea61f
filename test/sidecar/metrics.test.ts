import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { dropReasons } from "../../src/dataplane/drop.ts"
import { makeMetrics, metrics } from "../../src/sidecar/metrics.ts"
import { metricsPage } from "../../src/sidecar/reference.ts"
import { world } from "./world.ts"

/** To write it anew: bun -e 'await Bun.write("docs/metrics.md", (await import("./src/sidecar/reference.ts")).metricsPage())' */
test("docs/metrics.md is what the table says", () => {
  expect(readFileSync(join(import.meta.dir, "../../docs/metrics.md"), "utf8")).toBe(metricsPage())
})

test("every metric of the table is in a scrape, with its help", async () => {
  const dnsQueries = { "10.53.0.1 NOERROR": 3 }
  const lastHandover = { at: 1000, ok: false, message: "" }
  const status = { phase: "connected", remote: "udp://192.0.2.1:1194", dnsQueries, lastHandover } as const
  const text = await makeMetrics(world(status)).scrape()
  expect(text).toContain('dns_queries_total{upstream="10.53.0.1",rcode="NOERROR"} 3')
  expect(text).toContain('last_handover_timestamp_seconds{result="failure"} 1\n')
  for (const [name, { help, type }] of Object.entries(metrics)) {
    expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`)
    expect(text).toMatch(new RegExp(`^${name}(_count)?(\\{[^}]*\\})? [-0-9.e+]+$`, "m"))
  }
})

test("names have the units and endings that Prometheus asks for", () => {
  for (const [name, { type }] of Object.entries(metrics)) {
    expect(name).toMatch(/^(openvpn_client|process)_[a-z_]+$/)
    if (type === "counter") expect(name).toEndWith("_total")
    else expect(name).not.toEndWith("_total")
  }
})

test("counters go on over reconnects", async () => {
  const { scrape, happened } = makeMetrics(world({ phase: "connected" }))
  const event = (event: string, facts: Record<string, unknown> = {}) => happened({ at: 0, event, message: "", facts })
  event("disconnected", { reason: "NoAnswer", established: false })
  event("connected", { seconds: 0.2 })
  event("disconnected", { reason: "PingRestart", established: true })
  event("connected", { seconds: 3 })
  event("renegotiated")
  event("renegotiation_failed")
  event("auth_failed", { reason: "AuthFailed", established: true })
  const text = await scrape()
  for (const line of [
    'connects_total{result="success"} 2',
    'connects_total{result="failure"} 1',
    'failures_total{reason="NoAnswer"} 1',
    'disconnects_total{reason="PingRestart"} 1',
    'disconnects_total{reason="AuthFailed"} 1',
    'renegotiations_total{result="success"} 1',
    'renegotiations_total{result="failure"} 1',
    "handshake_duration_seconds_count 2",
    'handshake_duration_seconds_bucket{le="0.25"} 1',
    "handshake_duration_seconds_sum 3.2",
  ]) {
    expect(text).toContain(`openvpn_client_${line}\n`)
  }
})

test("the server is named only while the tunnel is up, and phases are one of a fixed set", async () => {
  const remote = "tcp://[2001:db8::1]:443 (vpn.example.com)"
  const up = await makeMetrics(world({ phase: "connected", remote, cipher: "AES-256-GCM" })).scrape()
  expect(up).toContain('server_info{remote="[2001:db8::1]:443",proto="tcp",cipher="AES-256-GCM"} 1')
  expect(up).toContain('state{state="connected"} 1')
  expect(up).toContain('state{state="waiting"} 0')
  const down = await makeMetrics(world({ phase: "waiting", remote })).scrape()
  expect(down).not.toContain("server_info{")
})

test("dropped packets have a direction, and every reason is there from the start", async () => {
  const counters = { "drop:replay": 7, "drop:transportBusy": 1, "drop:noKey": 2, "drop:offload": 3 }
  const text = await makeMetrics(world({}, counters)).scrape()
  const dropped = [...text.matchAll(/^openvpn_client_dropped_packets_total\{(.*)\} (\d+)$/gm)].map(
    ([, ...parts]) => parts,
  )
  expect(dropped).toContainEqual(['direction="received",reason="replay"', "7"])
  expect(dropped).toContainEqual(['direction="sent",reason="transportBusy"', "1"])
  expect(dropped).toContainEqual(['direction="either",reason="noKey"', "2"])
  expect(dropped).toContainEqual(['direction="sent",reason="offload"', "3"])
  expect(dropped).toHaveLength(dropReasons.length)
})
