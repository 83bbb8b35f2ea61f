/**
 * Run by `forward.test.ts` in a process of its own: pushes packets through everything that a packet meets (cut, seal, open,
 * replay window, MSS clamp, put together, tun write) and prints how the heap grew and whether anything was collected, first
 * as it is and then with one small object a packet, which shows that it would be seen.
 */
import { heapStats } from "bun:jsc"
import { checksums } from "../../src/dataplane/checksum.ts"
import { Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Link } from "../../src/dataplane/link.ts"
import { Offloads } from "../../src/dataplane/offload.ts"
import { Segmenter } from "../../src/dataplane/segment.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import { openFile } from "../../src/linux/file.ts"
import { Arena } from "../../src/linux/index.ts"
import { dataKey, mirrored } from "./keys.ts"
import { type LargePacket, largePacket } from "./traffic.ts"

const PACKETS = Number(process.argv[2])
const arena = new Arena(4 * 1024 * 1024)
const region = arena.allocate(90_000)
const install = (key: ReturnType<typeof dataKey>) => {
  const keys = new KeySlots(arena)
  keys.install(key, { packets: 64, seconds: 15 })
  keys.use(0)
  return keys
}
const { sealer } = install(dataKey(0)).sending!
const memory = createCounterMemory()
const offloads = new Offloads([], () => {})
const counters = new Counters(memory)
const forwarder = new Forwarder(arena, counters, offloads, () => {})
// No packet comes from the socket: they are handed to the forwarder as the transport would.
const transport = new UdpTransport(arena, counters, offloads, () => {})
const link = new Link(install(mirrored(dataKey(0))), transport)
forwarder.takeUp(link)
// Takes whatever is written, as a tun with offloads would.
forwarder.tun.attach(openFile("/dev/null", 2))
forwarder.tun.hasHeader = true
forwarder.tun.tso = true
forwarder.mssIpv4 = 1000
const segmenter = new Segmenter(arena, checksums(arena))
const large: LargePacket = largePacket({ version: 4, protocol: 6, payload: 45 * 1348, segmentSize: 1348 })
segmenter.source.bytes.set(large.bytes)
let kept: unknown

const push = (packets: number, isWasteful: boolean) => {
  for (let done = 0; done < packets; ) {
    const count = segmenter.take(large.bytes.length)
    let at = 0
    for (let i = 0; i < count; i++) {
      const length = segmenter.lay(i, region, at + sealer.overhead)
      const sealed = sealer.seal(region, at, length)
      forwarder.now++
      if (forwarder.receive(region, at, sealed) !== 0) throw new Error("dropped")
      at += sealed
      if (isWasteful) kept = { at, sealed }
    }
    forwarder.flush()
    done += count
  }
}

/** How many bytes more are in use after `work`, and whether a collection, which takes garbage away, came during it. */
const watched = async (work: () => void) => {
  Bun.gc(true)
  const garbage = Array.from({ length: 100 }, (_, i) => new WeakRef({ i }))
  await new Promise<void>((resolve) => setImmediate(resolve))
  const before = heapStats().heapSize
  work()
  const growth = heapStats().heapSize - before
  return { growth, collected: garbage.some((reference) => reference.deref() === undefined) }
}

push(200_000, false)
const asItIs = await watched(() => push(PACKETS, false))
const withWaste = await watched(() => push(PACKETS / 10, true))
const written = counterReader(memory).read("tunWritePackets")
console.log(JSON.stringify({ asItIs, withWaste, written, kept: kept !== undefined }))
