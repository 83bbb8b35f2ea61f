/**
 * What happens to a packet between the transport and the tun. The stages:
 *
 *     tun read -> cut into packets -> MSS clamp -> seal -> transport
 *     transport -> open -> replay window -> ping and OCC messages taken out -> MSS clamp -> put together -> tun write
 *
 * Nothing here allocates, throws or logs for a data packet; a packet that goes nowhere is counted by its drop reason.
 */

import type { Arena, Region } from "../linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, PING_MAGIC } from "../protocol/datachannel.ts"
import { checksums } from "./checksum.ts"
import { Coalescer } from "./coalesce.ts"
import type { Event } from "./commands.ts"
import { Counter, type Counters } from "./counters.ts"
import { DATA_V1, DATA_V2 } from "./datapacket.ts"
import { Drop } from "./drop.ts"
import { LARGEST_OVERHEAD, LARGEST_TAIL } from "./format.ts"
import type { KeySlot, KeySlots } from "./keyslots.ts"
import { clampMss } from "./mss.ts"
import type { Offloads } from "./offload.ts"
import { Segmenter } from "./segment.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"
import { TunPort } from "./tunport.ts"
import { VNET_HEADER } from "./vnet.ts"

export class Forwarder implements PacketSink {
  /** ms of the monotonic clock, set once a turn. */
  now = 0
  generation = 0
  mssIpv4 = 0
  mssIpv6 = 0
  readonly tun: TunPort
  private readonly segmenter: Segmenter
  private readonly coalescer: Coalescer
  private readonly keys: KeySlots
  private readonly counters: Counters
  private readonly emit: (event: Event) => void
  private hasRemoteLeft = false
  private floodSecond = 0
  private floodCount = 0

  /** `arena` is that of the transports as well. */
  constructor(arena: Arena, keys: KeySlots, counters: Counters, offloads: Offloads, emit: (event: Event) => void) {
    this.keys = keys
    this.counters = counters
    this.emit = emit
    const sums = checksums(arena)
    this.tun = new TunPort(counters, offloads, (message) => emit({ type: "tunFailed", message }))
    this.segmenter = new Segmenter(arena, sums)
    this.coalescer = new Coalescer(arena, sums, this.segmenter, this.tun, counters)
  }

  /** What was remembered about the transport before this one is forgotten. */
  begin(generation: number): void {
    this.generation = generation
    this.hasRemoteLeft = false
  }

  /** A packet from the network: a data packet is delivered, another one is reported. 0, or the drop reason. */
  receive(memory: Region, start: number, length: number): number {
    const result = this.deliver(memory, start, length)
    if (result < 0) this.counters.drop(result)
    return result
  }

  /** Everything that was received is on its way to the tun. */
  flush(): void {
    this.coalescer.flush()
  }

  /** Reads the tun once and queues what it gave on the transport: how many packets, 0 when there were none to be read. */
  forwardFromTun(transport: Transport): number {
    return this.tun.hasHeader ? this.forwardLarge(transport) : this.forwardPlain(transport)
  }

  /** Reads the tun once for nothing, so that its queue does not fill with what is outdated: the packets, or 0. */
  discardFromTun(): number {
    const { source } = this.segmenter
    const length = this.tun.read(source, 0, source.length)
    if (length === 0) return 0
    const packets = this.tun.hasHeader ? this.segmenter.take(length) : 1
    this.countTunRead(Math.max(1, packets), length)
    this.drop(packets < 0 ? packets : Drop.noTransport, Math.max(1, packets))
    return Math.max(1, packets)
  }

  /** Queues a payload of our own. Without a sending key, or with a full queue, nothing happens. */
  send(transport: Transport, payload: Uint8Array): void {
    const sending = this.keys.sending
    if (sending === undefined || !transport.isOpen) return
    const region = space(transport)
    if (region === undefined) {
      this.counters.drop(Drop.transportBusy)
      return
    }
    const start = transport.start
    region.bytes.set(payload, start + sending.overhead)
    this.seal(sending, transport, region, start, payload.length)
  }

  /** Without offloads: a packet is read where it is sealed and sent from. */
  private forwardPlain(transport: Transport): number {
    const sending = this.keys.sending
    const region = space(transport)
    if (region === undefined) return 0
    const { start } = transport
    const payloadAt = start + (sending?.overhead ?? LARGEST_OVERHEAD)
    const length = this.tun.read(region, payloadAt, LARGEST_PAYLOAD)
    if (length === 0) return 0
    this.countTunRead(1, length)
    const reason = this.whyNot(sending, transport, length)
    if (sending === undefined || reason !== 0) {
      this.counters.drop(reason)
      return 1
    }
    clampMss(region.bytes, payloadAt, length, this.mssIpv4, this.mssIpv6)
    this.seal(sending, transport, region, start, length)
    return 1
  }

  /** With a virtio header in front; what was read may be many packets. */
  private forwardLarge(transport: Transport): number {
    const { segmenter } = this
    const length = this.tun.read(segmenter.source, 0, segmenter.source.length)
    if (length === 0) return 0
    const packets = segmenter.take(length)
    if (packets < 0) {
      this.countTunRead(1, length - VNET_HEADER)
      this.counters.drop(packets)
      return 1
    }
    const sending = this.keys.sending
    const reason = this.whyNot(sending, transport, segmenter.largest)
    this.countTunRead(packets, segmenter.total)
    if (sending === undefined || reason !== 0) this.drop(reason, packets)
    else this.forwardEach(sending, transport, packets)
    return packets
  }

  private forwardEach(sending: KeySlot, transport: Transport, packets: number): void {
    for (let i = 0; i < packets; i++) {
      const region = space(transport)
      if (region === undefined) {
        this.drop(Drop.transportBusy, packets - i)
        return
      }
      const { start } = transport
      const payloadAt = start + sending.overhead
      const length = this.segmenter.lay(i, region, payloadAt)
      if (packets === 1) clampMss(region.bytes, payloadAt, length, this.mssIpv4, this.mssIpv6)
      this.seal(sending, transport, region, start, length)
    }
  }

  /** Why packets of up to `length` bytes cannot go anywhere: a drop reason, or 0. */
  private whyNot(sending: KeySlot | undefined, transport: Transport, length: number): number {
    if (sending === undefined) return Drop.noKey
    if (!transport.isOpen) return Drop.noTransport
    // What does not fit the kernel cuts without saying so: then it fills the space.
    return length >= LARGEST_PAYLOAD ? Drop.tooLarge : 0
  }

  private seal(sending: KeySlot, transport: Transport, region: Region, start: number, length: number): void {
    const { framing, sealer } = sending
    const framed = framing === undefined ? length : framing.frame(region.bytes, start + sending.overhead, length)
    const sealed = framed < 0 ? framed : sealer.seal(region, start, framed)
    if (sealed < 0) {
      this.counters.drop(sealed)
      return
    }
    transport.commit(sealed)
    this.counters.set(Counter.lastSend, this.now)
    this.counters.add(Counter.sealedPackets, 1)
    this.counters.add(Counter.keyBytes, sealed)
    if (sealer.isWornOut && !sending.exhausted) this.exhaust(sending)
  }

  private exhaust(key: KeySlot): void {
    key.exhausted = true
    this.emit({ type: "keyExhausted", generation: this.generation, keyId: key.keyId })
  }

  private deliver(memory: Region, start: number, length: number): number {
    if (length < 1) return Drop.empty
    const firstByte = memory.bytes[start]!
    const opcode = firstByte >> 3
    if (opcode !== DATA_V2 && opcode !== DATA_V1) return this.control(memory, start, length, opcode)
    const key = this.keys.find(firstByte & 7)
    if (key === undefined) return Drop.noKey
    const payloadLength = key.opener.open(memory, start, length)
    if (payloadLength < 0) return payloadLength
    if (!key.opener.replay.accept(this.now, key.opener.packetId)) return Drop.replay
    this.counters.set(Counter.lastReceive, this.now)
    if (!key.used) {
      key.used = true
      this.emit({ type: "keyUsed", generation: this.generation, keyId: key.keyId })
    }
    if (key === this.keys.sending) {
      this.counters.add(Counter.openedPackets, 1)
      this.counters.add(Counter.keyBytes, length)
      if (key.opener.isWornOut && !key.exhausted) this.exhaust(key)
    }
    const { framing } = key
    if (framing === undefined) return this.dispatch(memory, key.opener.payloadAt, payloadLength)
    const unframed = framing.unframe(memory, key.opener.payloadAt, payloadLength)
    return unframed < 0 ? unframed : this.dispatch(framing.memory, framing.payloadAt, unframed)
  }

  /** A payload is a message for us or a packet for the tun. */
  private dispatch(memory: Region, payload: number, payloadLength: number): number {
    if (payloadLength === PING_MAGIC.length && startsWith(memory.bytes, payload, PING_MAGIC)) return 0
    if (payloadLength >= OCC_MAGIC.length && startsWith(memory.bytes, payload, OCC_MAGIC)) {
      const hasMessage = payloadLength > OCC_MAGIC.length
      if (hasMessage && memory.bytes[payload + OCC_MAGIC.length] === OCC_EXIT) this.remoteLeft()
      return 0
    }
    return this.writeTun(memory, payload, payloadLength)
  }

  private writeTun(memory: Region, payload: number, length: number): number {
    if (this.tun.fd < 0) return Drop.noTun
    clampMss(memory.bytes, payload, length, this.mssIpv4, this.mssIpv6)
    const result = this.coalescer.add(memory, payload, length)
    if (result === 0) this.counters.set(Counter.lastTunActivity, this.now)
    return result
  }

  /** Reports a control packet. Their number and size are bounded: anybody can send them, and the copies wait in a queue. */
  private control(memory: Region, start: number, length: number, opcode: number): number {
    if (opcode < FIRST_OPCODE || opcode > LAST_OPCODE) return Drop.opcode
    if (length > LARGEST_CONTROL) return Drop.controlSize
    const second = Math.floor(this.now / 1000)
    if (second !== this.floodSecond) {
      this.floodSecond = second
      this.floodCount = 0
    }
    if (this.floodCount >= CONTROL_PER_SECOND) return Drop.controlFlood
    this.floodCount++
    const packet = memory.bytes.slice(start, start + length)
    this.emit({ type: "control", generation: this.generation, packet })
    return 0
  }

  private remoteLeft(): void {
    if (this.hasRemoteLeft) return
    this.hasRemoteLeft = true
    this.emit({ type: "remoteExit", generation: this.generation })
  }

  private countTunRead(packets: number, bytes: number): void {
    this.counters.add(Counter.tunReadPackets, packets)
    this.counters.add(Counter.tunReadBytes, bytes)
    this.counters.set(Counter.lastTunActivity, this.now)
  }

  private drop(reason: number, packets: number): void {
    for (let i = 0; i < packets; i++) this.counters.drop(reason)
  }
}

/** For one packet. When the memory is full, what it holds is sent first. */
function space(transport: Transport): Region | undefined {
  const region = transport.reserve()
  if (region !== undefined) return region
  // A failure is reported by the flush at the end of the turn.
  transport.flush()
  return transport.reserve()
}

/** The first byte decides nearly always: no IP packet starts like one of these. */
function startsWith(bytes: Uint8Array, at: number, magic: Uint8Array): boolean {
  for (let i = 0; i < magic.length; i++) if (bytes[at + i] !== magic[i]) return false
  return true
}

const LARGEST_PAYLOAD = LARGEST_PACKET - LARGEST_OVERHEAD - LARGEST_TAIL
const FIRST_OPCODE = 3
const LAST_OPCODE = 11
const LARGEST_CONTROL = 2048
const CONTROL_PER_SECOND = 256
