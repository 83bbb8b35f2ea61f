/** UDP and TCP sockets, connected to one peer. All are non-blocking and close on exec. */
import { cString, scratch } from "./arena.ts"
import { EINPROGRESS, EINVAL, ENODEV, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

export interface SocketOptions {
  /** An IPv4 or IPv6 literal; a link-local one with its zone: "fe80::1%eth0". */
  readonly address: string
  readonly port: number
  readonly family: 4 | 6
  /** Where the socket is bound; what is left out is the kernel's choice. */
  readonly local?: { readonly address?: string; readonly port?: number }
  /** Bytes; UDP without it: 4 MiB, as far as allowed. More than `net.core.rmem_max` takes CAP_NET_ADMIN. */
  readonly receiveBuffer?: number
  readonly sendBuffer?: number
  /** The firewall mark of its packets; needs CAP_NET_ADMIN. */
  readonly mark?: number
  /** The only device that its packets leave and come by. */
  readonly bindDevice?: string
  /** UDP: a second socket may have its port, `openStraySocket`. Others of the same user may take it as well. */
  readonly sharesPort?: boolean
}

export interface SocketAddress {
  readonly address: string
  readonly port: number
}

/** A UDP socket that sends to and receives from one address only. Failures are `SystemError`s. */
export function openUdpSocket(options: SocketOptions): number {
  return open(options, SOCK_DGRAM, "udp")
}

/**
 * A socket with the local port of `fd`, which came from `openUdpSocket` with these options: it receives what comes there from all
 * others than that one's peer, over the same address family.
 */
export function openStraySocket(fd: number, options: SocketOptions): number {
  const isIpv4 = options.family === 4
  const stray = libc.socket(isIpv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
  if (stray < 0) throw new SystemError(`socket udp${options.family}`, errno())
  try {
    setReceiveBuffer(stray, options.receiveBuffer ?? DEFAULT_DATAGRAM_BUFFER)
    setOption(stray, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT")
    if (!isIpv4) setOption(stray, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY")
    if (options.bindDevice !== undefined) bindToDevice(stray, options.bindDevice)
    bind(stray, options.family, { ...options.local, port: localAddress(fd).port })
    return stray
  } catch (error) {
    libc.close(stray)
    throw error
  }
}

/** A TCP socket that is connecting: POLLOUT reports the end of it, and `socketError` how it went. */
export function openTcpSocket(options: SocketOptions): number {
  return open(options, SOCK_STREAM, "tcp")
}

/** An unprivileged ICMP socket (ICMPv6 for IPv6), for one target; the port means nothing. */
export function openPingSocket(options: SocketOptions): number {
  return open(options, SOCK_DGRAM, "icmp", options.family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
}

/** The errno that waits on the socket (SO_ERROR), which is cleared by this; 0 is none. */
export function socketError(fd: number): number {
  valueLength.view.setUint32(0, 4, true)
  if (libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, value.address, valueLength.address) < 0) return errno()
  return value.view.getInt32(0, true)
}

/** Where a UDP socket leads to, as `connectAnew` takes it; undefined: it is another kind of socket, or not connected. */
export function peerOf(fd: number): Uint8Array | undefined {
  valueLength.view.setUint32(0, SOCKADDR_SIZE, true)
  if (libc.getpeername(fd, peer.address, valueLength.address) < 0) return undefined
  const family = peer.view.getUint16(0, true)
  return family === AF_INET || family === AF_INET6
    ? peer.bytes.slice(0, valueLength.view.getUint32(0, true))
    : undefined
}

/**
 * Has the kernel choose once more the address that a UDP socket sends from; the port stays. What the socket was bound to on
 * purpose stays, too. False: no way leads to `to` now, and the socket leads nowhere until the next try.
 */
export function connectAnew(fd: number, to: Uint8Array): boolean {
  const { port } = localAddress(fd)
  const family = to[0]! | (to[1]! << 8)
  peer.bytes.fill(0)
  libc.connect(fd, peer.address, SOCKADDR_SIZE)
  peer.view.setUint16(0, family, true)
  peer.view.setUint16(2, port, false)
  // Dissolving the connection gave the port back, unless it had been chosen. Without it the server sees another port as well.
  libc.bind(fd, peer.address, to.length)
  peer.bytes.set(to)
  return libc.connect(fd, peer.address, to.length) === 0
}

export function localAddress(fd: number): SocketAddress {
  valueLength.view.setUint32(0, SOCKADDR_SIZE, true)
  if (libc.getsockname(fd, peer.address, valueLength.address) < 0) throw new SystemError("getsockname", errno())
  return readSocketAddress(peer.bytes)
}

/** Of a sockaddr_in or sockaddr_in6. */
export function readSocketAddress(bytes: Uint8Array): SocketAddress {
  const isIpv4 = (bytes[0]! | (bytes[1]! << 8)) === AF_INET
  return {
    address: formatAddress(isIpv4 ? bytes.slice(4, 8) : bytes.slice(8, 24)),
    port: (bytes[2]! << 8) | bytes[3]!,
  }
}

/** 4 or 16 bytes as a literal. */
export function formatAddress(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join(".") : formatIpv6(bytes)
}

/** Two connected, non-blocking sockets: a stream, or one that keeps packet boundaries. */
export function openSocketPair(kind: "stream" | "packets"): readonly [number, number] {
  const type = kind === "stream" ? SOCK_STREAM : SOCK_SEQPACKET
  if (libc.socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, value.address) < 0)
    throw new SystemError("socketpair", errno())
  return [value.view.getInt32(0, true), value.view.getInt32(4, true)]
}

// The forced options pass the system-wide limit and fail without CAP_NET_ADMIN; the plain ones are cut to it silently.

/** Bytes that may wait to be received, as many of them as we are allowed to ask for. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  if (!trySetOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes)) trySetOption(fd, SOL_SOCKET, SO_RCVBUF, bytes)
}

/** Bytes that may wait to be received, as `setReceiveBuffer` takes them; 0: not to be learnt. */
export function receiveBufferOf(fd: number): number {
  valueLength.view.setUint32(0, 4, true)
  if (libc.getsockopt(fd, SOL_SOCKET, SO_RCVBUF, value.address, valueLength.address) < 0) return 0
  // The kernel keeps, and tells, twice what it was asked for.
  return value.view.getInt32(0, true) >>> 1
}

/** Bytes that may wait to be sent, as many of them as we are allowed to ask for. */
export function setSendBuffer(fd: number, bytes: number): void {
  if (!trySetOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes)) trySetOption(fd, SOL_SOCKET, SO_SNDBUF, bytes)
}

/** Lets the kernel deliver datagrams of one size together (Linux 5.0); false when it refuses. */
export function enableGro(fd: number): boolean {
  return trySetOption(fd, SOL_UDP, UDP_GRO, 1)
}

function open(options: SocketOptions, type: number, protocol: string, protocolNumber = 0): number {
  const family = options.family === 4 ? AF_INET : AF_INET6
  const fd = libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocolNumber)
  if (fd < 0) throw new SystemError(`socket ${protocol}${options.family}`, errno())
  try {
    // TCP sizes its own buffers by the path; a fixed large one would only queue seconds of traffic.
    const defaultBuffer = protocol === "udp" ? DEFAULT_DATAGRAM_BUFFER : undefined
    const receiveBuffer = options.receiveBuffer ?? defaultBuffer
    const sendBuffer = options.sendBuffer ?? defaultBuffer
    if (receiveBuffer !== undefined) setReceiveBuffer(fd, receiveBuffer)
    if (sendBuffer !== undefined) setSendBuffer(fd, sendBuffer)
    if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark, "SO_MARK")
    if (options.bindDevice !== undefined) bindToDevice(fd, options.bindDevice)
    if (type === SOCK_STREAM) {
      setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY")
      // A fixed local port is free again at once after a reconnect.
      if (options.local?.port !== undefined) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
    }
    if (options.local !== undefined) bind(fd, options.family, options.local)
    const length = encodeAddress(options.family, options.address, options.port)
    if (libc.connect(fd, peer.address, length) < 0) {
      const reason = errno()
      if (reason !== EINPROGRESS) throw new SystemError(`connect ${describe(options.address, options.port)}`, reason)
    }
    // Only now, so that no port is chosen that another of our sockets shares already.
    if (options.sharesPort === true) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT")
    return fd
  } catch (error) {
    libc.close(fd)
    throw error
  }
}

function bind(fd: number, family: 4 | 6, local: { readonly address?: string; readonly port?: number }): void {
  const address = local.address ?? (family === 4 ? "0.0.0.0" : "::")
  const port = local.port ?? 0
  const length = encodeAddress(family, address, port)
  if (libc.bind(fd, peer.address, length) < 0) throw new SystemError(`bind ${describe(address, port)}`, errno())
}

function bindToDevice(fd: number, device: string): void {
  const name = cString(text, device)
  if (name === undefined || libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, IFNAMSIZ) < 0)
    throw new SystemError(`bind to the device ${device}`, name === undefined ? ENODEV : errno())
}

/** Fills `peer` with a sockaddr_in or sockaddr_in6 and returns its length. */
function encodeAddress(family: 4 | 6, literal: string, port: number): number {
  if (!(Number.isInteger(port) && port >= 0 && port <= 0xffff))
    throw new SystemError(`address ${describe(literal, port)}`, EINVAL)
  const zoneAt = family === 6 ? literal.indexOf("%") : -1
  const host = zoneAt < 0 ? literal : literal.slice(0, zoneAt)
  const af = family === 4 ? AF_INET : AF_INET6
  peer.bytes.fill(0)
  peer.view.setUint16(0, af, true)
  peer.view.setUint16(2, port, false)
  const hostAddress = cString(text, host)
  const target = family === 4 ? peer.at(4, 4) : peer.at(8, 16)
  if (hostAddress === undefined || libc.inet_pton(af, hostAddress, target) !== 1)
    throw new SystemError(`address ${describe(literal, port)}`, EINVAL)
  if (zoneAt >= 0) peer.view.setUint32(24, interfaceIndex(literal.slice(zoneAt + 1)), true)
  return family === 4 ? 16 : SOCKADDR_SIZE
}

function interfaceIndex(zone: string): number {
  const address = cString(text, zone)
  const index = address === undefined ? 0 : libc.if_nametoindex(address)
  if (index === 0) throw new SystemError(`interface ${zone}`, ENODEV)
  return index
}

function setOption(fd: number, level: number, option: number, setting: number, name: string): void {
  value.view.setInt32(0, setting, true)
  if (libc.setsockopt(fd, level, option, value.address, 4) < 0) throw new SystemError(`setsockopt ${name}`, errno())
}

function trySetOption(fd: number, level: number, option: number, setting: number): boolean {
  value.view.setInt32(0, setting, true)
  return libc.setsockopt(fd, level, option, value.address, 4) === 0
}

function describe(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
}

/** The URL parser knows the canonical form of RFC 5952. */
function formatIpv6(bytes: Uint8Array): string {
  const groups: Array<string> = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16))
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1)
}

/** sockaddr_in: u16 family, u16 port, 4 bytes. sockaddr_in6: u16 family, u16 port, u32 flow, 16 bytes, u32 zone. */
export const SOCKADDR_SIZE = 28
const peer = scratch.allocate(SOCKADDR_SIZE)
const text = scratch.allocate(64)
const value = scratch.allocate(8)
const valueLength = scratch.allocate(4)

/** About 10 ms at 3 Gbit/s: what may arrive while the worker is busy elsewhere. */
const DEFAULT_DATAGRAM_BUFFER = 4 * 1024 * 1024

const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_SEQPACKET = 5
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_REUSEPORT = 15
const SO_BINDTODEVICE = 25
const IFNAMSIZ = 16
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SO_MARK = 36
const SOL_UDP = 17
const UDP_GRO = 104
const IPPROTO_ICMP = 1
const IPPROTO_TCP = 6
const IPPROTO_IPV6 = 41
const IPPROTO_ICMPV6 = 58
const IPV6_V6ONLY = 26
const TCP_NODELAY = 1
