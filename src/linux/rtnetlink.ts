/**
 * Routes, links and addresses of this network namespace, asked of the kernel itself (rtnetlink(7)): a question is answered in
 * 50 microseconds, where a program that asks takes 3 ms. Integers are in the machine's order, addresses in network order.
 *
 * A question that the kernel refuses has no answers; a pod without IPv6 has no routes of it.
 */
import { Arena, cString, type Region, scratch } from "./arena.ts"
import { EINTR, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"
import { AF_INET, AF_INET6, formatAddress } from "./socket.ts"

export interface Route {
  /** A network such as 10.0.0.0/8; 0.0.0.0/0 and ::/0 are the default routes. */
  readonly target: string
  /** Unicast: a route to somebody, not "unreachable" and the like. */
  readonly isUnicast: boolean
  /** Who made it, a number of /etc/iproute2/rt_protos. */
  readonly protocol: number
  /** Index of the link; undefined for a route over several. */
  readonly link: number | undefined
  readonly gateway: string | undefined
  /** The address that packets are sent from, when the route says it. */
  readonly source: string | undefined
  /** Bytes, when the route says them or the path was found to have less than its link. */
  readonly mtu: number | undefined
}

export interface Link {
  readonly index: number
  readonly name: string
  /** Bytes. */
  readonly mtu: number
}

export interface LinkAddress {
  /** Index of the link. */
  readonly link: number
  readonly address: string
}

/** The main table of one family. */
export function mainRoutes(family: 4 | 6): ReadonlyArray<Route> {
  const request = { type: RTM_GETROUTE, header: [familyNumber(family)], headerSize: RTMSG_SIZE }
  return ask(request, RTM_NEWROUTE, (message) => {
    const isCached = (message.view.getUint32(8, true) & RTM_F_CLONED) !== 0
    return tableOf(message) === RT_TABLE_MAIN && !isCached ? routeOf(message) : undefined
  })
}

/** The way to an address, as a packet would take it that comes `from` an address of ours; undefined when there is none. */
export function routeTo(address: string, from?: string): Route | undefined {
  const family = address.includes(":") ? AF_INET6 : AF_INET
  const target = encode(family, address)
  const source = from === undefined ? undefined : encode(family, from)
  if (target === undefined || (from !== undefined && source === undefined)) return undefined
  const header = [family, target.length * 8, (source?.length ?? 0) * 8]
  const attributes = [[RTA_DST, target] as const, ...(source === undefined ? [] : [[RTA_SRC, source] as const])]
  const request = { type: RTM_GETROUTE, header, headerSize: RTMSG_SIZE, attributes }
  return ask(request, RTM_NEWROUTE, routeOf)[0]
}

export function links(): ReadonlyArray<Link> {
  return ask({ type: RTM_GETLINK, header: [], headerSize: IFINFOMSG_SIZE }, RTM_NEWLINK, (message) => {
    const attributes = attributesOf(message, IFINFOMSG_SIZE)
    return {
      index: message.view.getInt32(4, true),
      name: latin1.decode(attributes.get(IFLA_IFNAME)).replace(/\0.*$/, ""),
      mtu: integer(attributes.get(IFLA_MTU)) ?? 0,
    }
  })
}

/** Addresses of global scope, of both families. */
export function globalAddresses(): ReadonlyArray<LinkAddress> {
  return ask({ type: RTM_GETADDR, header: [], headerSize: IFADDRMSG_SIZE }, RTM_NEWADDR, (message) => {
    const attributes = attributesOf(message, IFADDRMSG_SIZE)
    // Of a point-to-point link IFA_ADDRESS is the other end.
    const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
    if (message.bytes[3] !== RT_SCOPE_UNIVERSE || address === undefined) return undefined
    return { link: message.view.getUint32(4, true), address: formatAddress(address) }
  })
}

interface Request {
  readonly type: number
  /** The bytes that are not 0 at the beginning of the family's header. */
  readonly header: ReadonlyArray<number>
  readonly headerSize: number
  /** Without any all objects are asked for. */
  readonly attributes?: ReadonlyArray<readonly [type: number, value: Uint8Array]>
}

/** One answer: what follows its header, which is the `view`'s beginning as well. */
interface Message {
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** What `take` makes of every answer of that type, without the undefined ones. */
function ask<A>(request: Request, type: number, take: (message: Message) => A | undefined): ReadonlyArray<A> {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
  if (fd < 0) throw new SystemError("socket netlink", errno())
  try {
    if (libc.send(fd, buffer.address, compose(request), 0) < 0) throw new SystemError("send netlink", errno())
    const answers: Array<A> = []
    const keep = (message: Message) => {
      const answer = take(message)
      if (answer !== undefined) answers.push(answer)
    }
    for (let isMore = true; isMore; ) isMore = takeAnswers(receive(fd), type, keep) && request.attributes === undefined
    return answers
  } finally {
    libc.close(fd)
  }
}

/** Writes the request to the buffer; its length. */
function compose({ type, header, headerSize, attributes }: Request): number {
  let at = NLMSGHDR_SIZE + headerSize
  buffer.bytes.fill(0, 0, at)
  buffer.bytes.set(header, NLMSGHDR_SIZE)
  for (const [type, value] of attributes ?? []) {
    buffer.view.setUint16(at, 4 + value.length, true)
    buffer.view.setUint16(at + 2, type, true)
    buffer.bytes.set(value, at + 4)
    at += align(4 + value.length)
  }
  buffer.view.setUint32(0, at, true)
  buffer.view.setUint16(4, type, true)
  buffer.view.setUint16(6, attributes === undefined ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST, true)
  return at
}

/** Bytes in the buffer, or 0. The kernel has its answer ready when a request was sent, so nothing has to be waited for. */
function receive(fd: number): number {
  for (;;) {
    const length = libc.recv(fd, buffer.address, buffer.length, MSG_DONTWAIT)
    if (length >= 0 || errno() !== EINTR) return Math.max(0, length)
  }
}

/** Takes the messages in the buffer; false when they are at their end. */
function takeAnswers(length: number, wanted: number, take: (message: Message) => void): boolean {
  for (let at = 0; at + NLMSGHDR_SIZE <= length; ) {
    const size = buffer.view.getUint32(at, true)
    const type = buffer.view.getUint16(at + 4, true)
    if (type === NLMSG_DONE || type === NLMSG_ERROR || size < NLMSGHDR_SIZE || at + size > length) return false
    if (type === wanted) take(part(buffer, at + NLMSGHDR_SIZE, size - NLMSGHDR_SIZE))
    at += align(size)
  }
  return length > 0
}

function part(region: Region, at: number, length: number): Message {
  const bytes = region.bytes.slice(at, at + length)
  return { bytes, view: new DataView(bytes.buffer) }
}

function routeOf(message: Message): Route {
  const { bytes } = message
  const attributes = attributesOf(message, RTMSG_SIZE)
  const family = bytes[0]
  const target = attributes.get(RTA_DST)
  const metrics = attributes.get(RTA_METRICS)
  return {
    target: `${target === undefined ? (family === AF_INET ? "0.0.0.0" : "::") : formatAddress(target)}/${bytes[1]}`,
    isUnicast: bytes[7] === RTN_UNICAST,
    protocol: bytes[5]!,
    link: integer(attributes.get(RTA_OIF)),
    gateway: addressOf(attributes.get(RTA_GATEWAY), family),
    source: addressOf(attributes.get(RTA_PREFSRC), family),
    mtu: metrics === undefined ? undefined : integer(attributesIn(metrics, 0).get(RTAX_MTU)),
  }
}

function addressOf(bytes: Uint8Array | undefined, family: number | undefined): string | undefined {
  return bytes?.length === (family === AF_INET ? 4 : 16) ? formatAddress(bytes) : undefined
}

/** A table of more than 8 bits stands in an attribute. */
function tableOf(message: Message): number | undefined {
  return integer(attributesOf(message, RTMSG_SIZE).get(RTA_TABLE)) ?? message.bytes[4]
}

function attributesOf(message: Message, headerSize: number): ReadonlyMap<number, Uint8Array> {
  return attributesIn(message.bytes, headerSize)
}

function attributesIn(bytes: Uint8Array, begin: number): ReadonlyMap<number, Uint8Array> {
  const found = new Map<number, Uint8Array>()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = begin; at + 4 <= bytes.length; ) {
    const size = view.getUint16(at, true)
    if (size < 4 || at + size > bytes.length) break
    found.set(view.getUint16(at + 2, true) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + size))
    at += align(size)
  }
  return found
}

function integer(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true) : undefined
}

function encode(family: number, literal: string): Uint8Array | undefined {
  const text = cString(name, literal)
  if (text === undefined || libc.inet_pton(family, text, binary.address) !== 1) return undefined
  return binary.bytes.slice(0, family === AF_INET ? 4 : 16)
}

const familyNumber = (family: 4 | 6) => (family === 4 ? AF_INET : AF_INET6)
const align = (size: number) => (size + 3) & ~3
const latin1 = new TextDecoder("latin1")

const name = scratch.allocate(64)
const binary = scratch.allocate(16)
/** The kernel fills at most 32 KiB in one message. */
const BUFFER_SIZE = 64 * 1024
const buffer = new Arena(BUFFER_SIZE).allocate(BUFFER_SIZE)

/** nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port. */
const NLMSGHDR_SIZE = 16
/** rtmsg: u8 family, destination bits, source bits, tos, table, protocol, scope, type; u32 flags. */
const RTMSG_SIZE = 12
/** ifinfomsg: u8 family, u8, u16 type, i32 index, u32 flags, u32 change. */
const IFINFOMSG_SIZE = 16
/** ifaddrmsg: u8 family, bits, flags, scope; u32 index. */
const IFADDRMSG_SIZE = 8

const AF_NETLINK = 16
const NETLINK_ROUTE = 0
const SOCK_RAW = 3
const MSG_DONTWAIT = 0x40
const SOCK_CLOEXEC = 0o2000000
const NLM_F_REQUEST = 0x1
const NLM_F_DUMP = 0x300
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLA_TYPE_MASK = 0x3fff

const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const RTM_NEWADDR = 20
const RTM_GETADDR = 22
const RTM_NEWROUTE = 24
const RTM_GETROUTE = 26
const RTM_F_CLONED = 0x200
const RTN_UNICAST = 1
const RT_TABLE_MAIN = 254
const RT_SCOPE_UNIVERSE = 0

const RTA_DST = 1
const RTA_SRC = 2
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTA_TABLE = 15
const RTAX_MTU = 2
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFLA_IFNAME = 3
const IFLA_MTU = 4
