/**
 * Routes, links and addresses of this network namespace, asked of the kernel itself (rtnetlink(7)): a question is answered in
 * 50 microseconds, where a program that asks takes 3 ms. A question that the kernel refuses is a SystemError, such as
 * ENETUNREACH for the way to where none leads.
 */
import { cString, scratch } from "./arena.ts"
import { libc } from "./libc.ts"
import { ask, attributesIn, attributesOf, integer, type Message, NETLINK_ROUTE } from "./netlink.ts"
import {
  FRA_PRIORITY,
  IFA_ADDRESS,
  IFA_LOCAL,
  IFADDRMSG_SIZE,
  IFINFOMSG_SIZE,
  IFLA_IFNAME,
  IFLA_MTU,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTA_DST,
  RTA_GATEWAY,
  RTA_METRICS,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_SRC,
  RTA_TABLE,
  RTAX_MTU,
  RTM_F_CLONED,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_GETRULE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  RTMSG_SIZE,
  RTN_UNICAST,
} from "./rtnumbers.ts"
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
  return ask(NETLINK_ROUTE, request, RTM_NEWROUTE, (message) => {
    const isCached = (message.view.getUint32(8, true) & RTM_F_CLONED) !== 0
    return tableOf(message) === RT_TABLE_MAIN && !isCached ? routeOf(message) : undefined
  })
}

/** The way to an address, as a packet would take it that comes `from` an address of ours; undefined for what is none. */
export function routeTo(address: string, from?: string): Route | undefined {
  const family = address.includes(":") ? AF_INET6 : AF_INET
  const target = encode(family, address)
  const source = from === undefined ? undefined : encode(family, from)
  if (target === undefined || (from !== undefined && source === undefined)) return undefined
  const header = [family, target.length * 8, (source?.length ?? 0) * 8]
  const attributes = [[RTA_DST, target] as const, ...(source === undefined ? [] : [[RTA_SRC, source] as const])]
  const request = { type: RTM_GETROUTE, header, headerSize: RTMSG_SIZE, attributes }
  return ask(NETLINK_ROUTE, request, RTM_NEWROUTE, routeOf)[0]
}

/** Whether some table has a route of this protocol, or there is a rule of this preference. */
export function hasMarked(protocol: number, preference: number): boolean {
  const marked = [AF_INET, AF_INET6].flatMap((family) => [
    ...ask(
      NETLINK_ROUTE,
      { type: RTM_GETROUTE, header: [family], headerSize: RTMSG_SIZE },
      RTM_NEWROUTE,
      ({ bytes }) => (bytes[5] === protocol ? true : undefined),
    ),
    ...ask(NETLINK_ROUTE, { type: RTM_GETRULE, header: [family], headerSize: RTMSG_SIZE }, RTM_NEWRULE, (message) =>
      integer(attributesOf(message, RTMSG_SIZE).get(FRA_PRIORITY)) === preference ? true : undefined,
    ),
  ])
  return marked.length > 0
}

export function links(): ReadonlyArray<Link> {
  return ask(NETLINK_ROUTE, { type: RTM_GETLINK, header: [], headerSize: IFINFOMSG_SIZE }, RTM_NEWLINK, (message) => {
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
  return ask(NETLINK_ROUTE, { type: RTM_GETADDR, header: [], headerSize: IFADDRMSG_SIZE }, RTM_NEWADDR, (message) => {
    const attributes = attributesOf(message, IFADDRMSG_SIZE)
    // Of a point-to-point link IFA_ADDRESS is the other end.
    const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
    if (message.bytes[3] !== RT_SCOPE_UNIVERSE || address === undefined) return undefined
    return { link: message.view.getUint32(4, true), address: formatAddress(address) }
  })
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

/** 4 or 16 bytes, in network order; undefined for what is no address of the family. */
export function encode(family: number, literal: string): Uint8Array | undefined {
  const text = cString(name, literal)
  if (text === undefined || libc.inet_pton(family, text, binary.address) !== 1) return undefined
  return binary.bytes.slice(0, family === AF_INET ? 4 : 16)
}

export const familyNumber = (family: 4 | 6) => (family === 4 ? AF_INET : AF_INET6)
const latin1 = new TextDecoder("latin1")

const name = scratch.allocate(64)
const binary = scratch.allocate(16)
