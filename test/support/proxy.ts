/** A proxy in the lab's server namespace: HTTP CONNECT or SOCKS 5, open or with a login, and with a relay for datagrams. */
import { createHash } from "node:crypto"
import { createSocket } from "node:dgram"
import { lookup } from "node:dns/promises"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { type Child, eventually } from "./child.ts"
import { bun } from "./culvert.ts"
import type { Lab } from "./lab.ts"

export type ProxyKind = "http" | "http-basic" | "http-digest" | "socks" | "socks-login"

export const proxyPort = 3128
/** Of the first relay; others that stand at the same time have those after it. */
export const relayPort = 3129
export const proxyUser = { name: "anna", password: 's3"cret' } as const

export class ProxyServer implements AsyncDisposable {
  readonly #child: Child

  private constructor(child: Child) {
    this.#child = child
  }

  /** `relay`: the address of the relay for datagrams, which the client may learn as "0.0.0.0": the proxy's own. */
  static async start(lab: Lab, kind: ProxyKind, relay = "0.0.0.0"): Promise<ProxyServer> {
    const child = lab.server.start("proxy", [bun, join(import.meta.dir, "proxy.ts"), kind, relay])
    await child.line(/listening/)
    return new ProxyServer(child)
  }

  /** What it was asked for and what it answered, one line each. */
  get log(): ReadonlyArray<string> {
    return this.#child.lines
  }

  /** Ends every relay: the connections that they were asked for over are closed. */
  async endRelays(): Promise<void> {
    const count = this.log.filter((line) => line === "relays ended").length
    this.#child.signal("SIGUSR2")
    await eventually(5_000, "relays ended", () => this.log.filter((line) => line === "relays ended").length > count)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop("SIGKILL")
  }
}

/** What has arrived and not been taken yet, with a wait for more. */
class Reader {
  #bytes = Buffer.alloc(0)
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    socket.on("data", this.take)
  }

  readonly take = (chunk: Buffer) => {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    this.#wake?.()
  }

  async read(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) await this.#more()
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }

  async head(): Promise<string> {
    while (!this.#bytes.includes("\r\n\r\n")) await this.#more()
    return (await this.read(this.#bytes.indexOf("\r\n\r\n") + 4)).toString("latin1")
  }

  rest(): Buffer {
    return this.#bytes
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

function pipe(client: Socket, reader: Reader, host: string, port: number, opened: () => void): void {
  const server = connect(port, host, () => {
    opened()
    client.off("data", reader.take)
    server.write(reader.rest())
    client.pipe(server).pipe(client)
  })
  server.on("error", () => client.destroy())
  client.on("close", () => server.destroy())
}

async function serveHttp(client: Socket, kind: ProxyKind): Promise<void> {
  const reader = new Reader(client)
  const [request = "", ...fields] = (await reader.head()).split("\r\n")
  const [, host, port] = /^CONNECT (\S+):(\d+) HTTP\/1\.[01]$/.exec(request)!
  const given = fields.find((field) => /^proxy-authorization: /i.test(field))?.replace(/^[^:]*: /, "")
  const scheme = given?.split(" ")[0] ?? "nothing"
  if (!isAllowed(kind, given, `${host}:${port}`)) {
    console.log(`407 ${request} with ${scheme}`)
    const digest = `Proxy-Authenticate: Digest realm="the lab", nonce="${nonce}", qop="auth", opaque="x"\r\n`
    const challenge = kind === "http-digest" ? digest : 'Proxy-Authenticate: Basic realm="the lab"\r\n'
    client.end(`HTTP/1.1 407 Login\r\n${challenge}Content-Length: 0\r\nConnection: close\r\n\r\n`)
    return
  }
  console.log(`200 ${request} with ${scheme}`)
  pipe(client, reader, host!, Number(port), () => client.write("HTTP/1.1 200 Open\r\nVia: 1.1 lab\r\n\r\n"))
}

function isAllowed(kind: ProxyKind, given: string | undefined, uri: string): boolean {
  if (kind === "http") return true
  const { name, password } = proxyUser
  if (kind === "http-basic") return given === `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`
  const field = (key: string) => new RegExp(`\\b${key}="?([^",]*)`).exec(given ?? "")?.[1] ?? ""
  const hash = (text: string) => createHash("md5").update(text).digest("hex")
  const proof = [nonce, field("nc"), field("cnonce"), "auth", hash(`CONNECT:${uri}`)]
  return field("response") === hash([hash(`${name}:the lab:${password}`), ...proof].join(":")) && field("uri") === uri
}

async function serveSocks(client: Socket, kind: ProxyKind): Promise<void> {
  const reader = new Reader(client)
  const methods = await reader.read((await reader.read(2))[1]!)
  const method = kind === "socks" ? 0 : 2
  if (!methods.includes(method)) {
    console.log("refused: no method")
    client.end(Buffer.of(5, 0xff))
    return
  }
  client.write(Buffer.of(5, method))
  if (method === 2) {
    const name = (await reader.read((await reader.read(2))[1]!)).toString()
    const password = (await reader.read((await reader.read(1))[0]!)).toString()
    const isRight = name === proxyUser.name && password === proxyUser.password
    client.write(Buffer.of(1, isRight ? 0 : 1))
    if (!isRight) {
      console.log("refused: login")
      client.end()
      return
    }
  }
  const [, command, , type] = await reader.read(4)
  const host =
    type === 1 ? (await reader.read(4)).join(".") : (await reader.read((await reader.read(1))[0]!)).toString("latin1")
  const port = (await reader.read(2)).readUInt16BE()
  if (command === 3) return relay(client)
  console.log(`connects to ${host}:${port}`)
  pipe(client, reader, host, port, () => client.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)))
}

const relays = new Set<Socket>()

/** RFC 1928, section 7: between the first who sends and wherever the datagrams are to go, while the connection stands. */
async function relay(client: Socket): Promise<void> {
  const address = process.argv[3]!
  const inside = createSocket({ type: "udp4", reuseAddr: true })
  const outside = createSocket("udp4")
  const port = relayPort + relays.size
  relays.add(client)
  client.on("close", () => {
    relays.delete(client)
    inside.close()
    outside.close()
  })
  let from: { readonly port: number; readonly address: string } | undefined
  const known = new Map<string, string>()
  inside.on("message", async (datagram, sender) => {
    from = sender
    const isName = datagram[3] === 3
    const end = isName ? 5 + datagram[4]! : 8
    const asked = isName ? datagram.toString("latin1", 5, end) : datagram.subarray(4, 8).join(".")
    const target = known.get(asked) ?? (await lookup(asked, 4)).address
    if (!known.has(asked)) console.log(`relays to ${asked}:${datagram.readUInt16BE(end)}`)
    known.set(asked, target)
    outside.send(datagram.subarray(end + 2), datagram.readUInt16BE(end), target)
  })
  outside.on("message", (datagram, sender) => {
    const head = Buffer.of(0, 0, 0, 1, ...sender.address.split(".").map(Number), sender.port >> 8, sender.port & 0xff)
    if (from !== undefined) inside.send(Buffer.concat([head, datagram]), from.port, from.address)
  })
  await new Promise<void>((resolve) => inside.bind(port, address, resolve))
  client.write(Buffer.of(5, 0, 0, 1, ...address.split(".").map(Number), port >> 8, port & 0xff))
}

const nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c0"

if (import.meta.main) {
  const kind = process.argv[2] as ProxyKind
  const server = createServer((client) => {
    client.on("error", () => client.destroy())
    void (kind.startsWith("http") ? serveHttp(client, kind) : serveSocks(client, kind)).catch(() => client.destroy())
  })
  process.on("SIGUSR2", () => {
    for (const client of relays) client.destroy()
    console.log("relays ended")
  })
  server.listen(proxyPort, "::", () => console.log("listening"))
}
