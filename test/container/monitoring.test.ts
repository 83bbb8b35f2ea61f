/** Alerts and dashboard on a real Prometheus that scrapes real answers: what is asked for exists, and alerts tell bad from good. */
import { describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { makeMetrics as makeInjectorMetrics } from "../../src/injector/metrics.ts"
import { prepare, type Sources, serve } from "../../src/sidecar/index.ts"
import { makeMetrics, metrics } from "../../src/sidecar/metrics.ts"
import type { Happened, Status } from "../../src/tunnel/index.ts"
import { idle, world } from "../sidecar/world.ts"
import { Child, eventually, succeed } from "../support/child.ts"
import { installPackages } from "../support/packages.ts"

const monitoring = join(import.meta.dir, "../../k8s/monitoring")

interface Rule {
  readonly alert: string
  readonly expr: string
}

const { groups } = (
  Bun.YAML.parse(readFileSync(join(monitoring, "prometheusrule.yaml"), "utf8")) as {
    readonly spec: { readonly groups: ReadonlyArray<{ readonly rules: ReadonlyArray<Rule> }> }
  }
).spec
const rules = groups.flatMap((group) => group.rules)

const panels = (
  JSON.parse(readFileSync(join(monitoring, "dashboard.json"), "utf8")) as {
    readonly panels: ReadonlyArray<{
      readonly title: string
      readonly targets: ReadonlyArray<{ readonly expr: string }>
    }>
  }
).panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })))

test("alerts and dashboard name only metrics that there are", async () => {
  const ofInjector = [...(await injectorMetrics(0)).matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!)
  const known = ["up", ...Object.keys(metrics), ...ofInjector]
  for (const { expr } of [...rules, ...panels]) {
    const names = [...expr.matchAll(/\b(?:openvpn_client_[a-z_]+|process_[a-z_]+|culvert_injector_[a-z_]+|up)\b/g)].map(
      ([name]) => name,
    )
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) expect(known).toContain(name.replace(/_(bucket|sum|count)$/, ""))
  }
})

const injectorMetrics = (expiry: number) => makeInjectorMetrics(() => expiry).registry.metrics()

const prometheus = await findPrometheus()

describe.skipIf(prometheus === undefined)(`on Prometheus${prometheus === undefined ? " (cannot be had)" : ""}`, () => {
  test(
    "every panel has data, and every alert is about the pods that it should be about",
    () =>
      Effect.gen(function* () {
        const pods = {
          good: pod({ phase: "connected", connects: 1 }, []),
          // Everything that can be wrong while the tunnel is down.
          down: pod({ phase: "waiting", killSwitch: "none" }, [
            ...many(3, happened("auth_failed", { reason: "AuthFailed", established: false })),
            ...many(9, happened("disconnected", { reason: "PingRestart", established: true })),
            happened("kill_switch_restored"),
          ]),
          // And while it is up.
          up: pod(
            { phase: "connected", readyCheck: { target: "tcp:a:1", ok: false, reason: "refused", at: 1 } },
            [...many(5, happened("renegotiation_failed")), ...many(5, happened("connected", { seconds: 25 }))],
            { heartbeat: -10_000, drops: true },
          ),
        }
        const targets: Record<string, number> = {}
        for (const [name, { sources }] of Object.entries(pods)) {
          targets[name] = (yield* serve({ hostname: "127.0.0.1", port: 0 }, yield* prepare(sources))).port!
        }
        const now = Date.now() / 1000
        for (const [name, expiry] of Object.entries({ fresh: now + 86_400, old: now + 3600 })) {
          targets[`culvert-injector-${name}`] = (yield* page(() => injectorMetrics(expiry))).port!
        }
        targets["culvert-injector-away"] = 1
        yield* Effect.promise(async () => {
          await using server = await Prometheus.start(prometheus!, targets)
          await server.has("count(openvpn_client_connected) == 3 and count(up) == 6")
          for (const { happen } of Object.values(pods)) happen()
          await server.has('openvpn_client_disconnects_total{reason="PingRestart"} == 9')
          await server.has("count(openvpn_client_handshake_duration_seconds_sum > 0) == 1")
          await server.has("sum(rate(openvpn_client_dropped_packets_total[1m])) > 1")

          const found: Record<string, string> = {}
          for (const { alert, expr } of rules) {
            found[alert] = (await server.ask(expr))
              .map(({ metric }) => metric.pod ?? "all")
              .sort()
              .join(" ")
          }
          expect(found).toEqual({
            CulvertDown: "down",
            CulvertNotReady: "up",
            CulvertAuthenticationFails: "down",
            CulvertFlapping: "down",
            CulvertNoKillSwitch: "down",
            CulvertKillSwitchDisturbed: "down",
            CulvertRenegotiationFails: "up",
            CulvertDropsPackets: "up",
            CulvertSlowHandshake: "all",
            CulvertDataPlaneStalls: "up",
            CulvertInjectorDown: "culvert-injector-away",
            CulvertInjectorCertificateEnds: "culvert-injector-old",
          })
          for (const { title, expr } of panels) {
            const filled = expr.replaceAll("$__rate_interval", "1m").replace(/\$(namespace|pod)/g, ".*")
            expect({ title, series: (await server.ask(filled)).length }).not.toEqual({ title, series: 0 })
          }
        })
      }).pipe(Effect.scoped, Effect.runPromise),
    60_000,
  )

  test("promtool has nothing to say against the rules and the metrics", async () => {
    const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
    try {
      const file = join(directory, "rules.json")
      writeFileSync(file, JSON.stringify({ groups }))
      await succeed(["promtool", "check", "rules", file])
      const { scrape } = makeMetrics(world({ phase: "connected" }))
      for (const [name, text] of Object.entries({ sidecar: await scrape(), injector: await injectorMetrics(1) })) {
        const child = Bun.spawn(["promtool", "check", "metrics"], { stdin: new Blob([text]), stderr: "pipe" })
        expect({ name, said: await new Response(child.stderr).text() }).toEqual({ name, said: "" })
      }
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

/** A server of one text. */
const page = (text: () => Promise<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: async () => new Response(await text()) })),
    (server) => Effect.promise(() => server.stop(true)),
  )

const happened = (event: string, facts: Happened["facts"] = {}): Happened => ({ at: 0, event, message: event, facts })
const many = (count: number, one: Happened): ReadonlyArray<Happened> => Array.from({ length: count }, () => one)

/** A sidecar whose counters grow; `happen` makes the events happen. */
function pod(
  change: Partial<Status>,
  events: ReadonlyArray<Happened>,
  { heartbeat = 0, drops = false }: { readonly heartbeat?: number; readonly drops?: boolean } = {},
) {
  const begin = Date.now()
  const listeners: Array<(happened: Happened) => void> = []
  const status: Status = { ...idle, since: begin, keySince: begin, remote: "udp://192.0.2.1:1194", ...change }
  const sources: Sources = {
    status: () => status,
    counters: () => {
      const grown = Date.now() - begin
      return {
        heartbeat,
        lastReceive: 1,
        tunReadPackets: grown,
        tunWritePackets: grown,
        "drop:replay": drops ? grown : 0,
      }
    },
    now: () => 500,
    listen: (listener) => Effect.sync(() => void listeners.push(listener)),
  }
  const happen = () => {
    for (const event of events) for (const listen of listeners) listen(event)
  }
  return { sources, happen }
}

class Prometheus implements AsyncDisposable {
  readonly #child: Child
  readonly #directory: string
  readonly #port: number

  private constructor(child: Child, directory: string, port: number) {
    this.#child = child
    this.#directory = directory
    this.#port = port
  }

  static async start(program: string, targets: Readonly<Record<string, number>>): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
    const scrape = Object.entries(targets).map(([name, port]) => ({
      targets: [`127.0.0.1:${port}`],
      labels: { namespace: "shop", pod: name },
    }))
    const configuration = {
      global: { scrape_interval: "500ms", scrape_timeout: "500ms" },
      scrape_configs: [{ job_name: "culvert", static_configs: scrape }],
    }
    writeFileSync(join(directory, "prometheus.yml"), JSON.stringify(configuration))
    const free = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() })
    const port = free.port!
    await free.stop(true)
    const child = new Child("prometheus", [
      program,
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ])
    return new Prometheus(child, directory, port)
  }

  async ask(expr: string): Promise<ReadonlyArray<{ readonly metric: Readonly<Record<string, string>> }>> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/api/v1/query?query=${encodeURIComponent(expr)}`)
    const answer = (await response.json()) as { readonly error?: string; readonly data: { readonly result: [] } }
    if (!response.ok) throw new Error(`${expr}: ${answer.error}`)
    return answer.data.result
  }

  async has(expr: string): Promise<void> {
    await eventually(20_000, expr, async () => {
      if (!this.#child.running) throw new Error(this.#child.tail())
      return (await this.ask(expr)).length > 0
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop("SIGKILL")
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Installs it when it is missing; undefined when it cannot be had. */
async function findPrometheus(): Promise<string | undefined> {
  if (Bun.which("prometheus") === null) await installPackages("prometheus")
  return Bun.which("prometheus") ?? undefined
}
