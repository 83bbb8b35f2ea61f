/**
 * What happens to a packet between the transport and the tun. The stages:
 *
 *     tun read -> MSS clamp -> seal -> transport
 *     transport -> open -> replay window -> ping and OCC messages taken out -> MSS clamp -> tun write
 *
 * Nothing here allocates, throws or logs for a data packet; a packet that goes nowhere is counted by its drop reason.
 */

import { EAGAIN, EBADF, EBADFD, EIO, ENOBUFS, errno, errnoName, type Region, readFd, writeFd } from "../linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, PING_MAGIC } from "../protocol/datachannel.ts"
import type { Event } from "./commands.ts"
import { Counter, type Counters } from "./counters.ts"
import { DATA_V1, DATA_V2 } from "./datapacket.ts"
import { Drop } from "./drop.ts"
import { LARGEST_OVERHEAD, LARGEST_TAIL } from "./format.ts"
import type { KeySlot, KeySlots } from "./keyslots.ts"
import { clampMss } from "./mss.ts"
import { LARGEST_PACKET, type PacketSink, type Transport } from "./transport.ts"

export class Forwarder implements PacketSink {
  /** ms of the monotonic clock, set once a turn. */
  now = 0
  generation = 0
  tunFd = -1
  mssIpv4 = 0
  mssIpv6 = 0
  private readonly keys: KeySlots
  private readonly counters: Counters
  private readonly emit: (event: Event) => void
  private hasRemoteLeft = false
  private floodSecond = 0
  private floodCount = 0

  constructor(keys: KeySlots, counters: Counters, emit: (event: Event) => void) {
    this.keys = keys
    this.counters = counters
    this.emit = emit
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

  /** Reads one packet from the tun and queues it on the transport; false when there is none to be read. */
  forwardFromTun(transport: Transport, region: Region, start: number): boolean {
    const sending = this.keys.sending
    const payloadAt = start + (sending?.overhead ?? LARGEST_OVERHEAD)
    const space = LARGEST_PACKET - LARGEST_OVERHEAD - LARGEST_TAIL
    const length = readFd(this.tunFd, region.at(payloadAt, space), space)
    if (length <= 0) {
      if (length === 0) this.loseTun("end of file")
      else this.tunReadFailed(errno())
      return false
    }
    this.countTunRead(length)
    if (sending === undefined || !transport.isOpen) {
      this.counters.drop(sending === undefined ? Drop.noKey : Drop.noTransport)
      return true
    }
    // The kernel cuts what does not fit without saying so.
    if (length === space) {
      this.counters.drop(Drop.tooLarge)
      return true
    }
    clampMss(region.bytes, payloadAt, length, this.mssIpv4, this.mssIpv6)
    this.seal(sending, transport, region, start, length)
    return true
  }

  /** Reads one packet from the tun into `waste`, so that the tun's queue does not fill with what is outdated. */
  discardFromTun(waste: Region): boolean {
    const length = readFd(this.tunFd, waste.address, waste.length)
    if (length <= 0) {
      if (length === 0) this.loseTun("end of file")
      else this.tunReadFailed(errno())
      return false
    }
    this.countTunRead(length)
    this.counters.drop(Drop.noTransport)
    return true
  }

  /** Queues a payload of our own. Without a sending key, or with a full queue, nothing happens. */
  send(transport: Transport, payload: Uint8Array): void {
    const sending = this.keys.sending
    if (sending === undefined || !transport.isOpen) return
    const region = transport.reserve()
    if (region === undefined) {
      this.counters.drop(Drop.transportBusy)
      return
    }
    const start = transport.start
    region.bytes.set(payload, start + sending.overhead)
    this.seal(sending, transport, region, start, payload.length)
  }

  /** Reports, once, that the tun is unusable, and forgets it. */
  loseTun(message: string): void {
    if (this.tunFd < 0) return
    this.tunFd = -1
    this.emit({ type: "tunFailed", message })
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
    const unframed = framing.unframe(memory.bytes, key.opener.payloadAt, payloadLength)
    return unframed < 0 ? unframed : this.dispatch(memory, framing.payloadAt, unframed)
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
    if (this.tunFd < 0) return Drop.noTun
    clampMss(memory.bytes, payload, length, this.mssIpv4, this.mssIpv6)
    if (writeFd(this.tunFd, memory.at(payload, length), length) < 0) {
      const reason = errno()
      if (reason === EAGAIN || reason === ENOBUFS) return Drop.tunBusy
      if (reason === EIO) return Drop.tunDown
      if (reason === EBADFD || reason === EBADF) this.loseTun(`write: ${errnoName(reason)}`)
      return Drop.tunRefused
    }
    this.counters.add(Counter.tunWritePackets, 1)
    this.counters.add(Counter.tunWriteBytes, length)
    this.counters.set(Counter.lastTunActivity, this.now)
    return 0
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

  private countTunRead(length: number): void {
    this.counters.add(Counter.tunReadPackets, 1)
    this.counters.add(Counter.tunReadBytes, length)
    this.counters.set(Counter.lastTunActivity, this.now)
  }

  private tunReadFailed(reason: number): void {
    // A deleted device answers EBADFD; one that is only down has nothing to read.
    if (reason === EBADFD || reason === EBADF) this.loseTun(`read: ${errnoName(reason)}`)
  }
}

/** The first byte decides nearly always: no IP packet starts like one of these. */
function startsWith(bytes: Uint8Array, at: number, magic: Uint8Array): boolean {
  for (let i = 0; i < magic.length; i++) if (bytes[at + i] !== magic[i]) return false
  return true
}

const FIRST_OPCODE = 3
const LAST_OPCODE = 11
const LARGEST_CONTROL = 2048
const CONTROL_PER_SECOND = 256
