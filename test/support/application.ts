/**
 * An application that never stops sending, in every way a program can: TCP, UDP, ICMP, raw packets, forged sources, both families, by
 * name and by address, over connections opened at its start and over new ones. And the Internet that it talks to.
 *
 *   bun application.ts internet      answers, and goes on sending to whoever spoke once
 *   bun application.ts send          says every half second what it sent and received, as one line of JSON
 */
import { dlopen, FFIType, ptr } from "bun:ffi"
import { createSocket } from "node:dgram"
import { lookup } from "node:dns"
import { Resolver } from "node:dns/promises"
import { connect, createServer, type Socket } from "node:net"
import { decode, encode } from "dns-packet"
import type { Child } from "./child.ts"
import { bun } from "./culvert.ts"
import type { Namespace } from "./lab.ts"

/** Addresses that no namespace of the lab has but the Internet's. */
export const internet = {
  ipv4: "198.51.100.1",
  ipv6: "2001:db8:51::1",
  /** A name server, and nothing else. */
  resolver: "198.51.100.53",
  forged: "203.0.113.7",
} as const

export interface Sent {
  /** Packets handed to the kernel, or refused by it, by kind. */
  readonly tried: Readonly<Record<string, number>>
  /** Answers and stream data, by kind. */
  readonly received: Readonly<Record<string, number>>
}

/** Whatever is in this domain has both of the Internet's addresses. */
export const internetName = "www.internet.test"

/** Gives `namespace` the Internet's addresses and runs it there. */
export async function startInternet(namespace: Namespace): Promise<Child> {
  for (const address of [internet.ipv4, internet.resolver])
    await namespace.succeed(["ip", "address", "replace", `${address}/32`, "dev", "lo"])
  await namespace.succeed(["ip", "address", "replace", `${internet.ipv6}/128`, "dev", "lo"])
  const child = namespace.start("internet", [bun, import.meta.path, "internet"])
  await child.line(/listening/)
  return child
}

export async function startApplication(namespace: Namespace): Promise<Child> {
  const child = namespace.start("application", [bun, import.meta.path, "send"])
  await child.line(/^\{/)
  return child
}

/** What it said last. */
export function sentBy(application: Child): Sent {
  const line = application.lines.findLast((text) => text.startsWith("{"))
  if (line === undefined) throw new Error("the application said nothing")
  return JSON.parse(line) as Sent
}

const interval = 25
/** At a time, for each family. */
const mostLookups = 4
const ports = { answering: 8180, streaming: 8181, udp: 9000 } as const

function serveInternet(): void {
  const stream = (socket: Socket) => {
    const timer = setInterval(() => socket.write("from the internet\n"), interval)
    socket.on("error", () => {})
    socket.on("close", () => clearInterval(timer))
  }
  createServer((socket) => socket.on("error", () => {}).end("hello\n")).listen(ports.answering, "::")
  createServer(stream).listen(ports.streaming, "::")
  for (const family of ["udp4", "udp6"] as const) {
    const socket = createSocket({ type: family, ipv6Only: family === "udp6" })
    const known = new Set<string>()
    socket.on("error", () => {})
    socket.on("message", (_message, peer) => {
      const key = `${peer.address} ${peer.port}`
      if (known.has(key)) return
      known.add(key)
      setInterval(() => socket.send("from the internet", peer.port, peer.address, () => {}), interval)
    })
    socket.bind(ports.udp, family === "udp4" ? internet.ipv4 : internet.ipv6)
  }
  for (const address of [internet.ipv4, internet.ipv6, internet.resolver]) serveNames(address)
  console.log("listening")
}

/** Every name has the Internet's addresses. */
function serveNames(address: string): void {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4")
  socket.on("error", () => {})
  socket.on("message", (message, peer) => {
    const { id = 0, questions = [] } = decode(message)
    const [question] = questions
    if (question === undefined) return
    const { name, type } = question
    const data = type === "A" ? internet.ipv4 : type === "AAAA" ? internet.ipv6 : undefined
    const answers = data === undefined ? [] : [{ name, type, ttl: 0, data }]
    const flags = 0x0180
    socket.send(
      encode({ type: "response", id, flags, questions: [{ name, type, class: "IN" }], answers }),
      peer.port,
      peer.address,
    )
  })
  socket.bind(53, address)
}

function send(): void {
  const tried: Record<string, number> = {}
  const received: Record<string, number> = {}
  const count = (table: Record<string, number>, kind: string) => {
    table[kind] = (table[kind] ?? 0) + 1
  }
  const families = [
    ["4", internet.ipv4],
    ["6", internet.ipv6],
  ] as const

  for (const [family, address] of families) {
    // These two only answer: the first packet that a new firewall sees of them comes from outside.
    const download = connect({ host: address, port: ports.streaming })
    download.on("data", () => count(received, `download${family}`))
    download.on("error", () => {})
    const answers = createSocket(family === "4" ? "udp4" : "udp6")
    answers.on("message", () => {
      count(received, `answers${family}`)
      answers.send("thanks", ports.udp, address, () => {})
    })
    answers.on("error", () => {})
    answers.send("hello", ports.udp, address, () => {})

    const early = connect({ host: address, port: ports.streaming })
    early.on("data", () => count(received, `earlyTcp${family}`))
    early.on("error", () => {})
    const udp = createSocket(family === "4" ? "udp4" : "udp6")
    udp.on("message", () => count(received, `udp${family}`))
    udp.on("error", () => {})
    setInterval(() => {
      count(tried, `earlyTcp${family}`)
      if (early.writable) early.write("still here\n")
      count(tried, `udp${family}`)
      udp.send("hello", ports.udp, address, () => {})
      count(tried, `tcp${family}`)
      const fresh = connect({ host: address, port: ports.answering })
      fresh.on("data", () => count(received, `tcp${family}`))
      fresh.on("error", () => {})
      setTimeout(() => fresh.destroy(), 10 * interval)
    }, interval)

    // A resolver that keeps its sockets: those made while the tunnel was up have its address, and go on when it is gone.
    const sockets: Array<ReturnType<typeof createSocket>> = []
    setInterval(() => {
      const socket = createSocket(family === "4" ? "udp4" : "udp6")
      socket.on("error", () => {})
      socket.connect(53, address, () => sockets.push(socket))
      if (sockets.length > 10) sockets.shift()?.close()
    }, 20 * interval)
    setInterval(() => {
      count(tried, `kept${family}`)
      for (const socket of sockets) socket.send("name.example", () => {})
    }, interval)

    // By the system's resolver, as most programs do it: names that no cache knows. What nobody answers takes it ten seconds.
    let looking = 0
    setInterval(() => {
      if (looking === mostLookups) return
      looking += 1
      count(tried, `name${family}`)
      lookup(`${tried[`name${family}`]}.${internetName}`, { family: Number(family) }, (error, host) => {
        looking -= 1
        if (error) return
        const named = connect({ host, port: ports.answering })
        named.on("data", () => count(received, `name${family}`))
        named.on("error", () => {})
        setTimeout(() => named.destroy(), 20 * interval)
      })
    }, 8 * interval)

    const resolver = new Resolver({ timeout: 200, tries: 1 })
    resolver.setServers([family === "4" ? address : `[${address}]:53`])
    setInterval(() => {
      count(tried, `dns${family}`)
      void resolver.resolve4(`name-${tried[`dns${family}`]}.example`).then(
        () => count(received, `dns${family}`),
        () => {},
      )
    }, 4 * interval)
  }
  const raw = rawPackets()
  setInterval(() => {
    for (const [kind, push] of Object.entries(raw)) {
      count(tried, kind)
      push()
    }
  }, interval)
  setInterval(() => console.log(JSON.stringify({ tried, received })), 500)
}

/** One function for each kind of packet that is made by hand. */
function rawPackets(): Readonly<Record<string, () => void>> {
  const libc = dlopen("libc.so.6", {
    socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    sendto: {
      args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32, FFIType.ptr, FFIType.u32],
      returns: FFIType.i64,
    },
  }).symbols
  const sender = (family: number, protocol: number, packet: Uint8Array, to: Uint8Array) => {
    const socket = libc.socket(family, sockRaw, protocol)
    return () => void libc.sendto(socket, ptr(packet), packet.length, 0, ptr(to), to.length)
  }
  const to4 = new Uint8Array([afInet, 0, 0, 0, ...bytes4(internet.ipv4), ...new Uint8Array(8)])
  const to6 = new Uint8Array([afInet6, 0, 0, 0, 0, 0, 0, 0, ...bytes6, 0, 0, 0, 0])
  // The kernel fills in length, identification and checksum.
  const header = (protocol: number, source: string) =>
    new Uint8Array([
      0x45,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      64,
      protocol,
      0,
      0,
      ...bytes4(source),
      ...bytes4(internet.ipv4),
      1,
      2,
      3,
      4,
    ])
  const echo = new Uint8Array([8, 0, 0xf7, 0xff - 8, 0, 1, 0, 7])
  return {
    icmp4: sender(afInet, 1, echo, to4),
    icmp6: sender(afInet6, 58, new Uint8Array([128, 0, 0, 0, 0, 1, 0, 7]), to6),
    raw4: sender(afInet, 255, header(253, "0.0.0.0"), to4),
    forged4: sender(afInet, 255, header(6, internet.forged), to4),
    raw6: sender(afInet6, 253, new Uint8Array(16), to6),
  }
}

const bytes4 = (address: string): ReadonlyArray<number> => address.split(".").map(Number)
/** 2001:db8:51::1 */
const bytes6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0x51, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
const afInet = 2
const afInet6 = 10
const sockRaw = 3

if (import.meta.main) (process.argv[2] === "internet" ? serveInternet : send)()
