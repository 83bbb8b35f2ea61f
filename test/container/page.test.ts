/** The page in a real browser. Screenshots are kept in `artifacts/`. */
import { expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import { prepare, type Sources, serve } from "../../src/sidecar/index.ts"
import type { Status } from "../../src/tunnel/index.ts"
import { idle } from "../sidecar/world.ts"
import { eventually } from "../support/child.ts"
import { Browser, findChromium } from "../support/chromium.ts"

const chromium = await findChromium()
const artifacts = join(import.meta.dir, "../../artifacts")

test.skipIf(chromium === undefined)(
  `the page shows the tunnel live, dark and light, on a desk and on a phone${chromium === undefined ? " (no chromium)" : ""}`,
  () =>
    Effect.gen(function* () {
      const scene = makeScene()
      const server = yield* start(scene, 0)
      yield* Effect.promise(() => look(`http://127.0.0.1:${server.port}/`, scene))
    }).pipe(Effect.scoped, Effect.runPromise),
  60_000,
)

const start = Effect.fnUntraced(function* (scene: Scene, port: number) {
  const server = yield* serve({ hostname: "127.0.0.1", port }, yield* prepare(scene.sources))
  yield* Effect.forkScoped(server.running)
  return server
})

async function look(url: string, scene: Scene): Promise<void> {
  mkdirSync(artifacts, { recursive: true })
  await using browser = await Browser.open(chromium!)
  const text = () => browser.evaluate<string>("document.body.innerText")
  const shows = (part: string) =>
    eventually(5_000, `the page shows ${part}`, async () => (await text()).includes(part)).catch(
      async (error: Error) => {
        throw new Error([error.message, ...browser.complaints, await text()].join("\n"))
      },
    )

  await browser.look({ width: 1120, height: 900, scheme: "light" })
  await browser.visit(url)
  await shows("AES-256-GCM")
  for (const part of [
    "10.53.0.1",
    "3 packets refused",
    "connected",
    "udp://192.0.2.1:1194",
    "10.8.0.6/24",
    "10.77.0.0/16",
    "replay",
    "new data key",
  ]) {
    await shows(part)
  }
  // What a server says is text, whatever it looks like.
  await shows("<img src=x onerror=alert(1)>")
  const lines = () => browser.evaluate<string>("document.getElementById('received-line').getAttribute('d')")

  await eventually(5_000, "the graph has a line", async () => (await lines()).split("L").length > 2)
  await browser.evaluate(`points = ${JSON.stringify(tenMinutes(scene.sources.counters()))}`)
  await eventually(5_000, "the graph has ten minutes", async () => (await lines()).split("L").length > 590)
  const at = await browser.evaluate<{ x: number; y: number }>(
    "document.getElementById('graph').getBoundingClientRect().toJSON()",
  )
  await browser.call("Input.dispatchMouseEvent", { type: "mouseMoved", x: at.x + 300, y: at.y + 50 })
  const reading = () => browser.evaluate<string>("document.getElementById('reading').textContent")
  await eventually(5_000, "the graph tells what is under the pointer", async () =>
    /↓ [\d.]+ [kM]bit\/s/.test(await reading()),
  )
  expect(await browser.evaluate<number>("document.querySelectorAll('#outages rect').length")).toBe(1)
  await Bun.write(join(artifacts, "page-light.png"), await browser.screenshot())
  await browser.look({ width: 1120, height: 900, scheme: "dark" })
  await Bun.write(join(artifacts, "page-dark.png"), await browser.screenshot())

  await browser.look({ width: 390, height: 844, scheme: "dark" })
  expect(await browser.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(390)
  await Bun.write(join(artifacts, "page-phone.png"), await browser.screenshot())

  scene.change({ phase: "waiting", lastError: "nothing heard from the server for 60 s", nextTry: Date.now() + 9_500 })
  await shows("nothing heard from the server for 60 s; next attempt in")
  await Bun.write(join(artifacts, "page-waiting.png"), await browser.screenshot())

  scene.change({ phase: "connected", handover: { since: Date.now() - 60_000 } })
  await shows("under way for 1 min")
  scene.change({ handover: undefined, lastHandover: { at: Date.now(), ok: false, message: "the login was refused" } })
  await shows("ago: the login was refused")

  expect(browser.requests.filter((asked) => !asked.startsWith(url) && !asked.startsWith("data:"))).toEqual([])
  expect(browser.complaints).toEqual([])
}

test.skipIf(chromium === undefined)(
  `a page whose sidecar is started anew finds it again${chromium === undefined ? " (no chromium)" : ""}`,
  async () => {
    const scene = makeScene()
    const open = async (port: number) => {
      const scope = Scope.makeUnsafe()
      const server = await Effect.runPromise(Scope.provide(start(scene, port), scope))
      return { port: server.port, stop: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
    }
    await using browser = await Browser.open(chromium!)
    const becomes = (phase: string) =>
      eventually(15_000, `the page says ${phase}`, async () => (await browser.evaluate("phase.textContent")) === phase)
    const first = await open(0)
    await browser.look({ width: 1120, height: 900, scheme: "light" })
    await browser.visit(`http://127.0.0.1:${first.port}/`)
    await becomes("connected")
    await first.stop()
    await becomes("not reachable")
    const second = await open(first.port)
    await becomes("connected")
    await second.stop()
  },
  60_000,
)

/** A history as the server sends it: the process of the test is too young to have one. */
function tenMinutes({ tunReadBytes = 0, tunWriteBytes = 0 }: Readonly<Record<string, number>>) {
  const now = Date.now()
  let [sent, received] = [tunReadBytes, tunWriteBytes]
  return Array.from({ length: 600 }, (_, second) => {
    const point = [now - second * 1000, sent, received]
    // While the tunnel was down, as the timeline tells.
    if (second >= 180 && second < 210) return point
    sent -= 4e5 + 2e5 * Math.sin(second / 25) + 6e4 * Math.sin(second * 2.3)
    received -= 1.8e6 + 1.2e6 * Math.sin(second / 40) + 3e5 * Math.sin(second * 1.7) + (second % 300 < 30 ? 4e6 : 0)
    return point
  }).reverse()
}

interface Scene {
  readonly sources: Sources
  readonly change: (status: Partial<Status>) => void
}

/** A tunnel with an hour behind it, and traffic that goes on. */
function makeScene(): Scene {
  const begin = Date.now()
  const ago = (seconds: number) => begin - seconds * 1000
  const told = (seconds: number, event: string, message: string) => ({ at: ago(seconds), event, message })
  let status: Status = {
    ...idle,
    phase: "connected",
    since: ago(3725),
    remote: "udp://192.0.2.1:1194 (vpn.example.com)",
    attempts: 3,
    connects: 2,
    tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    cipher: "AES-256-GCM",
    keyId: 1,
    keySince: ago(125),
    renegotiations: 1,
    addresses: ["10.8.0.6/24", "fd00:8::1004/64"],
    mtu: 1500,
    deadAfter: 60,
    dns: { servers: ["10.53.0.1"], ok: true, reason: "10.53.0.1 answers" },
    refused: { ipv4: 3, ipv6: 0 },
    routes: ["route replace 10.77.0.0/16 via 10.8.0.1 dev tun0", "route replace 0.0.0.0/1 via 10.8.0.1 dev tun0"],
    timeline: [
      told(3731, "starting", "Culvert 0.1.0, /etc/culvert/client.ovpn"),
      told(3730, "kill_switch_on", "the kill switch is on: nothing leaves the pod but through the tunnel"),
      told(3730, "device_ready", "tun device tun0 is open"),
      told(3729, "connecting", "connecting to udp://192.0.2.1:1194"),
      told(3725, "connected", "connected: AES-256-GCM, TLSv1.3 TLS_AES_256_GCM_SHA384, 10.8.0.6/24"),
      told(600, "network_note", "the server said: <img src=x onerror=alert(1)>"),
      told(210, "disconnected", "the server exits"),
      told(180, "connected", "connected: AES-256-GCM, TLSv1.3 TLS_AES_256_GCM_SHA384, 10.8.0.6/24"),
      told(125, "renegotiated", "new data key 1: AES-256-GCM, TLSv1.3 TLS_AES_256_GCM_SHA384"),
    ],
  }
  const counters = () => {
    const seconds = (Date.now() - begin) / 1000
    return {
      tunReadBytes: 81_000_000 + 150_000 * seconds,
      tunWriteBytes: 1_240_000_000 + 2_400_000 * seconds,
      heartbeat: 0,
      lastReceive: 1,
      "drop:replay": 12,
      "drop:authentication": 1,
      "drop:short": 0,
    }
  }
  return {
    sources: { status: () => status, counters, now: () => 200, listen: () => Effect.void },
    change: (change) => {
      status = { ...status, ...change }
    },
  }
}
