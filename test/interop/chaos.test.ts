/**
 * Faults at random, two at a time, under a client that carries traffic: what it says of itself is true at every moment, nothing
 * leaves beside the tunnel, it always comes back, and it ends with what it began with. `CHAOS_SEED` repeats a run, `CHAOS_SECONDS`
 * makes a long one: `npm run chaos`.
 */
import { expect } from "bun:test"
import { eventually } from "../support/child.ts"
import { outer } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { SeededRandom } from "../support/network.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { Witness } from "../support/witness.ts"
import { testCulvert, useBench } from "./bench.ts"
import { type Fault, insideFaults, outsideFaults, victim } from "./chaos.ts"
import { held, host, Memory } from "./holdings.ts"

const bench = useBench({ defaultRoute: true })
const seconds = Number(process.env.CHAOS_SECONDS ?? 12)
const seed = Number(process.env.CHAOS_SEED ?? 5)
const isLong = process.env.CHAOS_SECONDS !== undefined

testCulvert(
  `${seconds} seconds of faults, seed ${seed}: traffic flows within 15 s of the last one, and nothing has grown`,
  async () => {
    const { lab } = bench
    const options: ServerOptions = { keepalive: [1, 3], push: ["redirect-gateway def1"] }
    await using server = await bench.serve(options)
    await using subject = await victim(bench, options)
    const { client } = subject
    await using leaks = await Leaks.watch(lab)
    await using witness = await Witness.start(lab, client.child.pid, tunnel.ipv4)
    const before = { host: await host(lab, client), held: held(client.child.pid) }
    const memory = new Memory(client.child.pid)

    const end = performance.now() + seconds * 1000
    let count = 0
    /** One after the other, each kind once before any comes again. */
    const lane = async (seed: number, kinds: ReadonlyArray<Fault>) => {
      const random = new SeededRandom(seed)
      for (;;) {
        for (const { name, may, happen } of shuffled(kinds, random)) {
          if (performance.now() > end) return
          if (may?.() === false) continue
          if (isLong) console.log(new Date().toISOString(), name)
          await happen(random)
          count++
          expect(client.child.running, `${name}\n${client.child.tail()}`).toBe(true)
        }
      }
    }
    const longest = isLong ? 10_000 : 2000
    await Promise.all([lane(seed, outsideFaults(lab, server, longest)), lane(seed + 1, insideFaults(subject, longest))])

    await eventually(15_000, "traffic, and everybody says so", async () => {
      await ping(lab.client, tunnel.ipv4, 1)
      return (await client.probe("/readyz")) === 200 && (await client.status()).phase === "connected"
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${client.child.tail(60)}`)
    })
    const testimony = await witness.finish()
    expect(testimony.contradictions, client.child.tail(40)).toEqual([])
    // It came to know something: most looks were at one state, and there was traffic.
    expect(testimony.judged).toBeGreaterThan(testimony.looks / 2)
    expect(testimony.replies).toBeGreaterThan(seconds)
    expect(leaks.since(0)).toEqual([])
    await bench.carriesTraffic()
    // A link that drains for connections of before is given up half a minute after their last packet, or with a pause.
    if (!isLong) for (const wish of ["pause", "resume"] as const) await subject.ask(wish)
    await eventually(60_000, "all is as it was", async () => {
      expect(await host(lab, client)).toEqual(before.host)
      const { descriptors, threads, ...rest } = held(client.child.pid)
      const { descriptors: atFirst, threads: threadsAtFirst, ...restAtFirst } = before.held
      // Bun's own pools grow and shrink by themselves: fewer than at the start is as good.
      expect(descriptors).toBeLessThanOrEqual(atFirst)
      expect(threads).toBeLessThanOrEqual(threadsAtFirst)
      expect(rest).toEqual(restAtFirst)
      return true
    })
    if (isLong) console.log(`${count} faults, ${JSON.stringify({ ...testimony, memory: memory.samples })}`)
    memory.judge()
    expect((await client.stop()).code).toBe(0)
    // The capture sees what nobody refuses.
    await lab.client.succeed(["nft", "delete", "table", "inet", "culvert"])
    await lab.client.succeed(["bash", "-c", `echo leak >/dev/udp/${outer.server.ipv4}/9`])
    await leaks.sees(/\.9: UDP/)
  },
  seconds * 1000 + 120_000,
)

function shuffled<A>(all: ReadonlyArray<A>, random: SeededRandom): ReadonlyArray<A> {
  const rest = [...all]
  return all.map(() => rest.splice(random.below(rest.length), 1)[0]!)
}
