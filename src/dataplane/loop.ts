/**
 * The worker's loop: one poll(2) over the tun, the transport and the eventfd, then a bounded amount of work for each.
 * Commands come in between two turns.
 */
import {
  Arena,
  closeFd,
  monotonicMilliseconds,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  Poll,
  pauseMicroseconds,
  setTimerSlack,
  takeEventfd,
} from "../linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, PING_MAGIC } from "../protocol/datachannel.ts"
import type { Command, Event } from "./commands.ts"
import { Counter, type Counters } from "./counters.ts"
import { Forwarder } from "./forward.ts"
import { KeySlots } from "./keyslots.ts"
import { Moderation, PAUSE } from "./moderation.ts"
import { type OffloadName, Offloads } from "./offload.ts"
import type { Transport } from "./transport.ts"
import { TcpTransport } from "./transport-tcp.ts"
import { UdpTransport } from "./transport-udp.ts"

export class Loop {
  private readonly eventfd: number
  private readonly counters: Counters
  private readonly emit: (event: Event) => void
  private readonly keys: KeySlots
  private readonly forwarder: Forwarder
  private readonly poll: Poll
  private readonly moderation = new Moderation()
  private readonly udp: UdpTransport
  private readonly tcp: TcpTransport
  private transport: Transport | undefined = undefined
  private transportFd = -1
  private generation = 0

  /** `eventfd` stays the caller's. */
  constructor(
    eventfd: number,
    counters: Counters,
    disabledOffloads: ReadonlyArray<OffloadName>,
    emit: (event: Event) => void,
  ) {
    // A pause is as long as it is meant to be, not 50 microseconds longer.
    setTimerSlack(1)
    const arena = new Arena(ARENA_SIZE)
    const offloads = new Offloads(disabledOffloads, emit)
    this.eventfd = eventfd
    this.counters = counters
    this.emit = emit
    this.keys = new KeySlots(arena)
    this.forwarder = new Forwarder(arena, this.keys, counters, offloads, emit)
    this.poll = new Poll(3, arena)
    this.udp = new UdpTransport(arena, counters, offloads)
    this.tcp = new TcpTransport(arena, counters)
  }

  /** One poll of at most `timeout` ms and what it calls for; returns how many commands were signalled. */
  turn(timeout: number): number {
    if (this.moderation.shouldPause(this.forwarder.now, this.packets)) pauseMicroseconds(PAUSE)
    this.arm()
    this.poll.wait(timeout)
    const now = monotonicMilliseconds()
    this.forwarder.now = now
    this.counters.set(Counter.heartbeat, now)
    this.counters.add(Counter.turns, 1)
    const transportEvents = this.poll.events(TRANSPORT)
    if (transportEvents !== 0) this.serveTransport(transportEvents)
    const tunEvents = this.poll.events(TUN)
    if (tunEvents !== 0) this.serveTun(tunEvents)
    return this.poll.events(EVENTFD) === 0 ? 0 : takeEventfd(this.eventfd)
  }

  /** Carries out one command; `stop` is the caller's to act on. A key that does not suit its cipher throws. */
  command(command: Exclude<Command, { readonly type: "stop" }>): void {
    this.forwarder.now = monotonicMilliseconds()
    switch (command.type) {
      case "attachTun":
        this.forwarder.tun.attach(command.fd)
        return
      case "detachTun":
        this.forwarder.tun.detach()
        return
      case "clampMss":
        this.forwarder.mssIpv4 = command.ipv4
        this.forwarder.mssIpv6 = command.ipv6
        return
      case "sync":
        this.emit({ type: "pong", number: command.number })
        return
      case "attachTransport":
        this.attach(command.generation, command.fd, command.transport)
        return
    }
    if (command.generation !== this.generation || this.transport === undefined) return
    switch (command.type) {
      case "detachTransport":
        this.detach()
        return
      case "transmit":
        this.settle(this.transport.transmit(command.packet))
        return
      case "installKey":
        this.keys.install(command.key, command.replayWindow)
        return
      case "useKey":
        this.useKey(command.keyId)
        return
      case "retireKey":
        this.keys.retire(command.keyId)
        return
      case "ping":
        this.sendOwn(this.transport, PING_MAGIC)
        return
      case "occExit":
        this.sendOwn(this.transport, OCC_EXIT_MESSAGE)
        return
    }
  }

  /** Closes the transport and forgets everything. */
  close(): void {
    this.detach()
    this.forwarder.tun.detach()
  }

  private get packets(): number {
    const { values } = this.counters
    return values[Counter.tunReadPackets]! + values[Counter.transportReadPackets]!
  }

  private arm(): void {
    const isTunWanted = this.transport === undefined || this.transport.isReady
    this.poll.set(TUN, isTunWanted ? this.forwarder.tun.fd : -1, POLLIN)
    this.poll.set(TRANSPORT, this.transportFd, this.transport?.interest ?? 0)
    this.poll.set(EVENTFD, this.eventfd, POLLIN)
  }

  private serveTransport(events: number): void {
    const transport = this.transport!
    const wasOpen = transport.isOpen
    if (!wasOpen || (events & POLLOUT) !== 0) {
      const failure = transport.writable()
      if (failure !== undefined) {
        this.settle(failure)
        return
      }
      if (!wasOpen) this.emit({ type: "transportOpen", generation: this.generation })
    }
    if ((events & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) !== 0) this.settle(transport.receive(this.forwarder))
  }

  private serveTun(events: number): void {
    let packets = 0
    for (let reads = 0; reads < TUN_READS_PER_TURN && packets < TUN_PACKETS_PER_TURN; reads++) {
      const more = this.readTun()
      if (more === 0) break
      packets += more
    }
    if (this.transport !== undefined) this.settle(this.transport.flush())
    // An error without a reason would wake every poll from now on. A tun that is only down reports none.
    if (packets === 0 && (events & ~POLLIN) !== 0) this.forwarder.tun.lose("poll: POLLERR")
  }

  private readTun(): number {
    const { transport } = this
    if (transport === undefined) return this.forwarder.discardFromTun()
    return transport.isReady ? this.forwarder.forwardFromTun(transport) : 0
  }

  private attach(generation: number, fd: number, kind: "udp" | "tcp"): void {
    if (generation < this.generation) {
      closeFd(fd)
      return
    }
    this.detach()
    this.generation = generation
    this.forwarder.begin(generation)
    this.transport = kind === "udp" ? this.udp : this.tcp
    this.transport.open(fd)
    this.transportFd = fd
    if (this.transport.isOpen) this.emit({ type: "transportOpen", generation })
  }

  private detach(): void {
    this.keys.clear()
    this.transport?.close()
    this.transport = undefined
    this.transportFd = -1
  }

  private useKey(keyId: number): void {
    this.keys.use(keyId)
    this.counters.set(Counter.sealedPackets, 0)
    this.counters.set(Counter.openedPackets, 0)
    this.counters.set(Counter.keyBytes, 0)
  }

  private sendOwn(transport: Transport, payload: Uint8Array): void {
    this.forwarder.send(transport, payload)
    this.settle(transport.flush())
  }

  /** Ends the transport when `failure` says that it is unusable. */
  private settle(failure: string | undefined): void {
    if (failure === undefined) return
    this.detach()
    this.emit({ type: "transportFailed", generation: this.generation, message: failure })
  }
}

const TUN = 0
const TRANSPORT = 1
const EVENTFD = 2

const TUN_READS_PER_TURN = 64
const TUN_PACKETS_PER_TURN = 512
/** 16 slots for received messages, 8 flows that are put together, the TCP buffers and change: 64 KiB each. */
const ARENA_SIZE = 4 * 1024 * 1024
const OCC_EXIT_MESSAGE = Uint8Array.of(...OCC_MAGIC, OCC_EXIT)
