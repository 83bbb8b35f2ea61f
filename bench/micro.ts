/**
 * (h): what each part of a packet's way costs alone, in ns, next to what `openssl speed` says of the cipher.
 *
 *   bun bench/micro.ts       prints one JSON object
 */
import { checksums } from "../src/dataplane/checksum.ts"
import { Coalescer } from "../src/dataplane/coalesce.ts"
import { Counters, createCounterMemory } from "../src/dataplane/counters.ts"
import { KeySlots } from "../src/dataplane/keyslots.ts"
import { Offloads } from "../src/dataplane/offload.ts"
import { Segmenter } from "../src/dataplane/segment.ts"
import { TunPort } from "../src/dataplane/tunport.ts"
import { openFile } from "../src/linux/file.ts"
import { Arena } from "../src/linux/index.ts"
import { dataKey, mirrored } from "../test/dataplane/keys.ts"
import { largePacket } from "../test/dataplane/traffic.ts"

/** ns per packet. */
export type Micro = Readonly<Record<string, number>>

/** Packets of 1400 and of 92 bytes (64 of UDP payload), 40 in a batch. */
function measure(): Micro {
  const result: Record<string, number> = {}
  for (const size of [1400, 92]) {
    const bench = new Bench(size)
    for (const part of ["segment", "seal", "open", "coalesce", "sum"] as const) {
      // Again and again until the compiler has nothing left to do; the last rounds count.
      const rounds = Array.from({ length: 12 }, () => bench.time(part)).slice(6)
      result[`${part}, ${size} bytes`] = rounds.sort((a, b) => a - b)[3]!
    }
  }
  return result
}

class Bench {
  private readonly arena = new Arena(4 * 1024 * 1024)
  private readonly sums = checksums(this.arena)
  private readonly region = this.arena.allocate(COUNT * 1500)
  private readonly segmenter = new Segmenter(this.arena, this.sums)
  private readonly sending = this.keys(dataKey(0))
  private readonly receiving = this.keys(mirrored(dataKey(0)))
  private readonly coalescer: Coalescer
  private readonly large: Uint8Array
  private readonly size: number

  constructor(size: number) {
    this.size = size
    const payload = size - 40
    const options = { version: 4, protocol: 6, payload: COUNT * payload, segmentSize: payload } as const
    this.large = largePacket(options).bytes
    this.segmenter.source.bytes.set(this.large)
    const counters = new Counters(createCounterMemory())
    const tun = new TunPort(counters, new Offloads([], () => {}), () => {})
    tun.attach(openFile("/dev/null", 2))
    tun.hasHeader = true
    tun.tso = true
    this.coalescer = new Coalescer(this.arena, this.sums, new Segmenter(this.arena, this.sums), tun, counters)
  }

  /** The quarter of the batches that took least decides: others were interrupted by what else the machine does. */
  time(part: "segment" | "seal" | "open" | "coalesce" | "sum"): number {
    const times = new Float64Array(BATCHES)
    for (let batch = 0; batch < BATCHES; batch++) times[batch] = this.batch(part)
    return times.sort()[BATCHES / 4]! / COUNT
  }

  private batch(part: "segment" | "seal" | "open" | "coalesce" | "sum"): number {
    let spent = 0
    const stride = this.size + OVERHEAD
    let begin = Bun.nanoseconds()
    this.segmenter.take(this.large.length)
    for (let i = 0; i < COUNT; i++) this.segmenter.lay(i, this.region, i * stride + OVERHEAD)
    if (part === "segment") spent = Bun.nanoseconds() - begin
    begin = Bun.nanoseconds()
    if (part === "sum") for (let i = 0; i < COUNT; i++) this.sums.sum(this.region.offset + i * stride, this.size)
    if (part === "sum") spent = Bun.nanoseconds() - begin
    begin = Bun.nanoseconds()
    for (let i = 0; i < COUNT; i++) this.sending.sealer.seal(this.region, i * stride, this.size)
    if (part === "seal") spent = Bun.nanoseconds() - begin
    begin = Bun.nanoseconds()
    for (let i = 0; i < COUNT; i++) this.receiving.opener.open(this.region, i * stride, stride)
    if (part === "open") spent = Bun.nanoseconds() - begin
    begin = Bun.nanoseconds()
    for (let i = 0; i < COUNT; i++) this.coalescer.add(this.region, i * stride + OVERHEAD, this.size)
    this.coalescer.flush()
    if (part === "coalesce") spent = Bun.nanoseconds() - begin
    return spent
  }

  private keys(key: ReturnType<typeof dataKey>) {
    const slots = new KeySlots(this.arena)
    slots.install(key, { packets: 64, seconds: 15 })
    slots.use(0)
    return slots.sending!
  }
}

const COUNT = 40
const BATCHES = 500
const OVERHEAD = 24

if (import.meta.main) console.log(JSON.stringify(measure()))
