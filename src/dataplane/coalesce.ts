/**
 * Puts packets for the tun together, so that many cost the kernel as much as one: the counterpart of `segment.ts`, and what a
 * network card does as "generic receive offload". Packets of one flow stay in order; what is not TCP or UDP, or has something
 * unusual about it, is written as it came, after all that came before it.
 *
 * What is complete waits for the end of the batch as well, while there is room: whoever reads the flow is then woken once for
 * several writes, not between every two of them.
 */
import type { Arena, Region } from "../linux/index.ts"
import type { Checksums } from "./checksum.ts"
import type { Counters } from "./counters.ts"
import { Drop } from "./drop.ts"
import { Flow } from "./flow.ts"
import { IpPacket } from "./ippacket.ts"
import type { Segmenter } from "./segment.ts"
import type { TunPort } from "./tunport.ts"
import { TCP, VNET_HEADER } from "./vnet.ts"

export class Coalescer {
  private readonly tun: TunPort
  private readonly counters: Counters
  private readonly segmenter: Segmenter
  /** Those in use come first, in the order in which they were begun, which is the order in which they are written. */
  private readonly flows: Array<Flow>
  private used = 0
  private readonly packet = new IpPacket()

  /** `segmenter` cuts again what the kernel refuses; nothing may wait in it while packets are delivered. */
  constructor(arena: Arena, checksums: Checksums, segmenter: Segmenter, tun: TunPort, counters: Counters) {
    this.tun = tun
    this.counters = counters
    this.segmenter = segmenter
    this.flows = Array.from({ length: FLOWS }, () => new Flow(arena, checksums))
  }

  /**
   * Takes a packet, which has ten bytes in front of it that may be overwritten and stays in place until `flush`. 0 when it
   * was written or waits for others, or the drop reason.
   */
  add(memory: Region, at: number, length: number): number {
    const { tun, packet } = this
    if (this.used === 0 && !tun.tso && !tun.uso) return tun.write(memory, at, length)
    if (!packet.parse(memory, at, length)) {
      this.flush()
      return tun.write(memory, at, length)
    }
    const flow = this.find()
    if (flow?.join(packet) === true) return 0
    const isWanted = packet.protocol === TCP ? tun.tso : tun.uso
    if (!isWanted || !packet.isMergeable || packet.isPushed) {
      if (flow !== undefined) this.flush()
      return tun.write(memory, at, length)
    }
    if (this.used === FLOWS) this.makeRoom()
    this.flows[this.used++]!.begin(packet)
    return 0
  }

  /** Writes all that waits. */
  flush(): void {
    const { used } = this
    this.used = 0
    for (let i = 0; i < used; i++) this.write(this.flows[i]!)
  }

  /** The last one that was begun of the packet's flow: nothing continues those before it. */
  private find(): Flow | undefined {
    for (let i = this.used - 1; i >= 0; i--) if (this.flows[i]!.owns(this.packet)) return this.flows[i]
    return undefined
  }

  /** Writes the first one that is complete, as those before it are of other flows; else the first one. */
  private makeRoom(): void {
    const { flows } = this
    let place = 0
    while (place < FLOWS && !flows[place]!.isComplete) place++
    place %= FLOWS
    const flow = flows[place]!
    this.write(flow)
    for (let i = place + 1; i < FLOWS; i++) flows[i - 1] = flows[i]!
    flows[FLOWS - 1] = flow
    this.used--
  }

  private write(flow: Flow): void {
    const { packets } = flow
    let result: number
    if (packets === 1) result = this.tun.write(flow.memory, flow.at, flow.length)
    else {
      flow.finish()
      // Another one that waited may have been refused in between.
      const isWanted = flow.isTcp ? this.tun.tso : this.tun.uso
      result = isWanted ? this.tun.put(flow.buffer, 0, VNET_HEADER + flow.length, packets, flow.bytes) : Drop.offload
    }
    if (result === Drop.offload) this.writeSingly(flow)
    else if (result < 0) for (let i = 0; i < packets; i++) this.counters.drop(result)
  }

  /** The kernel does not take the whole: it is cut again, and no more are put together. */
  private writeSingly(flow: Flow): void {
    this.tun.giveUpOffload(flow.isTcp ? "tso" : "uso", "write to the tun: EINVAL")
    const { source } = this.segmenter
    source.bytes.set(flow.buffer.bytes.subarray(0, VNET_HEADER + flow.length))
    const packets = this.segmenter.take(VNET_HEADER + flow.length)
    for (let i = 0; i < packets; i++) {
      const length = this.segmenter.lay(i, flow.buffer, VNET_HEADER)
      const result = this.tun.write(flow.buffer, VNET_HEADER, length)
      if (result < 0) this.counters.drop(result)
    }
  }
}

/** Flows that are put together at a time, each with a buffer of 64 KiB. */
const FLOWS = 8
