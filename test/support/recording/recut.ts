/**
 * Today's kernel beside a recording and generated packets, run in a network namespace of its own: `bun recut.ts FILE SEEDS`. What
 * the tun gave is cut by it and by us; what arrived is put together by us, written to a real tun, and cut by it again. Prints
 * the counts as JSON, and what differs.
 */
import { checksums } from "../../../src/dataplane/checksum.ts"
import { Coalescer } from "../../../src/dataplane/coalesce.ts"
import { Counters, counterReader, createCounterMemory } from "../../../src/dataplane/counters.ts"
import { Offloads } from "../../../src/dataplane/offload.ts"
import { Segmenter } from "../../../src/dataplane/segment.ts"
import { TunPort } from "../../../src/dataplane/tunport.ts"
import { Arena } from "../../../src/linux/index.ts"
import { mixture, nearlyContinuous } from "../../dataplane/mixture.ts"
import { SeededRandom, seeds } from "../network.ts"
import { difference, orderedDifference } from "./flows.ts"
import { readRecording } from "./format.ts"
import { KernelCut } from "./kernelcut.ts"

export interface Recut {
  readonly reads: number
  readonly packets: number
  /** Of what of the recording was put together. */
  readonly writes: number
  /** Offloads that were given up. */
  readonly off: ReadonlyArray<string>
  readonly drops: Readonly<Record<string, number>>
  readonly differences: ReadonlyArray<string>
}

const BATCH = 64
const arena = new Arena(4 * 1024 * 1024)
const sums = checksums(arena)
const segmenter = new Segmenter(arena, sums)
const laid = arena.allocate(70_000)
const slots = arena.allocate(BATCH * 10_000)
const memory = createCounterMemory()
const off: Array<string> = []
const offloads = new Offloads([], (event) => event.type === "offload" && !event.isOn && off.push(event.name))
using kernel = new KernelCut()
const tun = new TunPort(new Counters(memory), offloads, () => {})
tun.attach(kernel.fd)
const coalescer = new Coalescer(arena, sums, new Segmenter(arena, sums), tun, new Counters(memory))
let writes = 0
const put = tun.put.bind(tun)
tun.put = (...parameters) => {
  writes++
  return put(...parameters)
}

const cut = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  segmenter.source.bytes.set(bytes)
  return Array.from({ length: segmenter.take(bytes.length) }, (_, index) =>
    laid.bytes.slice(0, segmenter.lay(index, laid, 0)),
  )
}

const throughTheTun = (packets: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const out: Array<Uint8Array> = []
  for (let first = 0; first < packets.length; first += BATCH) {
    let at = 32
    for (const packet of packets.slice(first, first + BATCH)) {
      slots.bytes.set(packet, at)
      coalescer.add(slots, at, packet.length)
      at += packet.length + 24
    }
    coalescer.flush()
    out.push(...kernel.read())
  }
  return out
}

const recording = readRecording(process.argv[2]!)
const differences: Array<string> = []
const note = (scenario: string, what: string | undefined) => {
  if (what !== undefined) differences.push(`${scenario}: ${what}`)
}
for (const { scenario, reads, arrived } of recording) {
  for (const { bytes } of reads) note(`cut, ${scenario}`, orderedDifference(cut(bytes), kernel.cut(bytes)))
  note(`put together, ${scenario}`, difference(throughTheTun(arrived), arrived))
}
const writesOfRecording = writes
for (const seed of seeds(Number(process.argv[3]))) {
  const random = new SeededRandom(seed)
  for (const packets of [nearlyContinuous(random), mixture(random)])
    note(`put together, seed ${seed}`, difference(throughTheTun(packets), packets))
}
const sum = (sizes: ReadonlyArray<number>) => sizes.reduce((total, size) => total + size, 0)
const drops = Object.entries(counterReader(memory).all()).filter(
  ([name, value]) => name.startsWith("drop:") && value > 0,
)
const result: Recut = {
  reads: sum(recording.map(({ reads }) => reads.length)),
  packets: sum(recording.map(({ arrived }) => arrived.length)),
  writes: writesOfRecording,
  off,
  drops: Object.fromEntries(drops),
  differences: differences.slice(0, 5),
}
console.log(JSON.stringify(result))
