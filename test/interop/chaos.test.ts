/**
 * Faults at random, one after the other, under a client that carries traffic: it always comes back, and it ends with what it
 * began with. `CHAOS_SEED` repeats a run, `CHAOS_SECONDS` makes a long one: `npm run chaos`.
 */
import { expect } from "bun:test"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Child, eventually } from "../support/child.ts"
import type { Client } from "../support/culvert.ts"
import { networkState, outer } from "../support/lab.ts"
import { SeededRandom } from "../support/network.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const seconds = Number(process.env.CHAOS_SECONDS ?? 12)
const seed = Number(process.env.CHAOS_SEED ?? 5)
const isLong = process.env.CHAOS_SECONDS !== undefined

testCulvert(
  `${seconds} seconds of faults, seed ${seed}: traffic flows within 15 s of the last one, and nothing has grown`,
  async () => {
    const { lab } = bench
    const options: ServerOptions = { keepalive: [1, 3], push: ["redirect-gateway def1"] }
    await using server = await bench.serve(options)
    const proofs = [
      lab.pki.client,
      await lab.pki.authority.issue({ name: "chaos", commonName: "chaos", usage: "client" }),
    ]
    const [certificate, key] = ["chaos-now.crt", "chaos-now.key"].map((name) => join(lab.directory, name))
    const prove = (proof: (typeof proofs)[number]) => {
      writeFileSync(certificate!, proof.certificate)
      writeFileSync(key!, proof.key)
    }
    prove(proofs[0]!)
    const lines = ["connect-timeout 3", "connect-retry 1 2", `cert ${certificate}`, `key ${key}`]
    await using client = bench.connect(options, { lines, certificate: "none" }, crashable)
    const file = join(lab.directory, readdirSync(lab.directory).findLast((name) => /^client-\d+\.ovpn$/.test(name))!)
    const text = readFileSync(file, "utf8")
    await client.ready()
    await using load = lab.client.start("load", ["ping", "-n", "-i", "0.02", tunnel.ipv4])
    await load.line(/bytes from/)
    const memory = client.residentMemory()
    const before = { network: { routes: await routes(), firewall: await firewall() }, ...held(client.child.pid) }
    const said = watch(client, load)

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
      "another certificate is mounted": async () => {
        proofs.reverse()
        prove(proofs[0]!)
        await pause()
      },
      "another configuration is mounted, and one that is not valid": async () => {
        writeFileSync(file, text.replace("verb 4", `verb 4\nreneg-sec ${3000 + pick(500)}`))
        await pause()
        writeFileSync(file, `${text}\nno-such-directive\n`)
        await pause()
        writeFileSync(file, text)
      },
      "the pod's address changes": async () => {
        const [old, other] = [`${outer.client.ipv4}/24`, "10.90.0.77/24"] as const
        await readdress(old, other)
        await pause()
        await readdress(other, old)
      },
      "the data plane crashes": async () => {
        // Five within a minute are the end, on purpose.
        if (performance.now() < calmUntil) return
        calmUntil = performance.now() + 20_000
        client.child.signal("SIGUSR2")
        await pause()
      },
    }
    /** Deleting the first address of a network takes the others of it along. */
    const readdress = async (old: string, other: string) => {
      await lab.client.succeed(["ip", "address", "replace", other, "dev", "outer"])
      await lab.client.succeed(["ip", "address", "del", old, "dev", "outer"])
      await lab.client.succeed(["ip", "address", "replace", other, "dev", "outer"])
    }
    const names = Object.keys(faults)
    const end = performance.now() + seconds * 1000
    let count = 0
    for (let round = pick(names.length); performance.now() < end; round++) {
      const name = names[round % names.length]!
      count++
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
    expect(await said.stop(), client.child.tail(40)).toEqual([])
    await bench.carriesTraffic()
    // A link that drains for connections of before is given up half a minute after their last packet.
    await eventually(60_000, "all is as it was", async () => {
      const { descriptors, threads } = held(client.child.pid)
      expect({ routes: await routes(), firewall: await firewall() }).toEqual(before.network)
      // Bun's own pools grow and shrink by themselves: fewer than at the start is as good.
      expect(descriptors).toBeLessThanOrEqual(before.descriptors)
      expect(threads).toBeLessThanOrEqual(before.threads)
      return true
    })
    expect(client.residentMemory()).toBeLessThan(memory * 1.5)
    if (isLong) console.log(`${count} faults, resident ${memory} and then ${client.residentMemory()} bytes`)
    await load.stop("SIGKILL")
    expect((await client.stop()).code).toBe(0)
  },
  seconds * 1000 + 120_000,
)

/**
 * Asks again and again what the client says of itself, and compares: its answers with each other, and with what passes. Gives
 * the contradictions. Between two changes all of them are of one moment; a contradiction that does not stay is none.
 */
function watch(client: Client, load: Child) {
  const contradictions: Array<string> = []
  let isOver = false
  let heard = { replies: 0, at: performance.now() }
  /** The looks without an agreement, one after the other. */
  let problems: Array<{ readonly problem: string; readonly at: number }> = []
  const look = async () => {
    const said = await client.says()
    const replies = load.lines.length
    const now = performance.now()
    if (replies !== heard.replies || said?.isReady !== true) heard = { replies, at: now }
    const problem = contradiction(said, now - heard.at)
    problems = problem === undefined ? [] : [...problems, { problem, at: now }]
    if (problem !== undefined && problems.length > 4 && now - problems[0]!.at > 3000) {
      contradictions.push(`${new Date().toISOString()} ${problem}`)
    }
  }
  const running = (async () => {
    for (; !isOver; await Bun.sleep(250)) await look()
  })()
  return {
    stop: async () => {
      isOver = true
      await running
      return contradictions
    },
  }
}

function contradiction(said: Awaited<ReturnType<Client["says"]>>, silentMs: number): string | undefined {
  if (said === undefined) return "no answer"
  const { isReady, readyMetric, connectedMetric, phase } = said
  if (isReady !== readyMetric) return `/readyz says ${isReady}, its metric ${readyMetric}`
  if (connectedMetric !== (phase === "connected")) return `${phase}, but the metric says ${connectedMetric}`
  if (isReady && phase !== "connected") return `ready while ${phase}`
  return isReady && silentMs > 8000 ? `ready for ${Math.round(silentMs)} ms, and nothing has passed` : undefined
}

/** SIGUSR2 crashes the worker of the data plane. */
const crashable = { environment: { BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}` } }
const chain = "add chain inet chaos out { type filter hook output priority 10; }"

/** Descriptors, and the threads that are not of Bun's own pool, which grows and shrinks. */
const held = (pid: number) => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  threads: readdirSync(`/proc/${pid}/task`).filter((task) => task !== String(pid)).length,
})

/** Our table, without what it has counted. */
const firewall = async () =>
  (await bench.lab.client.succeed(["nft", "list", "table", "inet", "culvert"]))
    .replace(/packets \d+ bytes \d+/g, "")
    .replace(/10\.66\.0\.\d+/g, "10.66.0.x")
    .replace(/fd66::1\w+/g, "fd66::x")

/**
 * The addresses depend on what the server remembers; what is ours is the number and the form of the lines. That a route names
 * the source that the kernel would take anyway remains from a time with two addresses. The server's own route went with the
 * device's last address, when the pod got another one; it is on the link, so the next connection does without.
 */
const routes = async () =>
  (await networkState(bench.lab.client))
    .replace(/10\.66\.0\.\d+/g, "10.66.0.x")
    .replace(/fd66::1\w+/g, "fd66::x")
    .replace(/ src (10\.66\.0\.|fd66::)x/g, "")
    .replace(/^10\.90\.0\.1 dev outer .*\n/m, "")

const dropping = async (percent: number, meanwhile: () => Promise<void>) => {
  const { server } = bench.lab
  const drop = `add rule inet chaos out udp sport 1194 numgen random mod 100 <= ${percent - 1} drop`
  const input = "add chain inet chaos in { type filter hook input priority 10; }"
  const take = `add rule inet chaos in udp dport 1194 numgen random mod 100 <= ${percent - 1} drop`
  await server.succeed(["nft", `add table inet chaos; ${chain}; ${drop}; ${input}; ${take}`])
  await meanwhile()
  await server.succeed(["nft", "delete table inet chaos"])
}
