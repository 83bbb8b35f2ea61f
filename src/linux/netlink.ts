/**
 * Netlink: questions to the kernel and their answers, and hearing of changes of the packet filter and of routing, all about this
 * network namespace. Integers are in the machine's order, addresses in network order.
 */
import { PlainArena, type Region, scratch } from "./arena.ts"
import { EINTR, ENOENT, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

/** Hears what the kernel announces, until it is closed. */
export interface Watch {
  close(): void
}

/**
 * `changed` gets the generations of the packet filter, as `filterGeneration` gives them, that changed something with `name` in it, and
 * UNKNOWN_GENERATION when announcements were lost. `failed`: nothing more will be heard. Needs CAP_NET_ADMIN.
 */
export function watchFilter(
  name: string,
  changed: (generation: number) => void,
  failed: (error: unknown) => void,
): Watch {
  return watch(NETLINK_NETFILTER, 1 << (NFNLGRP_NFTABLES - 1), failed, (datagram) => {
    if (datagram === undefined) return changed(UNKNOWN_GENERATION)
    const generations = new Set<number>()
    // What announces a generation has the name of a program in it.
    for (const { bytes, view } of messagesIn(datagram))
      if (view.getUint16(4, true) !== NFT_MSG_NEWGEN && latin1.decode(bytes).includes(name))
        generations.add(view.getUint16(NLMSGHDR_SIZE + 2))
    for (const generation of generations) changed(generation)
  })
}

/**
 * `changed` is called when links, their addresses or routes changed, or announcements of that were lost; not for what only has to do
 * with the link or the routing protocol in `except`. The kernel's own routes come and go with addresses. `failed`: nothing more will be heard.
 */
export function watchRouting(
  except: { readonly link: number; readonly protocol: number } | undefined,
  changed: () => void,
  failed: (error: unknown) => void,
): Watch {
  const concerns = ({ view }: Message) => {
    const type = view.getUint16(4, true)
    if (type === RTM_NEWROUTE || type === RTM_DELROUTE) {
      const protocol = view.getUint8(NLMSGHDR_SIZE + 5)
      return protocol !== except?.protocol && protocol !== RTPROT_KERNEL
    }
    // ifinfomsg and ifaddrmsg have the index at the same place.
    return view.getUint32(NLMSGHDR_SIZE + 4, true) !== except?.link
  }
  const groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
  return watch(NETLINK_ROUTE, groups, failed, (datagram) => {
    if (datagram === undefined || messagesIn(datagram).some(concerns)) changed()
  })
}

/** `heard` gets each datagram, and undefined when more happened than the socket could hold, from when on it hears with another one. */
function watch(
  protocol: number,
  groups: number,
  failed: (error: unknown) => void,
  heard: (datagram: Uint8Array | undefined) => void,
): Watch {
  let isClosed = false
  let socket: Bun.Socket | undefined
  const open = async () => {
    const opened = await connect({
      // Bun closes it.
      fd: openWatch(protocol, groups),
      socket: {
        binaryType: "uint8array",
        data: (_, datagram) => heard(datagram),
        // ENOBUFS is the only error of such a socket.
        close: () => {
          if (isClosed) return
          open().then(() => heard(undefined), failed)
        },
      },
    })
    socket = opened
    if (isClosed) opened.terminate()
  }
  open().catch(failed)
  return {
    close() {
      isClosed = true
      socket?.terminate()
    },
  }
}

/** Bun's declarations have the options, and leave the function that takes them out. */
const connect = Bun.connect as unknown as (options: Bun.FdSocketOptions) => Promise<Bun.Socket>

function openWatch(protocol: number, groups: number): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
  if (fd < 0) throw new SystemError("socket netlink", errno())
  address.view.setUint16(0, AF_NETLINK, true)
  address.view.setUint32(8, groups, true)
  if (libc.bind(fd, address.address, SOCKADDR_NL_SIZE) < 0) {
    const reason = errno()
    libc.close(fd)
    throw new SystemError("bind netlink", reason)
  }
  return fd
}

/** Those of a datagram, or of several, that have a family's header. */
function messagesIn(datagram: Uint8Array): ReadonlyArray<Message> {
  const messages: Array<Message> = []
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length)
  for (let at = 0; at + NLMSGHDR_SIZE + 8 <= datagram.length; ) {
    const size = Math.max(NLMSGHDR_SIZE + 8, view.getUint32(at, true))
    const bytes = datagram.subarray(at, at + size)
    messages.push({ bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) })
    at += align(size)
  }
  return messages
}

/** Which generation of the packet filter is in force: each transaction makes the next one. The lower 16 bits. Needs CAP_NET_ADMIN. */
export function filterGeneration(): number {
  const request = { type: NFT_MSG_GETGEN, header: [], headerSize: NFGENMSG_SIZE, attributes: [] }
  const [generation] = ask(NETLINK_NETFILTER, request, NFT_MSG_NEWGEN, (answer) =>
    attributesOf(answer, NFGENMSG_SIZE).get(NFTA_GEN_ID),
  )
  if (generation?.length !== 4) throw new SystemError("recv netlink", ENOENT)
  return new DataView(generation.buffer, generation.byteOffset, 4).getUint16(2)
}

/** Whether nftables has this table of the family inet. Needs CAP_NET_ADMIN; a kernel without nftables is a SystemError. */
export function hasFilterTable(name: string): boolean {
  const request = {
    type: NFT_MSG_GETTABLE,
    header: [NFPROTO_INET],
    headerSize: NFGENMSG_SIZE,
    attributes: [[NFTA_TABLE_NAME, new TextEncoder().encode(`${name}\0`)] as const],
  }
  try {
    return ask(NETLINK_NETFILTER, request, NFT_MSG_NEWTABLE, () => true).length > 0
  } catch (error) {
    if (error instanceof SystemError && error.errno === ENOENT) return false
    throw error
  }
}

export interface Request {
  readonly type: number
  /** What NLM_F_REQUEST goes with. */
  readonly flags?: number
  /** The bytes that are not 0 at the beginning of the family's header. */
  readonly header: ReadonlyArray<number>
  readonly headerSize: number
  /** Without any all objects are asked for. */
  readonly attributes?: ReadonlyArray<readonly [type: number, value: Uint8Array]>
}

/** A message, or what follows the header of an answer. `bytes` and `view` have the same beginning. */
export interface Message {
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** What `take` makes of every answer of that type, without the undefined ones. A refusal is a SystemError. */
export function ask<A>(
  protocol: number,
  request: Request,
  type: number,
  take: (message: Message) => A | undefined,
): ReadonlyArray<A> {
  return exchange(protocol, request, (fd) => {
    const answers: Array<A> = []
    const keep = (message: Message) => {
      const answer = take(message)
      if (answer !== undefined) answers.push(answer)
    }
    for (let isMore = true; isMore; ) isMore = takeAnswers(receive(fd), type, keep) && request.attributes === undefined
    return answers
  })
}

/** Has the kernel change something. A refusal is a SystemError with the kernel's own words, where it has any. */
export function change(protocol: number, request: Request & Required<Pick<Request, "attributes">>): void {
  const acknowledged = { ...request, flags: (request.flags ?? 0) | NLM_F_ACK }
  exchange(protocol, acknowledged, (fd) => {
    const length = receive(fd)
    if (length === 0) throw new SystemError("recv netlink", errno())
    takeAnswers(length, NLMSG_ERROR, () => {})
  })
}

/** Sends the request over a socket of its own, from which `read` takes what comes. */
function exchange<A>(protocol: number, request: Request, read: (fd: number) => A): A {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
  if (fd < 0) throw new SystemError("socket netlink", errno())
  try {
    if (((request.flags ?? 0) & NLM_F_ACK) !== 0) askForWords(fd)
    if (libc.send(fd, buffer.address, compose(request), 0) < 0) throw new SystemError("send netlink", errno())
    return read(fd)
  } finally {
    libc.close(fd)
  }
}

/** A refusal comes with the kernel's own words, and without the request. Kernels that do not know these give the number alone. */
function askForWords(fd: number): void {
  one.view.setInt32(0, 1, true)
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK])
    libc.setsockopt(fd, SOL_NETLINK, option, one.address, one.length)
}

/** Writes the request to the buffer; its length. */
function compose({ type, flags = 0, header, headerSize, attributes }: Request): number {
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
  buffer.view.setUint16(6, NLM_F_REQUEST | flags | (attributes === undefined ? NLM_F_DUMP : 0), true)
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
    if (type === NLMSG_DONE || size < NLMSGHDR_SIZE || at + size > length) return false
    if (type === NLMSG_ERROR) {
      const reason = -buffer.view.getInt32(at + NLMSGHDR_SIZE, true)
      if (reason === 0) return false
      throw new SystemError(words(at, size) ?? "netlink", reason)
    }
    if (type === wanted) take(part(buffer, at + NLMSGHDR_SIZE, size - NLMSGHDR_SIZE))
    at += align(size)
  }
  return length > 0
}

/** What the kernel says beside the number of an error. */
function words(at: number, size: number): string | undefined {
  if ((buffer.view.getUint16(at + 6, true) & NLM_F_ACK_TLVS) === 0) return undefined
  const { bytes } = part(buffer, at, size)
  const text = attributesIn(bytes, NLMSGHDR_SIZE + NLMSGERR_SIZE).get(NLMSGERR_ATTR_MSG)
  return text === undefined ? undefined : latin1.decode(text).replace(/\.?\0*$/, "")
}

function part(region: Region, at: number, length: number): Message {
  const bytes = region.bytes.slice(at, at + length)
  return { bytes, view: new DataView(bytes.buffer) }
}

export function attributesOf(message: Message, headerSize: number): ReadonlyMap<number, Uint8Array> {
  return attributesIn(message.bytes, headerSize)
}

export function attributesIn(bytes: Uint8Array, begin: number): ReadonlyMap<number, Uint8Array> {
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

/** A u32, in the machine's order. */
export function integer(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true) : undefined
}

const latin1 = new TextDecoder("latin1")

/** No generation: what changed can no longer be told. */
export const UNKNOWN_GENERATION = -1

/** struct sockaddr_nl: u16 family, u16 pad, u32 port, u32 groups. */
const SOCKADDR_NL_SIZE = 12
const address = scratch.allocate(SOCKADDR_NL_SIZE)
const one = scratch.allocate(4)

const align = (size: number) => (size + 3) & ~3

/** The kernel fills at most 32 KiB at once. */
const BUFFER_SIZE = 64 * 1024
const buffer = new PlainArena(BUFFER_SIZE).allocate(BUFFER_SIZE)

/** nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port. */
const NLMSGHDR_SIZE = 16
/** nlmsgerr: i32 error, the nlmsghdr of the request; its payload is left out. */
const NLMSGERR_SIZE = 4 + NLMSGHDR_SIZE
/** nfgenmsg: u8 family, u8 version, u16 resource. */
const NFGENMSG_SIZE = 4

export const NETLINK_ROUTE = 0
const RTMGRP_LINK = 0x1
const RTMGRP_IPV4_IFADDR = 0x10
const RTMGRP_IPV6_IFADDR = 0x100
const RTMGRP_IPV4_ROUTE = 0x40
const RTMGRP_IPV6_ROUTE = 0x400
const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTPROT_KERNEL = 2
const AF_NETLINK = 16
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const NETLINK_NETFILTER = 12
const NFNLGRP_NFTABLES = 7
const MSG_DONTWAIT = 0x40
const NLM_F_REQUEST = 0x1
const NLM_F_ACK = 0x4
const NLM_F_DUMP = 0x300
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLA_TYPE_MASK = 0x3fff
const NFPROTO_INET = 1
const NFT_MSG_NEWTABLE = 0xa00
const NFT_MSG_GETTABLE = 0xa01
const NFT_MSG_NEWGEN = 0xa0f
const NFT_MSG_GETGEN = 0xa10
const NFTA_GEN_ID = 1
const NFTA_TABLE_NAME = 1
