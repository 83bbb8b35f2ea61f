/**
 * The network between the two ends of a recording, run in the client's namespace:
 *
 *   bun relay.ts FILE SERVER_NAMESPACE
 *
 * Makes the tun "rec" at each end and carries packets from one to the other; what an end hands over is recorded, cut by the
 * kernel, and arrives packet by packet. A line of standard input begins a scenario: {"name", "mtu", and what the network does
 * to packets, as probabilities}; an empty one ends the recording. Each is answered by a line.
 */
import { createInterface } from "node:readline"
import {
  Arena,
  errno,
  errnoName,
  openTun,
  POLLIN,
  Poll,
  readFd,
  setTunOffload,
  TunOffload,
  writeFd,
} from "../../../src/linux/index.ts"
import { SeededRandom } from "../network.ts"
import { type End, RecordingWriter } from "./format.ts"
import { KernelCut } from "./kernelcut.ts"

export interface Network {
  readonly name: string
  readonly mtu: number
  readonly loss?: number
  readonly duplication?: number
  /** A packet goes behind the next one. */
  readonly reordering?: number
  /** Congestion is marked on packets that may be marked. */
  readonly marking?: number
}

/** From one tun to the other. */
interface Way {
  readonly from: End
  readonly fd: number
  readonly to: number
  held: Uint8Array | undefined
}

export const addresses = {
  client: { ipv4: "10.91.0.2", ipv6: "fd91::2" },
  server: { ipv4: "10.91.0.1", ipv6: "fd91::1" },
} as const

async function main(): Promise<void> {
  const [file = "", serverNamespace = ""] = process.argv.slice(2)
  const recording = new RecordingWriter()
  const random = new SeededRandom(1)
  const poll = new Poll(2)
  const [client, server] = [openEnd("recc"), openEnd("recs")]
  ip("link", "set", "recs", "netns", serverNamespace)
  for (const [netns, device, end] of [
    [[], "recc", "client"],
    [["-n", serverNamespace], "recs", "server"],
  ] as const) {
    ip(...netns, "link", "set", device, "addrgenmode", "none")
    ip(...netns, "link", "set", device, "name", "rec", "txqueuelen", "5000", "up")
    ip(...netns, "address", "add", `${addresses[end].ipv4}/24`, "dev", "rec")
    ip(...netns, "address", "add", `${addresses[end].ipv6}/64`, "dev", "rec", "nodad")
  }
  using kernel = new KernelCut()
  let network: Network | undefined
  const directions: ReadonlyArray<Way> = [
    { from: "client", fd: client, to: server, held: undefined },
    { from: "server", fd: server, to: client, held: undefined },
  ]

  const carry = (index: number): void => {
    const direction = directions[index]!
    for (let reads = 0; reads < 64; reads++) {
      const length = readFd(direction.fd, memory.address, memory.length)
      if (length <= 0) break
      if (network === undefined) continue
      const bytes = memory.bytes.slice(0, length)
      const cut = kernel.cut(bytes)
      recording.read(direction.from, { bytes, cut })
      for (const packet of cut) pass(direction, packet, network)
    }
    // Nothing waits for a packet that may never come.
    release(direction)
  }

  const pass = (direction: Way, packet: Uint8Array, network: Network): void => {
    const { loss = 0, duplication = 0, reordering = 0, marking = 0 } = network
    if (random.next() < loss) return
    const arriving = random.next() < marking ? marked(packet) : packet
    if (direction.held === undefined && random.next() < reordering) {
      direction.held = arriving
      return
    }
    arrive(direction, arriving)
    release(direction)
    if (random.next() < duplication) arrive(direction, arriving)
  }

  const release = (direction: Way): void => {
    const { held } = direction
    direction.held = undefined
    if (held !== undefined) arrive(direction, held)
  }

  const arrive = ({ from, to }: Way, packet: Uint8Array): void => {
    recording.arrived(from, packet)
    memory.bytes.fill(0, 0, VNET_HEADER)
    memory.bytes.set(packet, VNET_HEADER)
    if (writeFd(to, memory.address, VNET_HEADER + packet.length) < 0)
      throw new Error(`writing to the tun: ${errnoName(errno())}`)
  }

  const turn = (): void => {
    poll.set(0, client, POLLIN)
    poll.set(1, server, POLLIN)
    if (poll.wait(1) > 0) for (const index of [0, 1]) if (poll.events(index) !== 0) carry(index)
    setImmediate(turn)
  }
  turn()
  console.log("ready")

  for await (const line of createInterface(process.stdin)) {
    if (line === "") break
    network = JSON.parse(line) as Network
    for (const netns of [[], ["-n", serverNamespace]]) ip(...netns, "link", "set", "rec", "mtu", String(network.mtu))
    recording.scenario(network.name)
    console.log(`recording ${network.name}`)
  }
  console.log(`recorded ${recording.save(file)} bytes`)
  process.exit(0)
}

function openEnd(name: string): number {
  const { fd } = openTun({ name })
  const { checksum, tso4, tso6, uso4, uso6 } = TunOffload
  if (!setTunOffload(fd, checksum | tso4 | tso6 | uso4 | uso6)) throw new Error("the tun has no offloads for UDP")
  return fd
}

/** Congestion experienced, where the sender said that it would listen (RFC 3168). */
function marked(packet: Uint8Array): Uint8Array {
  const copy = packet.slice()
  const view = new DataView(copy.buffer)
  if (copy[0]! >> 4 === 6) {
    if ((copy[1]! & 0x30) !== 0) copy[1]! |= 0x30
    return copy
  }
  if ((copy[1]! & 3) === 0) return copy
  copy[1]! |= 3
  view.setUint16(10, 0)
  let sum = 0
  for (let at = 0; at < (copy[0]! & 15) * 4; at += 2) sum += view.getUint16(at)
  view.setUint16(10, ~((sum & 0xffff) + (sum >> 16)))
  return copy
}

function ip(...parameters: ReadonlyArray<string>): void {
  const { success, stderr } = Bun.spawnSync(["ip", ...parameters])
  if (!success) throw new Error(`ip ${parameters.join(" ")}: ${stderr.toString().trim()}`)
}

const VNET_HEADER = 10
const arena = new Arena(256 * 1024)
const memory = arena.allocate(70_000)

if (import.meta.main) await main()
