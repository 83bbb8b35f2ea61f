/**
 * Changes links, addresses, routes and rules of this network namespace (rtnetlink(7)). What is to be done is said in the words of
 * ip(8), so that a line means here what it means to an administrator; of that language this is what our own plans are made of:
 *
 *   link set dev NAME [mtu N] [up]
 *   address replace|del ADDRESS[/PREFIX] [peer ADDRESS] dev NAME [nodad] [preferred_lft SECONDS]
 *   route replace|del NETWORK [via ADDRESS] dev NAME [onlink] [proto N] [table N] [metric N] [src ADDRESS] [mtu N]
 *   route flush table all proto N
 *   rule add|del [from ADDRESS] [lookup TABLE] pref N
 */
import { cString, scratch } from "./arena.ts"
import { EINVAL, ENODEV, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"
import { ask, change, NETLINK_ROUTE, type Request } from "./netlink.ts"
import { encode, familyNumber } from "./rtnetlink.ts"
import * as rt from "./rtnumbers.ts"
import { AF_INET6 } from "./socket.ts"

/** Carries out one line. A refusal, and a line that cannot be understood, is a SystemError. */
export function changeNetwork(line: string, family: 4 | 6): void {
  const [object = "", verb = "", ...words] = line.split(" ")
  const form = forms[`${object} ${verb}`]
  if (form === undefined) throw new SystemError(`"${object} ${verb}" is no change that is known`, EINVAL)
  form(new Words(words), familyNumber(family))
}

const forms: Readonly<Record<string, (words: Words, family: number) => void>> = {
  "link set": (words) => {
    const link = words.device()
    const isUp = words.has("up")
    const header = new Header(rt.IFINFOMSG_SIZE)
    header.view.setInt32(4, link, true)
    header.view.setUint32(8, isUp ? rt.IFF_UP : 0, true)
    header.view.setUint32(12, isUp ? rt.IFF_UP : 0, true)
    request(rt.RTM_NEWLINK, 0, header, [[rt.IFLA_MTU, words.number("mtu")]])
  },
  "address replace": (words, family) =>
    changeAddress(rt.RTM_NEWADDR, rt.NLM_F_CREATE | rt.NLM_F_REPLACE, words, family),
  "address del": (words, family) => changeAddress(rt.RTM_DELADDR, 0, words, family),
  "route replace": (words, family) => changeRoute(rt.RTM_NEWROUTE, rt.NLM_F_CREATE | rt.NLM_F_REPLACE, words, family),
  "route del": (words, family) => changeRoute(rt.RTM_DELROUTE, 0, words, family),
  "route flush": (words, family) => flushRoutes(words.required("proto"), family),
  "rule add": (words, family) => changeRule(rt.RTM_NEWRULE, rt.NLM_F_CREATE | rt.NLM_F_EXCL, words, family),
  "rule del": (words, family) => changeRule(rt.RTM_DELRULE, 0, words, family),
}

function changeAddress(type: number, flags: number, words: Words, family: number): void {
  const { bytes, prefix } = words.network(family)
  const peer = words.address("peer", family) ?? bytes
  const lifetime = words.number("preferred_lft")
  const header = new Header(rt.IFADDRMSG_SIZE)
  header.view.setUint8(0, family)
  header.view.setUint8(1, prefix)
  header.view.setUint8(2, words.has("nodad") ? rt.IFA_F_NODAD : 0)
  header.view.setUint32(4, words.device(), true)
  request(type, flags, header, [
    [rt.IFA_LOCAL, bytes],
    [rt.IFA_ADDRESS, peer],
    // Preferred and valid for so many seconds; then when it was made and changed, which is the kernel's to say.
    [rt.IFA_CACHEINFO, lifetime === undefined ? undefined : concatenated(lifetime, FOREVER, integer(0), integer(0))],
  ])
}

function changeRoute(type: number, flags: number, words: Words, family: number): void {
  const { bytes, prefix } = words.network(family)
  const gateway = words.address("via", family)
  const table = words.number("table")
  const mtu = words.number("mtu")
  const isNew = type === rt.RTM_NEWROUTE
  const header = new Header(rt.RTMSG_SIZE)
  header.view.setUint8(0, family)
  header.view.setUint8(1, prefix)
  // A larger one stands in the attribute alone.
  header.view.setUint8(4, table === undefined ? rt.RT_TABLE_MAIN : rt.RT_TABLE_UNSPEC)
  header.view.setUint8(5, Number(words.value("proto") ?? (isNew ? rt.RTPROT_BOOT : 0)))
  header.view.setUint8(6, family === AF_INET6 ? rt.RT_SCOPE_UNIVERSE : scopeOf(isNew, gateway))
  header.view.setUint8(7, isNew ? rt.RTN_UNICAST : 0)
  header.view.setUint32(8, words.has("onlink") ? rt.RTNH_F_ONLINK : 0, true)
  request(type, flags, header, [
    [rt.RTA_DST, bytes],
    [rt.RTA_GATEWAY, gateway],
    [rt.RTA_OIF, integer(words.device())],
    [rt.RTA_TABLE, table],
    [rt.RTA_PRIORITY, words.number("metric")],
    [rt.RTA_PREFSRC, words.address("src", family)],
    [rt.RTA_METRICS, mtu === undefined ? undefined : attribute(rt.RTAX_MTU, mtu)],
  ])
}

/** Of IPv4: how far away its target is; a route that is to go may have any. */
function scopeOf(isNew: boolean, gateway: Uint8Array | undefined): number {
  if (!isNew) return rt.RT_SCOPE_NOWHERE
  return gateway === undefined ? rt.RT_SCOPE_LINK : rt.RT_SCOPE_UNIVERSE
}

function flushRoutes(protocol: string, family: number): void {
  const all = { type: rt.RTM_GETROUTE, header: [family], headerSize: rt.RTMSG_SIZE }
  const own = ask(NETLINK_ROUTE, all, rt.RTM_NEWROUTE, ({ bytes }) =>
    bytes[5] === Number(protocol) ? bytes : undefined,
  )
  // The answer with another type is the request to remove what it says.
  for (const header of own)
    change(NETLINK_ROUTE, { type: rt.RTM_DELROUTE, header: [...header], headerSize: header.length, attributes: [] })
}

function changeRule(type: number, flags: number, words: Words, family: number): void {
  const source = words.address("from", family)
  const table = words.number("lookup")
  const header = new Header(rt.RTMSG_SIZE)
  header.view.setUint8(0, family)
  header.view.setUint8(2, (source?.length ?? 0) * 8)
  header.view.setUint8(7, table === undefined ? 0 : rt.FR_ACT_TO_TBL)
  request(type, flags, header, [
    [rt.FRA_SRC, source],
    [rt.FRA_PRIORITY, words.number("pref")],
    [rt.FRA_TABLE, table],
  ])
}

/** Attributes without a value are left out. */
function request(
  type: number,
  flags: number,
  { bytes }: Header,
  attributes: ReadonlyArray<readonly [type: number, value: Uint8Array | undefined]>,
): void {
  const given = attributes.filter((pair): pair is readonly [number, Uint8Array] => pair[1] !== undefined)
  const message: Request = { type, flags, header: [...bytes], headerSize: bytes.length }
  change(NETLINK_ROUTE, { ...message, attributes: given })
}

class Header {
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }
}

/** What follows an object and its verb: a network perhaps, then keywords, most of them with a value. */
class Words {
  private readonly first: string
  private readonly flags = new Set<string>()
  private readonly values = new Map<string, string>()

  constructor(words: ReadonlyArray<string>) {
    const [first = ""] = words
    const hasNetwork = !switches.has(first) && !keywords.has(first)
    this.first = hasNetwork ? first : ""
    // A value is never taken for a keyword: a device may be called "via".
    for (let at = hasNetwork ? 1 : 0; at < words.length; at++) {
      const word = words[at]!
      if (switches.has(word)) this.flags.add(word)
      else if (keywords.has(word)) this.values.set(word, words[++at] ?? refuse(`${word} has no value`))
      else refuse(`"${word}" is no word that is known`)
    }
  }

  has(flag: string): boolean {
    return this.flags.has(flag)
  }

  value(name: string): string | undefined {
    return this.values.get(name)
  }

  required(name: string): string {
    return this.value(name) ?? refuse(`${name} is missing`)
  }

  /** As a u32. */
  number(name: string): Uint8Array | undefined {
    const value = this.value(name)
    if (value === undefined) return undefined
    return /^\d{1,10}$/.test(value) ? integer(Number(value)) : refuse(`${name} ${value} is no number`)
  }

  address(name: string, family: number): Uint8Array | undefined {
    const value = this.value(name)
    return value === undefined ? undefined : (encode(family, value) ?? refuse(`${name} ${value} is no address`))
  }

  /** The first word; without a prefix it is a single address. */
  network(family: number): { readonly bytes: Uint8Array; readonly prefix: number } {
    const [literal = "", length] = this.first.split("/")
    const bytes = encode(family, literal) ?? refuse(`${literal} is no address`)
    const prefix = length === undefined ? bytes.length * 8 : Number(length)
    return prefix <= bytes.length * 8 ? { bytes, prefix } : refuse(`/${length} is no prefix length`)
  }

  /** The index of the link. */
  device(): number {
    const device = this.required("dev")
    const text = cString(deviceName, device)
    const index = text === undefined ? 0 : libc.if_nametoindex(text)
    if (index === 0) throw new SystemError(`there is no device ${device}`, ENODEV)
    return index
  }
}

function refuse(why: string): never {
  throw new SystemError(why, EINVAL)
}

function integer(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

/** One inside of another; `value` is a multiple of 4 bytes. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  return concatenated(Uint8Array.of(4 + value.length, 0, type, 0), value)
}

function concatenated(...parts: ReadonlyArray<Uint8Array>): Uint8Array {
  return Uint8Array.from(parts.flatMap((bytes) => [...bytes]))
}

const switches: ReadonlySet<string> = new Set(["up", "onlink", "nodad"])
const keywords: ReadonlySet<string> = new Set(
  "dev mtu peer preferred_lft via proto table metric src from lookup pref".split(" "),
)

const deviceName = scratch.allocate(16)

const FOREVER = integer(0xffffffff)
