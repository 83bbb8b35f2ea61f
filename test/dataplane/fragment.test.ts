/** Packets in pieces: the header to the bit, any order, any loss, and nothing that a peer sends takes more than its share. */
import { describe, expect, test } from "bun:test"
import { checksums } from "../../src/dataplane/checksum.ts"
import { Drop } from "../../src/dataplane/drop.ts"
import { Fragmenter, LARGEST, Reassembly } from "../../src/dataplane/fragment.ts"
import { Arena } from "../../src/linux/index.ts"
import { forEachSeed, longForm, SeededRandom } from "../support/network.ts"

const arena = new Arena(4 * 1024 * 1024)
const copier = checksums(arena)
const whole = arena.allocate(LARGEST)
const wire = arena.allocate(LARGEST)

/** The pieces of `packet`, each with its header. */
const cut = (fragmenter: Fragmenter, packet: Uint8Array): ReadonlyArray<Uint8Array> => {
  whole.bytes.set(packet)
  if (!fragmenter.begin(packet.length)) throw new Error("too large")
  return Array.from({ length: fragmenter.pieces }, (_, index) => {
    const length = fragmenter.lay(index, whole, wire, 3, copier)
    return wire.bytes.slice(3, 3 + length)
  })
}

/** What became of a piece: the packet that it completes, 0, or the drop reason. */
const give = (reassembly: Reassembly, piece: Uint8Array, now = 0): Uint8Array | number => {
  wire.bytes.set(piece, 5)
  const length = reassembly.take(now, wire, 5, piece.length, copier)
  if (length <= 0) return length
  return reassembly.memory.bytes.slice(reassembly.payloadAt, reassembly.payloadAt + length)
}

const numbered = (length: number, salt = 0) =>
  Uint8Array.from({ length }, (_, index) => index * 7 + (index >> 8) + salt)
const header = (type: number, sequence: number, index: number, size = 0) => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, type | (sequence << 2) | (index << 10) | ((size / 4) << 15))
  return bytes
}
const piece = (type: number, sequence: number, index: number, length: number, size = 0) =>
  Uint8Array.of(...header(type, sequence, index, size), ...numbered(length))
const [WHOLE, NOT_LAST, LAST, TEST] = [0, 1, 2, 3]

describe("a packet that is cut", () => {
  test("has pieces of one size, a multiple of four, of which the last says the size", () => {
    const packet = numbered(2500)
    const pieces = cut(new Fragmenter(1000), packet)
    expect(pieces.map((bytes) => bytes.subarray(0, 4).toHex())).toEqual([
      header(NOT_LAST, 1, 0).toHex(),
      header(NOT_LAST, 1, 1).toHex(),
      header(LAST, 1, 2, 836).toHex(),
    ])
    expect(pieces.map(({ length }) => length - 4)).toEqual([836, 836, 828])
    expect(Buffer.concat(pieces.map((bytes) => bytes.subarray(4)))).toEqual(Buffer.from(packet))
  })

  test("has the next sequence number each time, from 255 on to 0", () => {
    const fragmenter = new Fragmenter(64)
    const sequences = Array.from({ length: 300 }, () => {
      const [first] = cut(fragmenter, numbered(100))
      return (new DataView(first!.buffer, first!.byteOffset).getUint32(0) >> 2) & 0xff
    })
    expect(sequences).toEqual(Array.from({ length: 300 }, (_, index) => (index + 1) & 0xff))
  })

  test("is refused when it would take more than 32 pieces", () => {
    const fragmenter = new Fragmenter(64)
    expect([fragmenter.begin(64 * 32), fragmenter.pieces]).toEqual([true, 32])
    expect(fragmenter.begin(64 * 32 + 1)).toBe(false)
  })
})

const reassembly = new Reassembly(arena)

test("every length and every size comes back, in whatever order the pieces arrive, each of them twice", () => {
  forEachSeed(longForm(300, 1 / 10), (seed) => {
    const random = new SeededRandom(seed)
    const fragmenter = new Fragmenter(64 + 4 * random.below(300))
    const length = Math.min(LARGEST, fragmenter.size + 1 + random.below(31 * fragmenter.size))
    const packet = numbered(length, seed)
    const pieces = cut(fragmenter, packet).map((bytes) => ({ bytes, at: random.below(1000) }))
    pieces.sort((a, b) => a.at - b.at)
    const outcome = pieces.flatMap(({ bytes }, index) => {
      const completed = give(reassembly, bytes)
      return index === pieces.length - 1 ? [completed] : [completed, give(reassembly, bytes)]
    })
    expect(outcome.slice(0, -1).every((result) => result === 0)).toBe(true)
    expect(outcome.at(-1)).toEqual(packet)
    reassembly.clear()
  })
})

describe("what arrives", () => {
  test("whole is where it was, also between the pieces of another packet", () => {
    reassembly.clear()
    expect(give(reassembly, piece(NOT_LAST, 9, 0, 100))).toBe(0)
    expect(give(reassembly, piece(WHOLE, 0, 0, 50))).toEqual(numbered(50))
    expect(reassembly.memory).toBe(wire)
    expect(give(reassembly, piece(LAST, 9, 1, 30, 100))).toEqual(Uint8Array.of(...numbered(100), ...numbered(30)))
  })

  test.each([
    ["whole, with a sequence number", piece(WHOLE, 1, 0, 50)],
    ["a header and nothing else", header(WHOLE, 0, 0)],
    ["less than a header", Uint8Array.of(0, 0, 0)],
    ["the kind that nobody has ever sent", piece(TEST, 1, 0, 50)],
    ["a last piece larger than the others", piece(LAST, 1, 1, 104, 100)],
    ["a last piece that says no size", piece(LAST, 1, 1, 10, 0)],
    ["a piece beyond the largest packet", piece(NOT_LAST, 1, 31, 1000)],
  ])("%s is malformed", (_name, bytes) => {
    expect(give(reassembly, bytes)).toBe(Drop.malformed)
  })

  test("under a sequence number that is in use, with another size, begins a new packet", () => {
    reassembly.clear()
    give(reassembly, piece(NOT_LAST, 1, 0, 100))
    give(reassembly, piece(NOT_LAST, 1, 0, 200))
    expect(give(reassembly, piece(LAST, 1, 1, 10, 100))).toBe(0)
    expect(give(reassembly, piece(NOT_LAST, 1, 0, 100))).toHaveLength(110)
  })

  test("after ten seconds completes nothing", () => {
    reassembly.clear()
    give(reassembly, piece(NOT_LAST, 1, 0, 100), 1000)
    expect(give(reassembly, piece(LAST, 1, 1, 10, 100), 11_000)).toHaveLength(110)
    give(reassembly, piece(NOT_LAST, 2, 0, 100), 1000)
    expect(give(reassembly, piece(LAST, 2, 1, 10, 100), 11_001)).toBe(0)
  })

  test("for more than 16 packets at a time is forgotten, the one begun first before the others", () => {
    reassembly.clear()
    for (let sequence = 0; sequence < 17; sequence++) give(reassembly, piece(NOT_LAST, sequence, 0, 100))
    const finished = (sequence: number) => give(reassembly, piece(LAST, sequence, 1, 10, 100)) !== 0
    expect(Array.from({ length: 16 }, (_, index) => finished(index + 1))).not.toContain(false)
    expect(finished(0)).toBe(false)
  })

  test("behind what was forgotten waits in vain: a piece after the last one completes nothing", () => {
    reassembly.clear()
    give(reassembly, piece(LAST, 1, 1, 10, 100))
    expect(give(reassembly, piece(NOT_LAST, 1, 2, 100))).toBe(0)
    expect(give(reassembly, piece(NOT_LAST, 1, 0, 100))).toBe(0)
  })
})
