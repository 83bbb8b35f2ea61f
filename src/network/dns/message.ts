/**
 * DNS messages (RFC 1035, EDNS0 RFC 6891) as a forwarder needs them. Pure. Messages are passed on as they came: records of a type
 * that nobody here knows go through unharmed. Sizes in bytes, TTLs in seconds, all numbers in network order.
 */
import { decode, encode, type Packet } from "dns-packet"

export interface Query {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly class: string
  /** The largest UDP answer that the asker takes. */
  readonly udpSize: number
  /** The asker wants signatures. */
  readonly dnssecOk: boolean
  /** The asker wants answers that were not validated (CD). */
  readonly checkingDisabled: boolean
}

export type Rcode = keyof typeof rcodes

/** Undefined when it is no query with one question. */
export const parseQuery = (bytes: Uint8Array): Query | undefined => {
  const packet = decoded(bytes)
  const [question, ...more] = packet?.questions ?? []
  const flags = packet?.flags ?? 0
  if (packet?.type !== "query" || question === undefined || more.length > 0 || (flags & opcodeMask) !== 0)
    return undefined
  const options = packet.additionals?.find(({ type }) => type === "OPT")
  return {
    id: packet.id ?? 0,
    ...question,
    udpSize: Math.max(options?.udpPayloadSize ?? leastUdpSize, leastUdpSize),
    dnssecOk: ((options?.flags ?? 0) & dnssecOk) !== 0,
    checkingDisabled: (flags & checkingDisabled) !== 0,
  }
}

/** An answer without records. `query` undefined: of a message that could not be read. */
export const failure = (bytes: Uint8Array, query: Query | undefined, rcode: Rcode): Uint8Array => {
  const id = query?.id ?? (bytes.length >= 2 ? uint16(bytes, 0) : 0)
  const asked = bytes.length >= headerSize ? uint16(bytes, 2) & recursionDesired : 0
  return encode({
    type: "response",
    id,
    flags: asked | recursionAvailable | rcodes[rcode],
    questions: query === undefined ? [] : [{ name: query.name, type: query.type, class: query.class }],
  })
}

/** Whether this is the answer to that question: same id, same name, type and class. */
export const answers = (bytes: Uint8Array, query: Query, id: number): boolean => {
  const packet = decoded(bytes)
  const question = packet?.questions?.[0]
  return (
    packet?.type === "response" &&
    packet.id === id &&
    question !== undefined &&
    question.name.toLowerCase() === query.name.toLowerCase() &&
    question.type === query.type &&
    question.class === query.class
  )
}

/** A copy with another id. */
export const withId = (bytes: Uint8Array, id: number): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  copy[0] = id >> 8
  copy[1] = id & 0xff
  return copy
}

/** A copy that asks for validation (AD in a query, RFC 6840 section 5.7). */
export const askingForValidation = (bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  copy[3] = copy[3]! | authenticData
  return copy
}

export const isValidated = (bytes: Uint8Array): boolean => (bytes[3]! & authenticData) !== 0

export const isTruncated = (bytes: Uint8Array): boolean => (uint16(bytes, 2) & truncated) !== 0

/** The answer itself when it fits, else one without records that says so: the asker then comes back over TCP. */
export const fitting = (bytes: Uint8Array, query: Query): Uint8Array => {
  if (bytes.length <= query.udpSize) return bytes
  const short = Uint8Array.from(failure(bytes, query, "NOERROR"))
  const flags = uint16(bytes, 2) | truncated
  short[2] = flags >> 8
  short[3] = flags & 0xff
  return short
}

/** How long an answer may be kept; 0: not at all. Negative answers by their SOA record (RFC 2308). */
export const lifetime = (bytes: Uint8Array): number => {
  const rcode = bytes.length >= headerSize ? bytes[3]! & 0xf : rcodes.SERVFAIL
  if ((rcode !== rcodes.NOERROR && rcode !== rcodes.NXDOMAIN) || isTruncated(bytes)) return 0
  const found = records(bytes)
  if (found === undefined) return 0
  const answered = rcode === rcodes.NOERROR && uint16(bytes, 6) > 0
  const counted = found.filter(({ type }) => type !== typeOpt)
  if (answered) return Math.min(...counted.map(({ ttl }) => uint32(bytes, ttl)))
  const soa = counted.find(({ type }) => type === typeSoa)
  return soa === undefined ? 0 : Math.min(uint32(bytes, soa.ttl), uint32(bytes, soa.end - 4))
}

/** A copy whose records are `seconds` older. */
export const aged = (bytes: Uint8Array, seconds: number): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  const view = new DataView(copy.buffer)
  for (const { type, ttl } of records(bytes) ?? []) {
    if (type !== typeOpt) view.setUint32(ttl, Math.max(uint32(bytes, ttl) - seconds, 0))
  }
  return copy
}

interface RecordPlace {
  readonly type: number
  /** Offset of the TTL. */
  readonly ttl: number
  /** Offset behind the record. */
  readonly end: number
}

/** All records after the questions; undefined when the message ends in the middle of one. */
const records = (bytes: Uint8Array): ReadonlyArray<RecordPlace> | undefined => {
  if (bytes.length < headerSize) return undefined
  let at = headerSize
  for (let left = uint16(bytes, 4); left > 0; left--) {
    at = afterName(bytes, at) + 4
    if (at > bytes.length) return undefined
  }
  const found: Array<RecordPlace> = []
  for (let left = uint16(bytes, 6) + uint16(bytes, 8) + uint16(bytes, 10); left > 0; left--) {
    const start = afterName(bytes, at)
    if (start + 10 > bytes.length) return undefined
    const end = start + 10 + uint16(bytes, start + 8)
    if (end > bytes.length) return undefined
    found.push({ type: uint16(bytes, start), ttl: start + 4, end })
    at = end
  }
  return found
}

/** The offset behind a name; behind the message when it does not end. */
const afterName = (bytes: Uint8Array, start: number): number => {
  let at = start
  for (;;) {
    const length = bytes[at]
    if (length === undefined) return bytes.length + 1
    if (length === 0) return at + 1
    if (length >= pointer) return at + 2
    at += length + 1
  }
}

const decoded = (bytes: Uint8Array): Packet | undefined => {
  if (bytes.length < headerSize) return undefined
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch {
    return undefined
  }
}

const uint16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!

const uint32 = (bytes: Uint8Array, at: number): number => uint16(bytes, at) * 0x10000 + uint16(bytes, at + 2)

const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const
const headerSize = 12
const leastUdpSize = 512
const opcodeMask = 0x7800
const truncated = 0x0200
const recursionDesired = 0x0100
const recursionAvailable = 0x0080
const authenticData = 0x20
const checkingDisabled = 0x0010
/** In the flags of an OPT record. */
const dnssecOk = 0x8000
/** The two high bits of a length that is a pointer to another name. */
const pointer = 0xc0
const typeSoa = 6
const typeOpt = 41
