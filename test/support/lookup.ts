/**
 * DNS queries, as an application with a resolver of its own sends them:
 *
 *   bun lookup.ts SERVER NAME [udp|tcp] [SIZE]       one; with SIZE it takes datagrams of so many bytes (EDNS0)
 *   bun lookup.ts flood SERVER COUNT [udp|tcp]       for as many names of flood.test, at once (TCP: 20 at a time)
 *
 * Says what came back as one line of JSON.
 */
import { createSocket } from "node:dgram"
import { connect } from "node:net"
import { decode, encode } from "dns-packet"
import { bun } from "./culvert.ts"
import type { Namespace } from "./lab.ts"

export interface Looked {
  /** NOERROR, SERVFAIL..., or "timeout". */
  readonly rcode: string
  readonly addresses: ReadonlyArray<string>
  readonly truncated: boolean
  readonly milliseconds: number
}

export async function lookup(
  from: Namespace,
  server: string,
  name: string,
  transport: "udp" | "tcp" = "udp",
  udpSize?: number,
): Promise<Looked> {
  const size = udpSize === undefined ? [] : [String(udpSize)]
  return JSON.parse(await from.succeed([bun, import.meta.path, server, name, transport, ...size])) as Looked
}

/** Response codes of as many queries and how often each came; "none": no answer in time. */
export async function flood(
  from: Namespace,
  server: string,
  count: number,
  transport: "udp" | "tcp" = "udp",
): Promise<Readonly<Record<string, number>>> {
  const command = [bun, import.meta.path, "flood", server, String(count), transport]
  return JSON.parse(await from.succeed(command, { deadline: 60_000 })) as Record<string, number>
}

async function main(parameters: ReadonlyArray<string>): Promise<void> {
  if (parameters[0] === "flood") return sendFlood(parameters.slice(1))
  const [server = "", name = "", transport = "udp", size] = parameters
  const begin = performance.now()
  const query = queryFor(name, 7, size === undefined ? undefined : Number(size))
  const answer = await Promise.race([
    transport === "udp" ? overUdp(server, query) : overTcp(server, query),
    Bun.sleep(2000).then(() => undefined),
  ])
  const packet = answer === undefined ? undefined : (decode(answer) as ReturnType<typeof decode> & Decoded)
  const looked: Looked = {
    rcode: packet?.rcode ?? "timeout",
    addresses: (packet?.answers ?? []).map(({ data }) => String(data)),
    truncated: packet?.flag_tc ?? false,
    milliseconds: performance.now() - begin,
  }
  console.log(JSON.stringify(looked))
  process.exit(0)
}

async function sendFlood([server = "", amount = "0", transport = "udp"]: ReadonlyArray<string>): Promise<void> {
  const count = Number(amount)
  const codes: Record<string, number> = {}
  const took = (answer: Buffer | undefined) => {
    const rcode = answer === undefined ? "none" : (decode(answer) as ReturnType<typeof decode> & Decoded).rcode
    codes[rcode] = (codes[rcode] ?? 0) + 1
  }
  const queries = Array.from({ length: count }, (_, id) => queryFor(`name-${id}.flood.test`, id, undefined))
  if (transport === "tcp") {
    const lane = async () => {
      for (let query = queries.shift(); query !== undefined; query = queries.shift())
        took(await Promise.race([overTcp(server, query), Bun.sleep(10_000).then(() => undefined)]))
    }
    await Promise.all(Array.from({ length: 20 }, lane))
  } else {
    const socket = createSocket("udp4")
    const done = new Promise<void>((resolve) => {
      let answers = 0
      socket.on("message", (answer) => {
        took(answer)
        if (++answers === count) resolve()
      })
    })
    for (const query of queries) socket.send(query, 53, server, () => {})
    await Promise.race([done, Bun.sleep(5_000)])
    const answered = Object.values(codes).reduce((sum, value) => sum + value, 0)
    if (answered < count) codes.none = count - answered
  }
  console.log(JSON.stringify(codes))
  process.exit(0)
}

const queryFor = (name: string, id: number, udpSize: number | undefined): Uint8Array =>
  encode({
    type: "query",
    id,
    flags: 0x0100,
    questions: [{ name, type: "A", class: "IN" }],
    ...(udpSize === undefined
      ? {}
      : { additionals: [{ type: "OPT", name: ".", udpPayloadSize: udpSize, flags: 0, options: [] } as never] }),
  })

interface Decoded {
  readonly rcode: string
  readonly flag_tc: boolean
}

function overUdp(server: string, query: Uint8Array): Promise<Buffer | undefined> {
  const socket = createSocket(server.includes(":") ? "udp6" : "udp4")
  return new Promise((resolve) => {
    socket.on("message", resolve)
    socket.on("error", () => resolve(undefined))
    // Connected, so that an answer from anybody else than the server that was asked does not count.
    socket.connect(53, server, () => socket.send(query, () => {}))
  })
}

function overTcp(server: string, query: Uint8Array): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server, port: 53 })
    let read = Buffer.alloc(0)
    socket.on("data", (chunk: Buffer) => {
      read = Buffer.concat([read, chunk])
      if (read.length < 2 || read.length < read.readUInt16BE(0) + 2) return
      resolve(read.subarray(2))
      socket.destroy()
    })
    socket.on("error", () => resolve(undefined))
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]))
  })
}

if (import.meta.main) await main(process.argv.slice(2))
