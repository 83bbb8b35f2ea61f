/**
 * A bad neighbour between client and server, over UDP: run inside the server's namespace as
 *
 *   bun relay.ts LISTEN_PORT SERVER_PORT
 *
 * and told what to do by lines on its standard input:
 *
 *   forward            everything passes, both ways
 *   data               data packets pass, no others: whatever is negotiated fails
 *   forward-first N    N packets of each new session pass, the rest vanish: a server that stops in mid-handshake
 *   silent             nothing passes and nothing is answered
 *   garbage            nothing passes and every packet is answered with random bytes
 *   inject N           N packets that no server sends, to the last client, from the server's address
 *   inject-altered N   the same, with some of the server's own control packets changed: these only an authenticated
 *                      control channel can tell from real ones
 *   break-tls          the server's next control message, with no TLS in it: what a control channel without a key of its own takes
 *
 * It says `session SID` for every new session id of a client and `injected N` when that is done.
 */
import { randomBytes, randomInt } from "node:crypto"
import type { udp } from "bun"

if (import.meta.main) await relay(Number(process.argv[2]), Number(process.argv[3]))

/** P_CONTROL_V1 under key 0. */
function isControl(packet: Buffer): boolean {
  return packet[0] === 0x20
}

/** P_DATA_V1 and P_DATA_V2. */
function isData(packet: Buffer): boolean {
  return [6, 9].includes((packet[0] ?? 0) >> 3)
}

async function relay(listenPort: number, serverPort: number): Promise<void> {
  let mode = "silent"
  let allowed = 0
  let client: { readonly address: string; readonly port: number } | undefined
  const passed = new Map<string, number>()
  /** What the server really sent, as raw material for forgeries. */
  const recent: Array<Buffer> = []
  const backends = new Map<string, udp.ConnectedSocket<"buffer">>()

  const front = await Bun.udpSocket({
    port: listenPort,
    hostname: "0.0.0.0",
    socket: {
      data(_socket, packet, port, address) {
        client = { address, port }
        const session = note(packet)
        if (mode === "garbage") front.send(randomBytes(randomInt(1, 1400)), port, address)
        const count = (passed.get(session) ?? 0) + 1
        passed.set(session, count)
        const passes = mode === "forward" || (mode === "data" && isData(packet))
        if (passes || (mode === "forward-first" && count <= allowed)) void toServer(packet, address, port)
      },
    },
  })
  for await (const line of console) {
    const [word = "", number = "0"] = line.trim().split(" ")
    if (word.startsWith("inject")) inject(Number(number), word === "inject-altered")
    else if (word === "break-tls") breakTls()
    else {
      mode = word
      allowed = Number(number)
      console.log(`mode ${line.trim()}`)
    }
  }

  /** Control packets carry the sender's session id behind the opcode; hard resets start a session. */
  function note(packet: Buffer): string {
    const session = packet.subarray(1, 9).toString("hex")
    const hardReset = packet.length >= 14 && [7, 10].includes((packet[0] ?? 0) >> 3)
    if (!hardReset) return [...passed.keys()].at(-1) ?? ""
    if (!passed.has(session)) console.log(`session ${session}`)
    return session
  }

  /** One socket to the server for each client socket, as a NAT has. */
  async function toServer(packet: Buffer, address: string, port: number): Promise<void> {
    const key = `${address}:${port}`
    let backend = backends.get(key)
    if (backend === undefined) {
      backend = await Bun.udpSocket({
        connect: { hostname: "127.0.0.1", port: serverPort },
        socket: {
          data(_socket, answer) {
            if (mode === "silent" || mode === "garbage" || (mode === "data" && !isData(Buffer.from(answer)))) return
            recent.push(Buffer.from(answer))
            if (recent.length > 32) recent.shift()
            front.send(answer, port, address)
          },
        },
      })
      backends.set(key, backend)
    }
    backend.send(packet)
  }

  function inject(count: number, alterControl: boolean): void {
    if (client === undefined) throw new Error("no client yet")
    for (let index = 0; index < count; index += 1) front.send(forgery(index, alterControl), client.port, client.address)
    console.log(`injected ${count}`)
  }

  /** The packets of key 0 were: head, session id, acknowledgements with our session id, message id, payload. */
  function breakTls(): void {
    const messages = recent.flatMap((packet) => {
      const acks = packet[9] ?? 0
      const at = 10 + acks * 4 + (acks > 0 ? 8 : 0)
      return isControl(packet) && packet.length > at + 4 ? [packet.readUInt32BE(at)] : []
    })
    const model = recent.find(isControl)
    if (client === undefined || model === undefined) throw new Error("no session yet")
    const messageId = Buffer.alloc(4)
    messageId.writeUInt32BE(Math.max(...messages) + 1)
    const packet = Buffer.concat([model.subarray(0, 9), Buffer.of(0), messageId, randomBytes(40)])
    front.send(packet, client.port, client.address)
    console.log("injected 1")
  }

  function forgery(index: number, alterControl: boolean): Buffer {
    const model = Buffer.from(recent.length === 0 ? randomBytes(60) : recent[randomInt(recent.length)]!)
    switch (index % 6) {
      case 0:
        return randomBytes(randomInt(1, 1500))
      case 1: // A known opcode and key id, then noise.
        return Buffer.concat([Buffer.of((randomInt(3, 12) << 3) | randomInt(8)), randomBytes(randomInt(1, 200))])
      case 2: // A packet of the server, cut off.
        return model.subarray(0, randomInt(1, Math.max(2, model.length)))
      case 3: {
        // A packet of the server with one bit turned.
        if (!isData(model) && !alterControl) return model.subarray(0, 1)
        // Not the opcode: data would become control.
        const at = randomInt(1, model.length)
        model[at] = (model[at] ?? 0) ^ (1 << randomInt(8))
        return model
      }
      case 4: // Sent a second time.
        return model
      default: // An empty datagram is a packet too.
        return Buffer.alloc(0)
    }
  }
}
