/**
 * The links that there may be at a time, each with the memory for what waits to be sent. That is taken at the first use of a
 * link, and again by the next one in its place, so that a tunnel which never needs a second link does not pay for it. What is
 * used within one round of receiving only is shared.
 */
import { type Arena, closeFd, type Region } from "../linux/index.ts"
import type { Command } from "./commands.ts"
import type { Counters } from "./counters.ts"
import { LARGEST_PLAIN } from "./framing.ts"
import { KeySlots } from "./keyslots.ts"
import { Link } from "./link.ts"
import { Offloads, offloadNames } from "./offload.ts"
import { StrayBuffers, Strays } from "./strays.ts"
import { TcpTransport } from "./transport-tcp.ts"
import { UdpBuffers, UdpTransport } from "./transport-udp.ts"

type Attachment = Extract<Command, { readonly type: "attachTransport" }>

export class Links {
  /** Also those that are free; a position is a link's for as long as it lives. */
  readonly all: Array<Link> = []
  private readonly transports: Array<{ readonly udp: UdpTransport; tcp: TcpTransport | undefined }> = []
  private readonly arena: Arena
  private readonly counters: Counters
  private readonly offloads: Offloads
  private readonly onError: (reason: number) => void
  private readonly buffers: UdpBuffers
  private strayBuffers: StrayBuffers | undefined = undefined
  private readonly plain: Region

  /** `onError`: for each error of a socket that is survived. */
  constructor(arena: Arena, counters: Counters, offloads: Offloads, onError: (reason: number) => void) {
    this.arena = arena
    this.counters = counters
    this.offloads = offloads
    this.onError = onError
    this.buffers = new UdpBuffers(arena)
    this.plain = arena.allocate(LARGEST_PLAIN)
  }

  /** A further link over sockets, which belong to it from now on. Undefined, with them closed: there are too many. */
  open({ generation, fd, transport: kind, header, keepsBuffer, counters, strays }: Attachment): Link | undefined {
    const position = this.free()
    if (position < 0) {
      closeFd(fd)
      if (strays !== undefined) closeFd(strays.fd)
      return undefined
    }
    const link = this.all[position]!
    const transport = this.transport(position, kind)
    transport.open(fd, header, keepsBuffer)
    link.begin(generation, fd, transport, new Float64Array(counters))
    if (strays !== undefined) {
      this.strayBuffers ??= new StrayBuffers(this.arena)
      link.strays = new Strays(strays.fd, strays.hasControlKey, this.strayBuffers)
    }
    return link
  }

  /** A link that is none of these, with a transport of the same kind as that of `like`, not open and without offloads. */
  aside({ transport }: Link): { readonly link: Link; readonly isStream: boolean } {
    const { arena, counters, buffers, plain } = this
    const isStream = transport instanceof TcpTransport
    const own = isStream
      ? new TcpTransport(arena, counters)
      : new UdpTransport(arena, counters, new Offloads(offloadNames, () => {}), () => {}, buffers)
    return { link: new Link(new KeySlots(arena, plain), own), isStream }
  }

  find(generation: number): Link | undefined {
    for (const link of this.all) if (link.generation === generation) return link
    return undefined
  }

  private free(): number {
    const position = this.all.findIndex(({ generation }) => generation === 0)
    if (position >= 0 || this.all.length === MOST_LINKS) return position
    const udp = new UdpTransport(this.arena, this.counters, this.offloads, this.onError, this.buffers)
    this.transports.push({ udp, tcp: undefined })
    return this.all.push(new Link(new KeySlots(this.arena, this.plain), udp)) - 1
  }

  private transport(position: number, kind: "udp" | "tcp"): UdpTransport | TcpTransport {
    const transports = this.transports[position]!
    if (kind === "udp") return transports.udp
    transports.tcp ??= new TcpTransport(this.arena, this.counters)
    return transports.tcp
  }
}

/** A connection, the one that takes over from it, one that drains still, and a race for the next. */
export const MOST_LINKS = 6
