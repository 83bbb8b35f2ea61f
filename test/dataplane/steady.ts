/**
 * Run by `forward.test.ts` in a process of its own, whose heap is small enough that garbage soon makes a collection:
 * pushes packets through seal, open, replay window, MSS clamp and tun write, and prints whether that collected anything,
 * first as it is and then with one small allocation a packet, which shows that it would be seen.
 */

import { Counters, createCounterMemory } from "../../src/dataplane/counters.ts"
import { Forwarder } from "../../src/dataplane/forward.ts"
import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { openFile } from "../../src/linux/file.ts"
import { Arena } from "../../src/linux/index.ts"
import { dataKey, ipPacket, mirrored } from "./keys.ts"

const PACKETS = 200_000
const arena = new Arena(256 * 1024)
const region = arena.allocate(70_000)
const install = (key: ReturnType<typeof dataKey>) => {
  const keys = new KeySlots(arena)
  keys.install(key, { packets: 64, seconds: 15 })
  keys.use(0)
  return keys
}
const { sealer } = install(dataKey(0)).sending!
const counters = new Counters(createCounterMemory())
const forwarder = new Forwarder(install(mirrored(dataKey(0))), counters, () => {})
forwarder.tunFd = openFile("/dev/null", 2)
forwarder.mssIpv4 = 1000
const packet = ipPacket(1, 1400)
let kept: unknown

const push = (packets: number, isWasteful: boolean) => {
  for (let i = 0; i < packets; i++) {
    region.bytes.set(packet, sealer.overhead)
    forwarder.now++
    if (forwarder.receive(region, 0, sealer.seal(region, 0, packet.length)) !== 0) throw new Error("dropped")
    if (isWasteful) kept = region.bytes.subarray(0, 20)
  }
}

/** Whether a collection, which takes garbage away, came during `work`. */
const collects = async (work: () => void): Promise<boolean> => {
  const garbage = makeGarbage()
  await new Promise<void>((resolve) => setImmediate(resolve))
  work()
  return garbage.some((reference) => reference.deref() === undefined)
}

const makeGarbage = (): Array<WeakRef<object>> => {
  Bun.gc(true)
  return Array.from({ length: 100 }, (_, i) => new WeakRef({ i }))
}

push(20_000, false)
const asItIs = await collects(() => push(PACKETS, false))
const withWaste = await collects(() => push(PACKETS, true))
console.log(JSON.stringify({ asItIs, withWaste, kept: kept !== undefined }))
