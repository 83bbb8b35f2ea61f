/**
 * Control packets without their wrapping. Big-endian; layout of the plain form:
 *
 *     opcode/key id 1 | session id 8 | ack count 1 | acks 4·n | peer session id 8 (only if n > 0) | message id 4 | payload
 *
 * ACK_V1 has no message id and no payload. The first nine bytes ("head") are never encrypted, the rest ("body") may be:
 * `wrap.ts` puts authentication between the two. Decoded byte strings are views of the packet, not copies.
 */
import * as Result from "effect/Result"
import { concat, readU32, writeU32 } from "./bytes.ts"
import type { DropReason } from "./drop.ts"
import { firstByte, keyIdOf, Opcode, opcodeOf, opcodeRow } from "./opcode.ts"
import { sessionIdLength } from "./sessionid.ts"

export interface ControlHead {
  readonly opcode: Opcode
  /** 0..7 */
  readonly keyId: number
  /** The sender's. */
  readonly sessionId: Uint8Array
}

export interface ControlBody {
  /** Message ids of the receiver that the sender has got; at most 8. */
  readonly acks: ReadonlyArray<number>
  /** The receiver's session id: there when `acks` is not empty. */
  readonly peerSessionId: Uint8Array | undefined
  /** Undefined in ACK_V1. */
  readonly messageId: number | undefined
  readonly payload: Uint8Array
}

export interface ControlPacket extends ControlHead, ControlBody {}

export const headLength = 1 + sessionIdLength

/** The most acknowledgements a packet may carry; more is malformed. */
export const maxAcks = 8

/** Bytes of a body with `acks` acknowledgements, without the payload. */
export const bodyOverhead = (acks: number): number => 1 + (acks > 0 ? 4 * acks + sessionIdLength : 0) + 4

export const encodeHead = (head: ControlHead): Uint8Array =>
  concat(new Uint8Array([firstByte(head.opcode, head.keyId)]), head.sessionId)

/** `peerSessionId` must be given when there are acknowledgements. */
export const encodeBody = (body: ControlBody): Uint8Array => {
  const { acks, peerSessionId, messageId, payload } = body
  const fields = new Uint8Array(1 + 4 * acks.length)
  fields[0] = acks.length
  acks.forEach((ack, index) => {
    writeU32(fields, 1 + 4 * index, ack)
  })
  const parts: Array<Uint8Array> = [fields]
  if (acks.length > 0) {
    if (peerSessionId === undefined) throw new Error("encoding a control packet: acknowledgements without a peer")
    parts.push(peerSessionId)
  }
  if (messageId !== undefined) {
    const id = new Uint8Array(4)
    writeU32(id, 0, messageId)
    parts.push(id, payload)
  }
  return concat(...parts)
}

export const decodeHead = (packet: Uint8Array): Result.Result<ControlHead, DropReason> => {
  if (packet.length < 1) return Result.fail("short")
  const opcode = opcodeOf(packet[0]!)
  const row = opcodeRow(opcode)
  if (row === undefined) return Result.fail("opcode")
  if (row.kind === "data") return Result.fail("unexpected")
  if (packet.length < headLength) return Result.fail("short")
  return Result.succeed({
    opcode: opcode as Opcode,
    keyId: keyIdOf(packet[0]!),
    sessionId: packet.subarray(1, headLength),
  })
}

/** Bytes after an ACK_V1's last field are ignored, as OpenVPN does. */
export const decodeBody = (opcode: Opcode, body: Uint8Array): Result.Result<ControlBody, DropReason> => {
  if (body.length < 1) return Result.fail("malformed")
  const count = body[0]!
  if (count > maxAcks) return Result.fail("malformed")
  let offset = 1 + 4 * count
  const peerEnd = offset + (count > 0 ? sessionIdLength : 0)
  if (body.length < peerEnd) return Result.fail("malformed")
  const acks = Array.from({ length: count }, (_, index) => readU32(body, 1 + 4 * index))
  const peerSessionId = count > 0 ? body.subarray(offset, peerEnd) : undefined
  offset = peerEnd
  if (opcode === Opcode.AckV1) {
    if (count === 0) return Result.fail("malformed")
    return Result.succeed({ acks, peerSessionId, messageId: undefined, payload: body.subarray(body.length) })
  }
  if (body.length < offset + 4) return Result.fail("malformed")
  return Result.succeed({ acks, peerSessionId, messageId: readU32(body, offset), payload: body.subarray(offset + 4) })
}
