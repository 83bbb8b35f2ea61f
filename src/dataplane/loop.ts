/**
 * The worker's loop: one poll(2) over the tun, the links' transports and the eventfd, then a bounded amount of work for each.
 * Commands come in between two turns.
 */
import {
  Arena,
  EMSGSIZE,
  errnoName,
  monotonicMilliseconds,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  Poll,
  pauseMicroseconds,
  setReceiveBuffer,
  setSendBuffer,
  setTimerSlack,
  takeEventfd,
} from "../linux/index.ts"
import { OCC_EXIT, OCC_MAGIC, PING_MAGIC } from "../protocol/datachannel.ts"
import type { Command, Event } from "./commands.ts"
import { Counter, type Counters, LinkCounter } from "./counters.ts"
import { Drain } from "./drain.ts"
import { Forwarder } from "./forward.ts"
import type { Link } from "./link.ts"
import { Links, MOST_LINKS } from "./links.ts"
import { Moderation } from "./moderation.ts"
import { type OffloadName, Offloads } from "./offload.ts"
import { Rehearsal, type Stage } from "./rehearsal.ts"

export class Loop implements Stage {
  private readonly eventfd: number
  private readonly counters: Counters
  private readonly emit: (event: Event) => void
  private readonly forwarder: Forwarder
  private readonly poll: Poll
  private readonly moderation = new Moderation()
  private readonly links: Links
  private readonly rehearsal: Rehearsal
  /** Where packets from the tun go. */
  carrying: Link | undefined = undefined
  /** Links that have a socket for strangers. */
  private floating = 0
  /** Until then (ms) the tun is not read; 0: it is. */
  private heldUntil = 0
  /** As the present poll has it. */
  private isTunWanted = false
  /** By errno: when (ms) it was told last. */
  private readonly told = new Map<number, number>()

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
    this.forwarder = new Forwarder(arena, counters, offloads, emit)
    this.poll = new Poll(LINKS + 2 * MOST_LINKS, arena)
    this.links = new Links(arena, counters, offloads, (reason) => this.tellError(reason))
    this.rehearsal = new Rehearsal(arena, this.forwarder, counters, this.links)
  }

  /** One poll of at most `timeout` ms and what it calls for; returns how many commands were signalled. */
  turn(timeout: number): number {
    this.moderate()
    this.arm()
    const { all } = this.links
    const slots = this.floating === 0 ? LINKS + all.length : STRAYS + all.length
    const patience = this.rehearsal.patience(this.forwarder.now, timeout)
    const ready = this.poll.wait(this.heldUntil === 0 ? patience : this.untilRelease(patience), slots)
    const now = monotonicMilliseconds()
    this.forwarder.now = now
    this.counters.set(Counter.heartbeat, now)
    if (ready === 0 && this.rehearsal.step(now, this)) return 0
    this.counters.add(Counter.turns, 1)
    const delivered = this.counters.values[Counter.tunWritePackets]!
    if (this.floating > 0) this.serveStrays()
    for (let i = 0; i < all.length; i++) {
      const events = this.poll.events(LINKS + i)
      if (events !== 0) this.serveLink(all[i]!, events)
    }
    const tunEvents = this.poll.events(TUN)
    if (tunEvents !== 0) this.serveTun(tunEvents)
    // The pod's TCP answers within the write: by an acknowledgement, or by what one made room for.
    else if (this.isTunWanted && !this.moderation.isCalm && this.counters.values[Counter.tunWritePackets]! > delivered)
      this.serveTun(POLLIN)
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
      case "hold":
        this.heldUntil = this.forwarder.now + command.milliseconds
        return
      case "sync":
        this.emit({ type: "pong", number: command.number })
        return
      case "attachTransport":
        this.attach(command)
        return
    }
    const link = this.links.find(command.generation)
    if (link === undefined) return
    switch (command.type) {
      case "detachTransport":
        this.detach(link)
        return
      case "transmit":
        this.settle(link, link.transport.transmit(command.packet))
        return
      case "installKey":
        link.keys.install(command.key, command.replayWindow)
        this.rehearsal.learn(command.key)
        if (link.isAwaitingKey) this.forwarder.takeUp(link)
        return
      case "useKey":
        this.useKey(link, command.keyId)
        return
      case "retireKey":
        link.keys.retire(command.keyId)
        return
      case "ping":
        this.sendOwn(link, PING_MAGIC)
        return
      case "occ":
        this.sendOwn(link, command.message)
        return
      case "occExit":
        this.sendOwn(link, OCC_EXIT_MESSAGE)
        return
      case "roam":
        this.roam(link, command.to)
        return
      case "resizeBuffers":
        if (command.send !== undefined) setSendBuffer(link.fd, command.send)
        if (command.receive === undefined) return
        link.transport.keepBuffer()
        setReceiveBuffer(link.fd, command.receive)
        return
      case "carry":
        this.carrying = link
        this.heldUntil = 0
        this.rehearsal.schedule(this.forwarder.now, link)
        return
      case "drain":
        this.drain(link, command.addresses)
        return
    }
  }

  /** Closes all transports and forgets everything. */
  close(): void {
    this.rehearsal.end()
    for (const link of this.links.all) this.detach(link)
    this.forwarder.tun.detach()
  }

  private moderate(): void {
    const { values } = this.counters
    const received = values[Counter.transportReadPackets]!
    const all = values[Counter.tunReadPackets]! + received
    const lone = values[Counter.tunLonePackets]! + received
    const bytes = values[Counter.tunLoneBytes]! + values[Counter.transportReadBytes]!
    const pause = this.moderation.pause(this.forwarder.now, all, lone, bytes)
    if (pause === 0) return
    const begin = monotonicMilliseconds()
    pauseMicroseconds(pause)
    this.moderation.awoke(begin, monotonicMilliseconds())
  }

  private arm(): void {
    this.isTunWanted = this.heldUntil === 0 && this.isReadyForTun()
    this.poll.set(TUN, this.isTunWanted ? this.forwarder.tun.fd : -1, POLLIN)
    this.poll.set(EVENTFD, this.eventfd, POLLIN)
    const { all } = this.links
    for (let i = 0; i < all.length; i++) {
      const { fd, transport } = all[i]!
      this.poll.set(LINKS + i, fd, transport.interest)
      if (this.floating > 0) this.poll.set(STRAYS + i, all[i]!.strays?.fd ?? -1, POLLIN)
    }
  }

  /** Whichever link the next packet belongs to can take it, or has been unable to for so long that it may be dead. */
  private isReadyForTun(): boolean {
    const { carrying } = this
    if (carrying !== undefined && !carrying.transport.isReady) return false
    const { drains, now } = this.forwarder
    for (let i = 0; i < drains.length; i++) if (drains[i]!.isBlocking(now)) return false
    return true
  }

  /** ms of the next poll while the tun is held; when the time is over it no longer is. */
  private untilRelease(timeout: number): number {
    const remaining = Math.ceil(this.heldUntil - monotonicMilliseconds())
    if (remaining > 0) return Math.min(timeout, remaining)
    this.heldUntil = 0
    return 0
  }

  serveLink(link: Link, events: number): void {
    const { transport } = link
    const wasOpen = transport.isOpen
    if (!wasOpen || (events & POLLOUT) !== 0) {
      const failure = transport.writable()
      if (failure !== undefined) {
        this.settle(link, failure)
        return
      }
      if (!wasOpen) this.emit({ type: "transportOpen", generation: link.generation })
    }
    if ((events & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) !== 0) this.settle(link, this.forwarder.receiveFrom(link))
  }

  private serveStrays(): void {
    const { all } = this.links
    for (let i = 0; i < all.length; i++) {
      const { strays } = all[i]!
      if (strays !== undefined && this.poll.events(STRAYS + i) !== 0) this.forwarder.receiveStrays(all[i]!, strays)
    }
  }

  serveTun(events: number): void {
    let packets = 0
    for (let reads = 0; reads < TUN_READS_PER_TURN && packets < TUN_PACKETS_PER_TURN; reads++) {
      const more = this.readTun()
      if (more === 0) break
      packets += more
      // A lone packet leaves at once: whether there are others the next poll says.
      if (packets === 1 && this.moderation.isCalm) break
    }
    if (this.carrying !== undefined) this.settle(this.carrying, this.carrying.transport.flush())
    const { drains } = this.forwarder
    for (let i = 0; i < drains.length; i++) this.settle(drains[i]!.link, drains[i]!.link.transport.flush())
    // An error without a reason would wake every poll from now on. A tun that is only down reports none.
    if (packets === 0 && (events & ~POLLIN) !== 0) this.forwarder.tun.lose("poll: POLLERR")
  }

  private readTun(): number {
    const { carrying } = this
    if (carrying === undefined) return this.forwarder.discardFromTun()
    return this.isReadyForTun() ? this.forwarder.forwardFromTun(carrying) : 0
  }

  private attach(command: Extract<Command, { readonly type: "attachTransport" }>): void {
    const { generation } = command
    const link = this.links.open(command)
    if (link === undefined) {
      const message = `there are ${MOST_LINKS} links to servers already`
      this.emit({ type: "transportFailed", generation, message })
      return
    }
    if (link.strays !== undefined) this.floating++
    link.passTos = command.passTos === true && command.transport === "udp"
    if (link.transport.isOpen) this.emit({ type: "transportOpen", generation })
  }

  private detach(link: Link): void {
    if (this.carrying === link) this.carrying = undefined
    if (link.strays !== undefined) this.floating--
    this.forwarder.forget(link)
    link.end()
  }

  private drain(link: Link, addresses: ReadonlyArray<Uint8Array>): void {
    const others = this.forwarder.drains.filter((drain) => drain.link !== link)
    this.forwarder.drains = addresses.length === 0 ? others : [...others, new Drain(link, addresses)]
  }

  private useKey({ keys, counts }: Link, keyId: number): void {
    keys.use(keyId)
    counts[LinkCounter.sealedPackets] = 0
    counts[LinkCounter.openedPackets] = 0
    counts[LinkCounter.keyBytes] = 0
  }

  /** To where it was, or to another place. What has come from there so far goes before what comes to the peer's socket now. */
  private roam(link: Link, to: Uint8Array | undefined): void {
    link.transport.roam(to)
    const { strays } = link
    if (strays !== undefined)
      for (let round = 0; round < STRAY_ROUNDS && this.forwarder.receiveStrays(link, strays); round++);
    this.sendOwn(link, PING_MAGIC)
  }

  private sendOwn(link: Link, payload: Uint8Array): void {
    this.forwarder.send(link, payload)
    this.settle(link, link.transport.flush())
  }

  /** Every packet may meet the same error: that is one piece of news. */
  private tellError(reason: number): void {
    const { now } = this.forwarder
    const isSize = reason === EMSGSIZE
    const told = this.told.get(reason) ?? Number.NEGATIVE_INFINITY
    if (now - told < (isSize ? TOO_LARGE_INTERVAL : ERROR_INTERVAL)) return
    this.told.set(reason, now)
    this.emit(isSize ? { type: "pathTooSmall" } : { type: "transportError", error: errnoName(reason) })
  }

  /** Ends the link when `failure` says that its transport is unusable. */
  private settle(link: Link, failure: string | undefined): void {
    if (failure === undefined) return
    const { generation } = link
    this.detach(link)
    this.emit({ type: "transportFailed", generation, message: failure })
  }
}

const TUN = 0
const EVENTFD = 1
/** The first of them; each has the place that it has in `Links`. Their sockets for strangers follow in the same order. */
const LINKS = 2
const STRAYS = LINKS + MOST_LINKS

/** ms */
const TOO_LARGE_INTERVAL = 250
const ERROR_INTERVAL = 10_000
const TUN_READS_PER_TURN = 64
const TUN_PACKETS_PER_TURN = 512
/** Of strangers' packets, when a link moves to where they come from: more than a socket's buffer holds of large ones. */
const STRAY_ROUNDS = 64
/**
 * 16 slots for received messages, 8 flows that are put together and change: 64 KiB each, what is parked, and for each of six links
 * its queues, of which those of TCP are the largest part, and packets in pieces: 9 MiB. Pages that are never used cost nothing.
 */
const ARENA_SIZE = 12 * 1024 * 1024
const OCC_EXIT_MESSAGE = Uint8Array.of(...OCC_MAGIC, OCC_EXIT)
