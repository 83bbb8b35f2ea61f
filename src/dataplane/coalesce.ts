/**
 * Puts packets for the tun together, so that many cost the kernel as much as one: the counterpart of `segment.ts`, and what a
 * network card does as "generic receive offload". Packets of one flow stay in order; what is not TCP or UDP, or has something
 * unusual about it, is written as it came, after all that came before it.
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
  private readonly flows: ReadonlyArray<Flow>
  private readonly packet = new IpPacket()
  /** Flows are taken and given up in turn. */
  private next = 0
  private used = 0

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
    if (!tun.tso && !tun.uso) return tun.write(memory, at, length)
    if (!packet.parse(memory, at, length)) {
      this.flush()
      return tun.write(memory, at, length)
    }
    const flow = this.used === 0 ? undefined : this.find()
    if (flow !== undefined) {
      if (flow.join(packet)) {
        if (flow.isComplete) this.end(flow)
        return 0
      }
      this.end(flow)
    }
    const isWanted = packet.protocol === TCP ? tun.tso : tun.uso
    if (!isWanted || !packet.isMergeable || packet.isPushed) return tun.write(memory, at, length)
    this.begin(flow)
    return 0
  }

  /** Writes all that waits. */
  flush(): void {
    if (this.used === 0) return
    for (let i = 0; i < FLOWS; i++) {
      const flow = this.flows[(this.next + i) % FLOWS]!
      if (flow.packets > 0) this.end(flow)
    }
  }

  private find(): Flow | undefined {
    // The flow that was begun last is nearly always the right one.
    for (let i = 1; i <= FLOWS; i++) {
      const flow = this.flows[(this.next - i + FLOWS) % FLOWS]!
      if (flow.owns(this.packet)) return flow
    }
    return undefined
  }

  private begin(freed: Flow | undefined): void {
    let flow = freed
    if (flow === undefined) {
      flow = this.flows[this.next]!
      this.next = (this.next + 1) % FLOWS
      if (flow.packets > 0) this.end(flow)
    }
    flow.begin(this.packet)
    this.used++
  }

  private end(flow: Flow): void {
    const { packets } = flow
    this.used--
    let result: number
    if (packets === 1) result = this.tun.write(flow.memory, flow.at, flow.length)
    else {
      flow.finish()
      result = this.tun.put(flow.buffer, 0, VNET_HEADER + flow.length, packets, flow.bytes)
    }
    flow.packets = 0
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
