/**
 * What happens to a packet between the transport and the tun. The stages:
 *
 *     tun read -> cut into packets -> MSS clamp -> seal -> transport
 *     transport -> open -> replay window -> ping and OCC messages taken out -> MSS clamp -> put together -> tun write
 *
 * Nothing here allocates, throws or logs for a data packet; a packet that goes nowhere is counted by its drop reason.
 */

import type { Arena, Region } from "../linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, OCC_REPLY, OCC_REQUEST, PING_MAGIC } from "../protocol/datachannel.ts"
import { fragmentHeader } from "../protocol/mtu.ts"
import { type Checksums, checksums } from "./checksum.ts"
import { Coalescer } from "./coalesce.ts"
import type { Event } from "./commands.ts"
import { Counter, type Counters, LinkCounter } from "./counters.ts"
import { DATA_V1, DATA_V2 } from "./datapacket.ts"
import type { Drain } from "./drain.ts"
import { Drop } from "./drop.ts"
import { dscpOf } from "./dscp.ts"
import { LARGEST_OVERHEAD, LARGEST_TAIL } from "./format.ts"
import { type Fragmenter, LARGEST, WHOLE_HEADER } from "./fragment.ts"
import type { KeySlot } from "./keyslots.ts"
import type { Link } from "./link.ts"
import { clampFrameMss, clampMss } from "./mss.ts"
import { isToMany } from "./multicast.ts"
import type { Offloads } from "./offload.ts"
import { Parking } from "./parking.ts"
import { Segmenter } from "./segment.ts"
import type { Strays } from "./strays.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"
import { TunPort } from "./tunport.ts"
import { VNET_HEADER } from "./vnet.ts"

export class Forwarder implements PacketSink {
  /** ms of the monotonic clock, set once a turn. */
  now = 0
  mssIpv4 = 0
  mssIpv6 = 0
  /** Packets from the tun that do not go where the others do. */
  drains: ReadonlyArray<Drain> = []
  readonly tun: TunPort
  private readonly sums: Checksums
  private readonly segmenter: Segmenter
  private readonly coalescer: Coalescer
  private readonly parking: Parking
  private readonly counters: Counters
  private readonly emit: (event: Event) => void
  private readonly arena: Arena
  private whole: Region | undefined = undefined
  /** Of the packets that are being received. */
  private from: Link | undefined = undefined

  /** `arena` is that of the transports as well. */
  constructor(arena: Arena, counters: Counters, offloads: Offloads, emit: (event: Event) => void) {
    this.arena = arena
    this.counters = counters
    this.emit = emit
    this.sums = checksums(arena)
    this.tun = new TunPort(counters, offloads, (message) => emit({ type: "tunFailed", message }))
    this.segmenter = new Segmenter(arena, this.sums)
    this.coalescer = new Coalescer(arena, this.sums, this.segmenter, this.tun, counters)
    this.parking = new Parking(arena)
  }

  /** One round of receiving from this link; a string says why its transport has become unusable. */
  receiveFrom(link: Link): string | undefined {
    this.from = link
    return link.transport.receive(this)
  }

  /**
   * One bounded round of what came to the port of this link from elsewhere; true when more may wait. Where the newest packet of the
   * server came from is told; what is not authentic is counted, and changes nothing.
   */
  receiveStrays(link: Link, strays: Strays): boolean {
    for (let i = 0; i < STRAYS_PER_ROUND; i++) {
      const length = strays.receive()
      if (length < 0) return false
      this.counters.add(Counter.transportReadPackets, 1)
      this.counters.add(Counter.transportReadBytes, length)
      const result = this.deliverStray(link, strays, length)
      if (result < 0) this.counters.drop(result)
      // The next one comes to the same place.
      this.flush()
    }
    return true
  }

  /** The first key of a link is there: takes up the data packets that came before it. */
  takeUp(link: Link): void {
    link.isAwaitingKey = false
    this.from = link
    this.parking.each(link.generation, (start, length) => this.receive(this.parking.memory, start, length))
    this.flush()
    this.parking.forget(link.generation)
  }

  /** The link ends: nothing is kept for it. */
  forget(link: Link): void {
    this.parking.forget(link.generation)
    this.drains = this.drains.filter((drain) => drain.link !== link)
  }

  /** A packet from the network: a data packet is delivered, another one is reported. 0, or the drop reason. */
  receive(memory: Region, start: number, length: number): number {
    const result = this.deliver(this.from!, memory, start, length)
    if (result < 0) this.counters.drop(result)
    return result
  }

  /** Everything that was received is on its way to the tun. */
  flush(): void {
    this.coalescer.flush()
  }

  /** Reads the tun once and queues what it gave on the link that carries: how many packets, 0 when there were none. */
  forwardFromTun(carrying: Link): number {
    return this.tun.hasHeader ? this.forwardLarge(carrying) : this.forwardPlain(carrying)
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
  send(link: Link, payload: Uint8Array): void {
    const { transport } = link
    const { sending } = link.keys
    if (sending === undefined || !transport.isOpen) return
    const region = space(transport)
    if (region === undefined) {
      this.counters.drop(Drop.transportBusy)
      return
    }
    const start = transport.start
    if (link.passTos) transport.trafficClass = 0
    region.bytes.set(payload, start + sending.overhead)
    this.seal(link, sending, region, start, payload.length)
  }

  /** Without offloads: a packet is read where it is sealed and sent from. */
  private forwardPlain(carrying: Link): number {
    const { sending } = carrying.keys
    const region = space(carrying.transport)
    if (region === undefined) return 0
    const { start } = carrying.transport
    const payloadAt = start + (sending?.overhead ?? LARGEST_OVERHEAD)
    const length = this.tun.read(region, payloadAt, LARGEST_PAYLOAD)
    if (length === 0) return 0
    this.countTunRead(1, length)
    const draining = this.drainingFor(region, payloadAt + this.tun.frameHeader, length - this.tun.frameHeader)
    if (draining !== undefined) {
      this.divert(draining, region, payloadAt, length)
      return 1
    }
    const reason = this.whyNot(carrying, length)
    if (sending === undefined || reason !== 0) {
      this.counters.drop(reason)
      return 1
    }
    this.forward(carrying, sending, region, start, length)
    return 1
  }

  /** The link that the packet at `at` belongs to, if it is not the one that carries. */
  private drainingFor(region: Region, at: number, length: number): Link | undefined {
    const { drains } = this
    for (let i = 0; i < drains.length; i++) if (drains[i]!.owns(region, at, length)) return drains[i]!.link
    return undefined
  }

  /** A packet that was read where another link would send it from. */
  private divert(link: Link, from: Region, at: number, length: number): void {
    const { sending } = link.keys
    const reason = this.whyNot(link, length)
    const region = reason === 0 ? space(link.transport) : undefined
    if (sending === undefined || region === undefined) {
      this.counters.drop(reason || Drop.transportBusy)
      return
    }
    const { start } = link.transport
    this.sums.copy(region.offset + start + sending.overhead, from.offset + at, length)
    this.forward(link, sending, region, start, length)
  }

  private forward(link: Link, sending: KeySlot, region: Region, start: number, length: number): void {
    this.clamp(region, start + sending.overhead, length)
    if (link.passTos) this.passTos(link, region, start + sending.overhead, length)
    this.countTun(link, length)
    this.seal(link, sending, region, start, length)
  }

  /** With a virtio header in front; what was read may be many packets. */
  private forwardLarge(carrying: Link): number {
    const { segmenter } = this
    const length = this.tun.read(segmenter.source, 0, segmenter.source.length)
    if (length === 0) return 0
    const packets = segmenter.take(length)
    if (packets < 0) {
      this.countTunRead(1, length - VNET_HEADER)
      this.counters.drop(packets)
      return 1
    }
    const link = this.drainingFor(segmenter.source, VNET_HEADER, length - VNET_HEADER) ?? carrying
    const { sending } = link.keys
    const reason = this.whyNot(link, segmenter.largest)
    this.countTunRead(packets, segmenter.total)
    if (sending === undefined || reason !== 0) this.drop(reason, packets)
    else this.forwardEach(link, sending, packets)
    return packets
  }

  private forwardEach(link: Link, sending: KeySlot, packets: number): void {
    const { transport } = link
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
      if (link.passTos) this.passTos(link, region, payloadAt, length)
      this.countTun(link, length)
      this.seal(link, sending, region, start, length)
    }
  }

  private passTos({ transport }: Link, { bytes }: Region, at: number, length: number): void {
    const { frameHeader } = this.tun
    transport.trafficClass = dscpOf(bytes, at + frameHeader, length - frameHeader)
  }

  /** Why packets of up to `length` bytes cannot go anywhere over this link: a drop reason, or 0. */
  private whyNot({ keys, transport }: Link, length: number): number {
    if (keys.sending === undefined) return Drop.noKey
    if (!transport.isOpen) return Drop.noTransport
    // What does not fit the kernel cuts without saying so: then it fills the space.
    return length >= LARGEST_PAYLOAD ? Drop.tooLarge : 0
  }

  private seal(link: Link, sending: KeySlot, region: Region, start: number, length: number): void {
    const { framing, fragmenter, sealer } = sending
    const framed = framing === undefined ? length : framing.frame(region.bytes, start + sending.overhead, length)
    if (framed < 0) this.counters.drop(framed)
    else if (fragmenter === undefined) this.sealPayload(link, sending, region, start, framed)
    else if (framed <= fragmenter.size) {
      region.view.setUint32(start + sealer.overhead, WHOLE_HEADER)
      this.sealPayload(link, sending, region, start, fragmentHeader + framed)
    } else this.sealPieces(link, sending, fragmenter, region, start + sealer.overhead + fragmentHeader, framed)
  }

  /** The packet stands where its first piece will be sealed, so it is copied first. */
  private sealPieces(
    link: Link,
    sending: KeySlot,
    fragmenter: Fragmenter,
    region: Region,
    at: number,
    length: number,
  ): void {
    if (length > LARGEST || !fragmenter.begin(length)) {
      this.counters.drop(Drop.tooLarge)
      return
    }
    const whole = this.wholePacket()
    this.sums.copy(whole.offset, region.offset + at, length)
    const { transport } = link
    for (let i = 0; i < fragmenter.pieces; i++) {
      const to = space(transport)
      if (to === undefined) {
        this.counters.drop(Drop.transportBusy)
        return
      }
      const { start } = transport
      const piece = fragmenter.lay(i, whole, to, start + sending.sealer.overhead, this.sums)
      this.sealPayload(link, sending, to, start, piece)
    }
  }

  private sealPayload(link: Link, sending: KeySlot, region: Region, start: number, length: number): void {
    const { sealer } = sending
    const sealed = sealer.seal(region, start, length)
    if (sealed < 0) {
      this.counters.drop(sealed)
      return
    }
    link.transport.commit(sealed)
    const { counts } = link
    counts[LinkCounter.lastSend] = this.now
    counts[LinkCounter.sealedPackets]! += 1
    counts[LinkCounter.keyBytes]! += sealed
    if (sealer.isWornOut && !sending.exhausted) this.exhaust(link, sending)
  }

  private exhaust({ generation }: Link, key: KeySlot): void {
    key.exhausted = true
    this.emit({ type: "keyExhausted", generation, keyId: key.keyId })
  }

  private deliver(link: Link, memory: Region, start: number, length: number): number {
    if (length < 1) return Drop.empty
    const { unnamed } = link.keys
    const firstByte = memory.bytes[start]!
    const opcode = firstByte >> 3
    if (unnamed === undefined && opcode !== DATA_V2 && opcode !== DATA_V1)
      return this.control(link, memory, start, length, opcode)
    const key = unnamed ?? link.keys.find(firstByte & 7)
    if (key === undefined) return this.park(link, memory, start, length)
    const payloadLength = key.opener.open(memory, start, length)
    if (payloadLength < 0) return payloadLength
    if (!key.opener.replay.accept(this.now, key.opener.packetId)) return Drop.replay
    return this.take(link, key, memory, length, payloadLength)
  }

  private deliverStray(link: Link, strays: Strays, length: number): number {
    if (length < 1) return Drop.empty
    const { memory } = strays
    const { unnamed } = link.keys
    const firstByte = memory.bytes[0]!
    const opcode = firstByte >> 3
    if (unnamed === undefined && opcode !== DATA_V2 && opcode !== DATA_V1) {
      if (!strays.hasControlKey && link.keys.sending !== undefined) return Drop.stranger
      if (!isControl(opcode)) return Drop.opcode
      if (length > LARGEST_CONTROL) return Drop.controlSize
      if (strays.isFlood(this.now)) return Drop.controlFlood
      const packet = memory.bytes.slice(0, length)
      this.emit({ type: "control", generation: link.generation, packet, from: strays.sender() })
      return 0
    }
    const key = unnamed ?? link.keys.find(firstByte & 7)
    if (key === undefined) return Drop.noKey
    const { opener } = key
    const payloadLength = opener.open(memory, 0, length)
    if (payloadLength < 0) return payloadLength
    if (!opener.replay.accept(this.now, opener.packetId)) return Drop.replay
    // An older one, which took a longer way, does not tell where the server is now.
    if (opener.packetId === opener.replay.newest && strays.isNews(this.now))
      this.emit({ type: "peerMoved", generation: link.generation, from: strays.sender() })
    return this.take(link, key, memory, length, payloadLength)
  }

  /** A packet that is authentic and new: `length` bytes, opened under this key. */
  private take(link: Link, key: KeySlot, memory: Region, length: number, payloadLength: number): number {
    this.counters.set(Counter.lastReceive, this.now)
    const { counts } = link
    counts[LinkCounter.lastReceive] = this.now
    if (!key.used) {
      key.used = true
      this.emit({ type: "keyUsed", generation: link.generation, keyId: key.keyId })
    }
    if (key === link.keys.sending) {
      counts[LinkCounter.openedPackets]! += 1
      counts[LinkCounter.keyBytes]! += length
      if (key.opener.isWornOut && !key.exhausted) this.exhaust(link, key)
    }
    return this.unpack(link, key, memory, key.opener.payloadAt, payloadLength)
  }

  /** What was opened: pieces are put together, and the framing of a compression is taken off. */
  private unpack(link: Link, key: KeySlot, opened: Region, at: number, length: number): number {
    let memory = opened
    let payloadAt = at
    let payloadLength = length
    if (key.fragmenter !== undefined) {
      const reassembly = link.keys.reassembly!
      payloadLength = reassembly.take(this.now, memory, payloadAt, payloadLength, this.sums)
      if (payloadLength <= 0) return payloadLength
      memory = reassembly.memory
      payloadAt = reassembly.payloadAt
    }
    const { framing } = key
    if (framing !== undefined) {
      payloadLength = framing.unframe(memory, payloadAt, payloadLength)
      if (payloadLength < 0) return payloadLength
      memory = framing.memory
      payloadAt = framing.payloadAt
    }
    const result = this.dispatch(link, memory, payloadAt, payloadLength)
    // The next packet may be put together in, or decompressed to, the same place.
    if (memory !== opened) this.flush()
    return result
  }

  private park(link: Link, memory: Region, start: number, length: number): number {
    const isKept = link.isAwaitingKey && this.parking.keep(link.generation, memory, start, length)
    return isKept ? 0 : Drop.noKey
  }

  /** A payload is a message for us or a packet for the tun. */
  private dispatch(link: Link, memory: Region, payload: number, payloadLength: number): number {
    if (payloadLength === PING_MAGIC.length && startsWith(memory.bytes, payload, PING_MAGIC)) return 0
    if (payloadLength >= OCC_MAGIC.length && startsWith(memory.bytes, payload, OCC_MAGIC)) {
      return this.occ(link, memory, payload, payloadLength)
    }
    return this.writeTun(link, memory, payload, payloadLength)
  }

  /** The two sides talk about their options so: with a static key, else only when we ask, and then seldom. */
  private occ(link: Link, memory: Region, payload: number, length: number): number {
    const kind = length > OCC_MAGIC.length ? memory.bytes[payload + OCC_MAGIC.length] : undefined
    if (kind === OCC_EXIT) this.remoteLeft(link)
    else if (kind === OCC_REPLY || (kind === OCC_REQUEST && link.keys.unnamed !== undefined)) {
      if (length > LARGEST_CONTROL) return Drop.controlSize
      if (this.isFlood(link)) return Drop.controlFlood
      this.emit({ type: "occ", generation: link.generation, message: memory.bytes.slice(payload, payload + length) })
    }
    return 0
  }

  private writeTun(link: Link, memory: Region, payload: number, length: number): number {
    if (this.tun.fd < 0) return Drop.noTun
    this.clamp(memory, payload, length)
    const isActivity = !isToMany(memory.bytes, payload, length)
    const result = this.coalescer.add(memory, payload, length)
    if (result !== 0) return result
    link.counts[LinkCounter.tunBytes]! += length
    if (isActivity) link.counts[LinkCounter.lastTunActivity] = this.now
    return 0
  }

  private clamp({ bytes }: Region, at: number, length: number): void {
    if (this.tun.isEthernet) clampFrameMss(bytes, at, length, this.mssIpv4, this.mssIpv6)
    else clampMss(bytes, at, length, this.mssIpv4, this.mssIpv6)
  }

  /** Reports a control packet. Their number and size are bounded: anybody can send them, and the copies wait in a queue. */
  private control(link: Link, memory: Region, start: number, length: number, opcode: number): number {
    if (!isControl(opcode)) return Drop.opcode
    if (length > LARGEST_CONTROL) return Drop.controlSize
    if (this.isFlood(link)) return Drop.controlFlood
    const packet = memory.bytes.slice(start, start + length)
    this.emit({ type: "control", generation: link.generation, packet })
    return 0
  }

  /** Counts one more; true when there were too many in this second. */
  private isFlood(link: Link): boolean {
    const second = Math.floor(this.now / 1000)
    if (second !== link.floodSecond) {
      link.floodSecond = second
      link.floodCount = 0
    }
    if (link.floodCount >= CONTROL_PER_SECOND) return true
    link.floodCount++
    return false
  }

  private remoteLeft(link: Link): void {
    if (link.hasRemoteLeft) return
    link.hasRemoteLeft = true
    this.emit({ type: "remoteExit", generation: link.generation })
  }

  private countTunRead(packets: number, bytes: number): void {
    this.counters.add(Counter.tunReadPackets, packets)
    this.counters.add(Counter.tunReadBytes, bytes)
    if (packets !== 1) return
    this.counters.add(Counter.tunLonePackets, 1)
    this.counters.add(Counter.tunLoneBytes, bytes)
  }

  private countTun({ counts }: Link, bytes: number): void {
    counts[LinkCounter.tunBytes]! += bytes
    counts[LinkCounter.lastTunActivity] = this.now
  }

  /** Where a packet waits while it is cut; taken at the first one. */
  private wholePacket(): Region {
    this.whole ??= this.arena.allocate(LARGEST)
    return this.whole
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

const isControl = (opcode: number): boolean => opcode >= FIRST_OPCODE && opcode <= LAST_OPCODE

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
const STRAYS_PER_ROUND = 64
