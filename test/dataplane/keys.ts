/** Data keys for tests, and the server's end of the data channel made of the same parts. */

import { KeySlots } from "../../src/dataplane/keyslots.ts"
import { Arena } from "../../src/linux/index.ts"
import type { DataKey, DirectionKey } from "../../src/protocol/output.ts"

/** A client's key; `seed` makes different ones. */
export function dataKey(
  keyId: number,
  seed = keyId,
  options: Partial<Pick<DataKey, "cipher" | "peerId">> = {},
): DataKey {
  const cipher = options.cipher ?? "AES-256-GCM"
  const length = cipher === "AES-128-GCM" ? 16 : 32
  const direction = (base: number): DirectionKey => ({
    cipherKey: Uint8Array.from({ length }, (_, i) => base + seed * 7 + i),
    implicitIv: Uint8Array.from({ length: 8 }, (_, i) => base + seed * 13 + i),
  })
  return {
    keyId,
    cipher,
    peerId: "peerId" in options ? options.peerId : 5,
    send: direction(1),
    receive: direction(101),
  }
}

/** The same key from the other end. */
export function mirrored(key: DataKey): DataKey {
  return { ...key, send: key.receive, receive: key.send }
}

/** The other end's data channel: whole packets as byte arrays. */
export class Peer {
  readonly keys = new KeySlots(arena)

  /** Seals with the sending key. */
  seal(payload: Uint8Array): Uint8Array {
    const { sealer } = this.keys.sending!
    memory.bytes.set(payload, sealer.overhead)
    const length = sealer.seal(memory, 0, payload.length)
    if (length < 0) throw new Error(`seal: ${length}`)
    return memory.bytes.slice(0, length)
  }

  /** The payload of a packet, or the drop reason. */
  open(packet: Uint8Array): Uint8Array | number {
    memory.bytes.set(packet)
    const key = this.keys.find(packet[0]! & 7)
    if (key === undefined) throw new Error(`no key ${packet[0]! & 7}`)
    const length = key.opener.open(memory, 0, packet.length)
    const start = key.opener.payloadAt
    return length < 0 ? length : memory.bytes.slice(start, start + length)
  }

  /** Installs the mirror of a client's key and sends with it. */
  use(key: DataKey): void {
    this.keys.install(mirrored(key), { packets: 64, seconds: 15 })
    this.keys.use(key.keyId)
  }
}

/** An IPv4 UDP packet to nowhere, `length` bytes, that carries `number` in its last four bytes. */
export function ipPacket(number: number, length = 100): Uint8Array {
  const packet = new Uint8Array(length)
  packet[0] = 0x45
  new DataView(packet.buffer).setUint16(2, length)
  packet[9] = 17
  new DataView(packet.buffer).setUint32(length - 4, number)
  return packet
}

export const numberOf = (packet: Uint8Array): number =>
  new DataView(packet.buffer, packet.byteOffset + packet.length - 4).getUint32(0)

const arena = new Arena(4 * 1024 * 1024)
/** One for all peers: no packet stays in it. */
const memory = arena.allocate(70_000)
