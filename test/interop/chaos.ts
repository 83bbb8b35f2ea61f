/** What may happen to a client: outside of it, and to itself. Each fault is over when it resolves. */
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Client } from "../support/culvert.ts"
import { type Lab, outer } from "../support/lab.ts"
import type { SeededRandom } from "../support/network.ts"
import { clientConfiguration, type OpenVpnServer, type ServerOptions } from "../support/openvpn.ts"
import type { Certificate } from "../support/pki.ts"
import type { Bench } from "./bench.ts"

export interface Fault {
  readonly name: string
  /** False: not now. */
  readonly may?: () => boolean
  readonly happen: (random: SeededRandom) => Promise<void>
}

/** A client to which everything may happen, and what it was started with. */
export interface Victim extends AsyncDisposable {
  readonly client: Client
  readonly file: string
  readonly configuration: string
  /** Puts a certificate where the configuration says that it is. */
  readonly prove: (proof: Certificate) => void
  readonly proofs: readonly [Certificate, Certificate]
  /** Names the part that SIGUSR2 crashes. */
  readonly aim: (part: Part) => void
  readonly ask: (wish: "reconnect" | "pause" | "resume") => Promise<void>
}

const parts = ["worker", "http", "control", "dns"] as const
type Part = (typeof parts)[number]

/** Resolves when it is ready. */
export async function victim({ lab }: Bench, options: ServerOptions): Promise<Victim> {
  const proofs = [
    lab.pki.client,
    await lab.pki.authority.issue({ name: "chaos", commonName: "chaos", usage: "client" }),
  ] as const
  const prove = (proof: Certificate) => {
    lab.write("chaos-now.crt", proof.certificate)
    lab.write("chaos-now.key", proof.key)
  }
  prove(proofs[0])
  const paths = ["crt", "key"].map((kind) => join(lab.directory, `chaos-now.${kind}`))
  // The server may die in the middle of a handshake, which is otherwise given a minute.
  const limits = ["connect-timeout 3", "hand-window 6", "connect-retry 1 2"]
  const lines = [...limits, `cert ${paths[0]}`, `key ${paths[1]}`]
  const configuration = clientConfiguration(lab, options, { lines, certificate: "none" })
  const file = lab.write("chaos.ovpn", configuration)
  const aim = (part: Part) => lab.write("chaos-part", part)
  aim("worker")
  const environment = {
    CRASH: join(lab.directory, "chaos-part"),
    CULVERT_CREDENTIALS: dirname(lab.write("control/control-token", token, 0o600)),
    BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}`,
  }
  const client = Client.startFile(lab, file, { environment })
  await client.ready()
  const ask = async (wish: string) => {
    const url = `http://127.0.0.1:4912/${wish}`
    // The control server may be crashing.
    const retry = ["--retry", "10", "--retry-delay", "1", "--retry-all-errors"]
    const request = ["-X", "POST", "-H", `Authorization: Bearer ${token}`, url]
    await lab.client.succeed(["curl", "--silent", "--fail", ...retry, ...request])
  }
  const dispose = () => client[Symbol.asyncDispose]()
  return { client, file, configuration, prove, proofs, aim, ask, [Symbol.asyncDispose]: dispose }
}

/** To the server, to the network, to the pod. `longest`: ms. */
export function outsideFaults(lab: Lab, server: OpenVpnServer, longest: number): ReadonlyArray<Fault> {
  const [own, other] = [`${outer.client.ipv4}/24`, "10.90.0.77/24"] as const
  return named({
    "nothing happens outside": () => Bun.sleep(longest),
    "the server is killed and started": async (random) => {
      await server.kill()
      await pause(random)
      await server.start()
    },
    "the server is stopped and started": async () => {
      await server.stop()
      await server.start()
    },
    "the server hangs": async (random) => {
      server.suspend()
      await pause(random)
      server.resume()
    },
    "nothing passes for a while": (random) => dropping(lab, 100, () => pause(random)),
    "nothing passes for long": () => dropping(lab, 100, () => Bun.sleep(longest)),
    "three packets of ten are lost": () => dropping(lab, 30, () => Bun.sleep(longest)),
    "the firewall refuses, again and again": async (random) => {
      const rule = "add rule inet chaos out udp dport 1194 reject"
      for (let count = 1 + random.below(5); count > 0; count--) {
        await lab.client.succeed(["nft", `add table inet chaos; ${chain}; ${rule}`])
        await Bun.sleep(random.below(800))
        await lab.client.succeed(["nft", "delete table inet chaos"])
        await Bun.sleep(random.below(400))
      }
    },
    "the link goes and comes": async (random) => {
      await lab.server.succeed(["ip", "link", "set", "outer", "down"])
      await pause(random)
      await lab.server.succeed(["ip", "link", "set", "outer", "up"])
      await lab.server.succeed(["ip", "address", "replace", `${outer.server.ipv6}/64`, "dev", "outer", "nodad"])
    },
    "the pod's address changes": async (random) => {
      await readdress(lab, own, other)
      await pause(random)
      await readdress(lab, other, own)
    },
  })
}

/** By signals, files and requests, and crashes of its parts. `longest`: ms. */
export function insideFaults(victim: Victim, longest: number): ReadonlyArray<Fault> {
  const { client, file, configuration, prove, proofs, aim, ask } = victim
  let [next, present] = [proofs[1], proofs[0]]
  const crash = (part: Part): Fault => {
    let calmUntil = 0
    return {
      name: `crash: ${part}`,
      // Five of one part within a minute are the end, on purpose.
      may: () => performance.now() > calmUntil,
      happen: async (random) => {
        calmUntil = performance.now() + 20_000
        aim(part)
        client.child.signal("SIGUSR2")
        await pause(random)
      },
    }
  }
  const others = named({
    "nothing happens inside": () => Bun.sleep(longest),
    "SIGHUP, many of them": async (random) => {
      for (let count = 0; count < 10; count++) {
        client.child.signal("SIGHUP")
        await Bun.sleep(random.below(100))
      }
      await pause(random)
    },
    "another certificate is mounted": async (random) => {
      ;[next, present] = [present, next]
      prove(present)
      await pause(random)
    },
    "another configuration is mounted, and one that is not valid": async (random) => {
      writeFileSync(file, configuration.replace("verb 4", `verb 4\nreneg-sec ${3000 + random.below(500)}`))
      await pause(random)
      writeFileSync(file, `${configuration}\nno-such-directive\n`)
      await pause(random)
      writeFileSync(file, configuration)
    },
    "it is asked to connect anew": async (random) => {
      await ask("reconnect")
      await pause(random)
    },
    "it is paused, and goes on": async (random) => {
      await ask("pause")
      await pause(random)
      await ask("resume")
    },
    "it is frozen": async (random) => {
      client.child.signal("SIGSTOP")
      await Bun.sleep(random.below(longest))
      client.child.signal("SIGCONT")
    },
  })
  return [...others, ...parts.map(crash)]
}

const named = (faults: Readonly<Record<string, Fault["happen"]>>): ReadonlyArray<Fault> =>
  Object.entries(faults).map(([name, happen]) => ({ name, happen }))

const pause = (random: SeededRandom) => Bun.sleep(200 + random.below(2500))

/** Deleting the first address of a network takes the others of it along, and the default route. */
async function readdress(lab: Lab, old: string, other: string): Promise<void> {
  await lab.client.succeed(["ip", "address", "replace", other, "dev", "outer"])
  await lab.client.succeed(["ip", "address", "del", old, "dev", "outer"])
  await lab.client.succeed(["ip", "address", "replace", other, "dev", "outer"])
  await lab.client.succeed(["ip", "route", "replace", "default", "via", outer.server.ipv4])
}

/** At the server, in both directions. */
async function dropping({ server }: Lab, percent: number, meanwhile: () => Promise<unknown>): Promise<void> {
  const some = percent === 100 ? "" : `numgen random mod 100 < ${percent}`
  const drop = `add rule inet chaos out udp sport 1194 ${some} drop`
  const input = "add chain inet chaos in { type filter hook input priority 10; }"
  const take = `add rule inet chaos in udp dport 1194 ${some} drop`
  await server.succeed(["nft", `add table inet chaos; ${chain}; ${drop}; ${input}; ${take}`])
  await meanwhile()
  await server.succeed(["nft", "delete table inet chaos"])
}

const chain = "add chain inet chaos out { type filter hook output priority 10; }"
const token = "c0ffee-c0ffee-c0ffee"
