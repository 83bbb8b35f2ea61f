/**
 * One DNS query, as an application with a resolver of its own sends it:
 *
 *   bun lookup.ts SERVER NAME [udp|tcp]
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
): Promise<Looked> {
  return JSON.parse(await from.succeed([bun, import.meta.path, server, name, transport])) as Looked
}

async function main([server = "", name = "", transport = "udp"]: ReadonlyArray<string>): Promise<void> {
  const begin = performance.now()
  const query = encode({ type: "query", id: 7, flags: 0x0100, questions: [{ name, type: "A", class: "IN" }] })
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
      if (read.length >= 2 && read.length >= read.readUInt16BE(0) + 2) resolve(read.subarray(2))
    })
    socket.on("error", () => resolve(undefined))
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]))
  })
}

if (import.meta.main) await main(process.argv.slice(2))
