/**
 * Soon after the tunnel is up, and in quiet moments only, packets of our own go up and down the hot path some hundred times. The
 * engine compiles what has run often: until then a packet takes 50 microseconds longer, and to whoever has few of them, such as a
 * shell over the tunnel, that lasts for minutes. It costs nothing on balance, as every pod that carries packets pays it once.
 *
 * It is the real path, with the real tun's format and the real key's, and with the very objects that packets meet later: other
 * ones would have the engine expect more kinds than there are. Only descriptors, the key and the counters are others meanwhile.
 */
import {
  type Arena,
  closeFd,
  openSocketPair,
  POLLIN,
  type Region,
  readFd,
  receiveBytes,
  sendBytes,
  writeFd,
} from "../linux/index.ts"
import type { DataKey, DirectionKey } from "../protocol/output.ts"
import { type Counters, createCounterMemory, createLinkCounterMemory } from "./counters.ts"
import type { Forwarder } from "./forward.ts"
import type { Link } from "./link.ts"
import type { Links } from "./links.ts"
import { ACK, NEEDS_CSUM, TCP, VNET_HEADER, Vnet } from "./vnet.ts"

/** Where the packets play: the loop. */
export interface Stage {
  carrying: Link | undefined
  serveTun(events: number): void
  serveLink(link: Link, events: number): void
}

export class Rehearsal {
  /** What its packets count, by `Counter`. */
  readonly counts = new Float64Array(createCounterMemory())
  private readonly memory: Region
  private readonly forwarder: Forwarder
  private readonly counters: Counters
  private readonly links: Links
  private key: DataKey | undefined = undefined
  private like: Link | undefined = undefined
  /** ms */
  private due = Number.POSITIVE_INFINITY
  private steps = 0
  private props: Props | undefined = undefined

  constructor(arena: Arena, forwarder: Forwarder, counters: Counters, links: Links) {
    this.memory = arena.allocate(3 * LENGTH)
    this.forwarder = forwarder
    this.counters = counters
    this.links = links
  }

  /** Packets will look as this key makes them. */
  learn(key: DataKey): void {
    this.key ??= keyLike(key)
  }

  /** `link` carries packets from now (ms) on: a while later they will have a transport of its kind. */
  schedule(now: number, link: Link): void {
    this.like = link
    if (this.due === Number.POSITIVE_INFINITY) this.due = now + DELAY
  }

  /** How long (ms) a poll may take that would be `timeout` without this. */
  patience(now: number, timeout: number): number {
    if (this.due === Number.POSITIVE_INFINITY || this.isOver) return timeout
    return Math.max(0, Math.min(timeout, Math.ceil(this.due - now)))
  }

  get isOver(): boolean {
    return this.steps >= STEPS
  }

  /** In a quiet moment: one packet goes up and comes down again, if it is time for one. */
  step(now: number, stage: Stage): boolean {
    if (this.isOver || now < this.due || this.forwarder.tun.fd < 0) return false
    this.props ??= this.begin()
    if (this.props === undefined) {
      this.steps = STEPS
      return false
    }
    this.play(this.props, stage)
    this.steps++
    if (this.isOver) {
      this.end()
    }
    return true
  }

  /** It is over. */
  end(): void {
    this.steps = STEPS
    if (this.props === undefined) return
    const { link, tun, server } = this.props
    link.end()
    for (const fd of [...tun, server]) closeFd(fd)
    this.props = undefined
  }

  private begin(): Props | undefined {
    const { key, like } = this
    if (key === undefined || like === undefined) return undefined
    const { link, isStream } = this.links.aside(like)
    const tun = openSocketPair("packets")
    const [ours, server] = openSocketPair(isStream ? "stream" : "packets")
    link.transport.open(ours)
    link.transport.writable()
    link.begin(0, ours, link.transport, new Float64Array(createLinkCounterMemory()))
    link.keys.install(key, { packets: 64, seconds: 15 })
    link.keys.use(key.keyId)
    // The first use of a key is news.
    link.keys.sending!.used = true
    this.write(0, ICMP)
    this.write(LENGTH, TCP)
    return { link, tun, server }
  }

  private play({ link, tun: [ours, others], server }: Props, stage: Stage): void {
    const { forwarder, counters, memory } = this
    const { tun, drains } = forwarder
    const { fd } = tun
    const { carrying } = stage
    const { values } = counters
    const other = memory.at(2 * LENGTH, LENGTH)
    tun.fd = ours
    forwarder.drains = none
    stage.carrying = link
    counters.values = this.counts
    writeFd(others, memory.at((this.steps & 1) * LENGTH, PACKET), PACKET)
    stage.serveTun(POLLIN)
    this.reflect(server, other)
    stage.serveLink(link, POLLIN)
    readFd(others, other, LENGTH)
    counters.values = values
    stage.carrying = carrying
    forwarder.drains = drains
    tun.fd = fd
  }

  /** Sends back what came to the far end. In pieces a packet is more than one. */
  private reflect(server: number, buffer: number): void {
    for (let length = 1; length > 0; ) {
      length = receiveBytes(server, buffer, LENGTH)
      if (length > 0) sendBytes(server, buffer, length)
    }
  }

  /** A packet as the tun gives it, of `PACKET` bytes with all headers. */
  private write(at: number, protocol: number): void {
    const { bytes, view } = this.memory
    const { hasHeader, frameHeader } = this.forwarder.tun
    const ip = at + (hasHeader ? VNET_HEADER : 0) + frameHeader
    if (frameHeader > 0) view.setUint16(ip - 2, ETHERTYPE_IPV4)
    bytes[ip] = 0x45
    view.setUint16(ip + 2, at + PACKET - ip)
    bytes[ip + 8] = 64
    bytes[ip + 9] = protocol
    if (protocol !== TCP) return
    bytes[ip + 32] = 5 << 4
    bytes[ip + 33] = ACK
    if (!hasHeader) return
    bytes[at + Vnet.flags] = NEEDS_CSUM
    view.setUint16(at + Vnet.checksumStart, frameHeader + 20, true)
    view.setUint16(at + Vnet.checksumOffset, 16, true)
  }
}

interface Props {
  readonly link: Link
  readonly tun: readonly [ours: number, others: number]
  /** The far end of the link's transport. */
  readonly server: number
}

/** A key of the same format, with nothing secret in it, that opens what it seals. */
function keyLike(key: DataKey): DataKey {
  const { cipherKey, implicitIv, hmacKey } = key.send
  const direction: DirectionKey = {
    cipherKey: new Uint8Array(cipherKey.length),
    implicitIv: new Uint8Array(implicitIv.length),
    ...(hmacKey && { hmacKey: new Uint8Array(hmacKey.length) }),
  }
  return { ...key, send: direction, receive: direction }
}

const none: ReadonlyArray<never> = []
/** ms after the tunnel is up: others have work of their own until then. */
const DELAY = 100
/** With 400 the first packets of a pod took 1.2 times OpenVPN's time still, with 1500 they take the same, and more gave no more. */
export const STEPS = 1500
/** Bytes of a packet in the tun, and with what the tunnel puts around it. */
const PACKET = 110
const LENGTH = 256
const ICMP = 1
const ETHERTYPE_IPV4 = 0x0800
