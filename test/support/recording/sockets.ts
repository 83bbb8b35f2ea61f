/**
 * Traffic that needs options of sockets which ordinary programs do not set, from one end of a recording to the other:
 *
 *   bun sockets.ts listen                     the far end: TCP and UDP at 7000, TCP that is read late at 7001, HTTP at 8080
 *   bun sockets.ts KIND ADDRESS [BYTES]       one of `kinds` below
 */
import { connect, createServer } from "node:net"
import { Arena, closeFd, errno, errnoName, openTcpSocket, openUdpSocket, sendBytes } from "../../../src/linux/index.ts"
import { libc } from "../../../src/linux/libc.ts"
import { eventually } from "../child.ts"

const PORT = 7000
const LATE = 7001

/** Numbered lines: every piece of it is in one place only, and it compresses well. */
export function numbered(length: number): Uint8Array {
  const lines = Array.from({ length: Math.ceil(length / 10) }, (_, index) => `${String(index).padStart(9, "0")}\n`)
  return new TextEncoder().encode(lines.join("")).subarray(0, length)
}

const kinds: Readonly<Record<string, (address: string, bytes: number) => Promise<void>>> = {
  /** Bursts of datagrams as QUIC sends them: cut by the kernel, or here. */
  "udp-bursts": async (address, bytes) => {
    for (const [segmentSize, length] of [
      [1200, bytes],
      [1252, bytes - 13],
      [37, 37 * 60],
      [1001, 1002],
    ] as const) {
      const fd = udp(address)
      set(fd, SOL_UDP, UDP_SEGMENT, word(segmentSize))
      for (let sent = 0; sent < length; sent += segmentSize * 40)
        send(fd, numbered(length).subarray(sent, sent + Math.min(segmentSize * 40, length - sent)))
      closeFd(fd)
    }
  },
  /** One datagram of each of these lengths, most of them odd, then with marks, another time to live, and no checksum. */
  "udp-sizes": async (address) => {
    const lengths = [0, 1, 2, 3, 7, 8, 17, 255, 1023, 1251, 1252, 1253, 1400, 2801, 5001, 9001]
    const level = isIpv6(address) ? IPPROTO_IPV6 : 0
    for (const prepare of [
      () => {},
      (fd: number) => set(fd, level, isIpv6(address) ? IPV6_TCLASS : IP_TOS, word(0xb9)),
      (fd: number) => set(fd, level, isIpv6(address) ? IPV6_HOPS : IP_TTL, word(9)),
      (fd: number) => isIpv6(address) || set(fd, SOL_SOCKET, SO_NO_CHECK, word(1)),
      (fd: number) => options(fd, address),
    ]) {
      const fd = udp(address)
      prepare(fd)
      for (const length of lengths) send(fd, numbered(length))
      closeFd(fd)
    }
  },
  /** A stream whose packets have IP options, or extension headers. */
  "tcp-options": async (address, bytes) => {
    const fd = await tcp(address)
    options(fd, address)
    await sendAll(fd, numbered(bytes))
    closeFd(fd)
  },
  /** Pieces of odd sizes, each pushed, and urgent data among them. */
  "tcp-pieces": async (address) => {
    const fd = await tcp(address)
    for (const length of [1, 3, 1, 999, 1, 4097, 2, 17, 30_001, 1]) {
      await sendAll(fd, numbered(length))
      if (length === 999) libc.send(fd, memory.address, 1, MSG_OOB)
      await Bun.sleep(2)
    }
    closeFd(fd)
  },
  /** Ends with RST while much is on the way. */
  "tcp-reset": async (address, bytes) => {
    const fd = await tcp(address)
    send(fd, numbered(bytes))
    set(fd, SOL_SOCKET, SO_LINGER, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
    closeFd(fd)
  },
  /** The other end goes on sending after our FIN. */
  "tcp-half-close": (address) => talk(address, PORT, new TextEncoder().encode("send me the rest")),
  /** The window closes, is probed, and opens again. */
  "tcp-closed-window": (address, bytes) => talk(address, LATE, numbered(bytes)),
}

async function listen(): Promise<void> {
  const rest = numbered(40_000)
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {})
    socket.resume()
    socket.on("end", () => socket.end(rest))
  }).listen(PORT, "::")
  createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    setTimeout(() => socket.resume(), 700)
    socket.on("end", () => socket.end())
  }).listen(LATE, "::")
  await Bun.udpSocket({ hostname: "::", port: PORT, socket: { data() {} } })
  Bun.serve({
    hostname: "::",
    port: 8080,
    async fetch(request) {
      if (request.method === "GET") return new Response(numbered(Number(new URL(request.url).pathname.slice(1))))
      return new Response(String((await request.bytes()).length))
    },
  })
  console.log("listening")
}

/** Sends all, then FIN, and reads until the other end has ended as well. */
function talk(host: string, port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true }, () => socket.end(bytes))
    socket.on("error", reject)
    socket.on("close", () => resolve())
    socket.resume()
  })
}

function udp(address: string): number {
  return openUdpSocket({ address, port: PORT, family: isIpv6(address) ? 6 : 4 })
}

async function tcp(address: string): Promise<number> {
  const fd = openTcpSocket({ address, port: PORT, family: isIpv6(address) ? 6 : 4 })
  await eventually(5000, `a connection to ${address}`, () => sendBytes(fd, memory.at(0, 0), 0) >= 0)
  return fd
}

/** Record route and a no-operation; a destination header with padding. */
function options(fd: number, address: string): void {
  if (isIpv6(address)) set(fd, IPPROTO_IPV6, IPV6_DSTOPTS, Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0))
  else set(fd, 0, IP_OPTIONS, Uint8Array.of(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1))
}

async function sendAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length; ) {
    const taken = send(fd, bytes.subarray(sent, sent + memory.length))
    sent += taken
    if (taken === 0) await Bun.sleep(1)
  }
}

/** How many bytes the kernel took. */
function send(fd: number, bytes: Uint8Array): number {
  const piece = bytes.subarray(0, memory.length)
  memory.bytes.set(piece)
  const sent = sendBytes(fd, memory.address, piece.length)
  if (sent >= 0) return sent
  if (errnoName(errno()) === "EAGAIN") return 0
  throw new Error(`send: ${errnoName(errno())}`)
}

function set(fd: number, level: number, option: number, value: Uint8Array): void {
  memory.bytes.set(value)
  if (libc.setsockopt(fd, level, option, memory.address, value.length) < 0)
    throw new Error(`setsockopt ${level} ${option}: ${errnoName(errno())}`)
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value & 255, value >> 8, 0, 0)
}

function isIpv6(address: string): boolean {
  return address.includes(":")
}

const memory = new Arena(128 * 1024).allocate(64 * 1024)
const SOL_SOCKET = 1
const SO_NO_CHECK = 11
const SO_LINGER = 13
const IP_TOS = 1
const IP_TTL = 2
const IP_OPTIONS = 4
const SOL_UDP = 17
const IPPROTO_IPV6 = 41
const IPV6_HOPS = 16
const IPV6_DSTOPTS = 59
const IPV6_TCLASS = 67
const UDP_SEGMENT = 103
const MSG_OOB = 1

if (import.meta.main) {
  const [kind = "", address = "", bytes = "100000"] = process.argv.slice(2)
  if (kind === "listen") await listen()
  else await kinds[kind]!(address, Number(bytes))
}
