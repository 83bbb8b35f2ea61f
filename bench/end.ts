/**
 * One end of a tunnel with fixed keys: Culvert's data plane without a protocol above it.
 *
 *   bun bench/end.ts '{"role":"client","local":"10.90.0.2","remote":"10.90.0.1","address":"10.67.0.2/24","mtu":1400}'
 *
 * Says "ready" when it carries packets and stays until it is told to stop. At SIGUSR2 it measures how long commands to the
 * worker take, and says so: "commands [MS, ...]".
 */
import { createLinkCounterMemory, startDataPlane } from "../src/dataplane/index.ts"
import { openTun, openUdpSocket } from "../src/linux/index.ts"
import type { DataKey, DirectionKey } from "../src/protocol/output.ts"

export interface EndOptions {
  readonly role: "client" | "server"
  /** Outer addresses; both ends use port 1195. */
  readonly local: string
  readonly remote: string
  /** Inner addresses with their prefix lengths. */
  readonly addresses: ReadonlyArray<string>
  readonly mtu: number
}

function run({ role, local, remote, addresses, mtu }: EndOptions): void {
  const tun = openTun({ name: "tun67" })
  for (const address of addresses)
    ip("address", "add", address, "dev", tun.name, ...(address.includes(":") ? ["nodad"] : []))
  ip("link", "set", tun.name, "mtu", String(mtu), "txqueuelen", "1000", "up")
  let answered = (_: number) => {}
  const plane = startDataPlane({
    onEvent: (event) => {
      if (event.type === "pong") answered(event.number)
      if (event.type === "transportFailed" || event.type === "tunFailed") throw new Error(event.message)
    },
    onCrash: (message) => {
      throw new Error(message)
    },
  })
  const fd = openUdpSocket({ family: 4, address: remote, port: PORT, local: { address: local, port: PORT } })
  plane.send({ type: "attachTun", fd: tun.fd })
  const counters = createLinkCounterMemory()
  plane.send({ type: "attachTransport", generation: 1, fd, transport: "udp", counters })
  plane.send({ type: "installKey", generation: 1, key: key(role), replayWindow: { packets: 64, seconds: 15 } })
  plane.send({ type: "useKey", generation: 1, keyId: 0 })
  plane.send({ type: "carry", generation: 1 })
  console.log("ready")
  process.on("SIGUSR2", async () => {
    const times: Array<number> = []
    for (let number = 0; number < COMMANDS; number++) {
      const begin = performance.now()
      plane.send({ type: "sync", number })
      await new Promise<number>((resolve) => {
        answered = resolve
      })
      times.push(performance.now() - begin)
    }
    console.log(`commands ${JSON.stringify(times)}`)
  })
  process.on("SIGTERM", () => void plane.stop().then(() => process.exit(0)))
}

function key(role: "client" | "server"): DataKey {
  const direction = (seed: number): DirectionKey => ({
    cipherKey: Uint8Array.from({ length: 32 }, (_, i) => seed + i),
    implicitIv: Uint8Array.from({ length: 8 }, (_, i) => seed + 40 + i),
  })
  const [send, receive] = role === "client" ? [1, 101] : [101, 1]
  return { keyId: 0, cipher: "AES-256-GCM", peerId: 7, send: direction(send), receive: direction(receive) }
}

function ip(...parameters: ReadonlyArray<string>): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...parameters])
  if (exitCode !== 0) throw new Error(`ip ${parameters.join(" ")}: ${stderr.toString().trim()}`)
}

const PORT = 1195
const COMMANDS = 200

if (import.meta.main) run(JSON.parse(process.argv[2]!) as EndOptions)
