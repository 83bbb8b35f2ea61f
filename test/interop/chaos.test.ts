/**
 * Faults at random, one after the other, under a client that carries traffic: it always comes back, and it ends with what it
 * began with. `CHAOS_SEED` repeats a run, `CHAOS_SECONDS` makes a long one: `npm run chaos`.
 */
import { expect } from "bun:test"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { networkState } from "../support/lab.ts"
import { SeededRandom } from "../support/network.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const seconds = Number(process.env.CHAOS_SECONDS ?? 20)
const seed = Number(process.env.CHAOS_SEED ?? 5)

testCulvert(
  `${seconds} seconds of faults, seed ${seed}: traffic flows within 15 s of the last one, and nothing has grown`,
  async () => {
    const { lab } = bench
    const options: ServerOptions = { keepalive: [1, 3], push: ["redirect-gateway def1"] }
    await using server = await bench.serve(options)
    await using client = bench.connect(options, { lines: ["connect-timeout 3", "connect-retry 1 2"] }, crashable)
    await client.ready()
    await using load = lab.client.start("load", ["ping", "-n", "-i", "0.02", tunnel.ipv4])
    await load.line(/bytes from/)
    const memory = client.residentMemory()
    const before = { routes: await routes(), ...held(client.child.pid) }

    const random = new SeededRandom(seed)
    const pick = (below: number) => Math.floor(random.next() * below)
    const pause = () => Bun.sleep(200 + pick(2500))
    let calmUntil = 0
    const faults: Readonly<Record<string, () => Promise<void>>> = {
      "the server is killed and started": async () => {
        await server.kill()
        await pause()
        await server.start()
      },
      "the server is stopped and started": async () => {
        await server.stop()
        await server.start()
      },
      "the server hangs": async () => {
        server.suspend()
        await pause()
        server.resume()
      },
      "nothing passes": () => dropping(100, pause),
      "three packets of ten are lost": () => dropping(30, pause),
      "the firewall refuses": async () => {
        const rule = "add rule inet chaos out udp dport 1194 reject"
        await lab.client.succeed(["nft", `add table inet chaos; ${chain}; ${rule}`])
        await pause()
        await lab.client.succeed(["nft", "delete table inet chaos"])
      },
      "the link goes and comes": async () => {
        await lab.server.succeed(["ip", "link", "set", "outer", "down"])
        await pause()
        await lab.server.succeed(["ip", "link", "set", "outer", "up"])
        await lab.server.succeed(["ip", "address", "replace", "fd90::1/64", "dev", "outer", "nodad"])
      },
      "SIGHUP, many of them": async () => {
        for (let count = 0; count < 10; count++) client.child.signal("SIGHUP")
        await pause()
      },
      "the data plane crashes": async () => {
        // Five within a minute are the end, on purpose.
        if (performance.now() < calmUntil) return
        calmUntil = performance.now() + 20_000
        client.child.signal("SIGUSR2")
        await pause()
      },
    }
    const names = Object.keys(faults)
    const end = performance.now() + seconds * 1000
    for (let round = pick(names.length); performance.now() < end; round++) {
      const name = names[round % names.length]!
      await faults[name]!()
      expect(client.child.running, `${name}\n${client.child.tail()}`).toBe(true)
    }

    await eventually(15_000, "traffic", async () => (await ping(lab.client, tunnel.ipv4, 1)) ?? true).catch(
      async (error: Error) => {
        throw new Error(`${error.message}\n${client.child.tail(60)}\n${await routes()}`)
      },
    )
    await client.becomes("/readyz", 200)
    expect(await client.status()).toMatchObject({ phase: "connected" })
    await bench.carriesTraffic()
    await eventually(5_000, "all is as it was", async () => {
      const { threads, ...after } = { routes: await routes(), ...held(client.child.pid) }
      const { threads: threadsBefore, ...wanted } = before
      expect(after).toEqual(wanted)
      // Bun's own pool grows and shrinks by itself: fewer than at the start is as good.
      expect(threads).toBeLessThanOrEqual(threadsBefore)
      return true
    })
    expect(client.residentMemory()).toBeLessThan(memory * 1.5)
    await load.stop("SIGKILL")
    expect((await client.stop()).code).toBe(0)
  },
  seconds * 1000 + 40_000,
)

/** SIGUSR2 crashes the worker of the data plane. */
const crashable = { environment: { BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}` } }
const chain = "add chain inet chaos out { type filter hook output priority 10; }"

/** Descriptors, and the threads that are not of Bun's own pool, which grows and shrinks. */
const held = (pid: number) => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  threads: readdirSync(`/proc/${pid}/task`).filter((task) => task !== String(pid)).length,
})

/** The addresses depend on what the server remembers; what is ours is the number and the form of the lines. */
const routes = async () =>
  (await networkState(bench.lab.client)).replace(/10\.66\.0\.\d+/g, "10.66.0.x").replace(/fd66::1\w+/g, "fd66::x")

const dropping = async (percent: number, meanwhile: () => Promise<void>) => {
  const { server } = bench.lab
  const drop = `add rule inet chaos out udp sport 1194 numgen random mod 100 <= ${percent - 1} drop`
  const input = "add chain inet chaos in { type filter hook input priority 10; }"
  const take = `add rule inet chaos in udp dport 1194 numgen random mod 100 <= ${percent - 1} drop`
  await server.succeed(["nft", `add table inet chaos; ${chain}; ${drop}; ${input}; ${take}`])
  await meanwhile()
  await server.succeed(["nft", "delete table inet chaos"])
}
