/**
 * The Internet checksum (RFC 1071) over an arena, in WebAssembly with 128-bit SIMD: about 40 ns for 1400 bytes where
 * JavaScript takes 240, and copying along the way costs next to nothing on top.
 *
 * All sums are over little-endian 16-bit words: the ones' complement sum does not care, as long as what is added to it and
 * what is taken from it is in the same order (`swapped` turns a host number into such a word).
 */
import type { Arena } from "../linux/index.ts"

/** Addresses are `Region.offset` and what follows it; lengths are at most 65,536. Leaving the arena is a defect and throws. */
export interface Checksums {
  /** The sum of all words, below 2^31 and not folded; an odd last byte is the low half of a word. */
  sum(from: number, length: number): number
  /** Copies, forwards, and returns the same. */
  copy(to: number, from: number, length: number): number
}

export function checksums(arena: Arena): Checksums {
  return new WebAssembly.Instance(program, { arena: { memory: arena.memory } }).exports as unknown as Checksums
}

/** A sum as one 16-bit word. */
export function folded(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}

/** A 16-bit number as the word that it is in a packet. */
export function swapped(value: number): number {
  return ((value & 0xff) << 8) | ((value >> 8) & 0xff)
}

/** Opcodes of the WebAssembly specification, section 5.4. */
const op = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  end: [0x0b],
  branch: (depth: number) => [0x0c, depth],
  branchIf: (depth: number) => [0x0d, depth],
  get: (local: number) => [0x20, local],
  set: (local: number) => [0x21, local],
  tee: (local: number) => [0x22, local],
  load16: [0x2f, 0, 0],
  load8: [0x2d, 0, 0],
  store16: [0x3b, 0, 0],
  store8: [0x3a, 0, 0],
  constant: (value: number) => [0x41, ...(value < 64 ? [value] : [(value & 0x7f) | 0x80, value >> 7])],
  lessThan: [0x49],
  add: [0x6a],
  subtract: [0x6b],
  load128: (offset: number) => [0xfd, 0x00, 0, offset],
  store128: (offset: number) => [0xfd, 0x0b, 0, offset],
  addPairs16: [0xfd, 0x7f],
  add32x4: [0xfd, 0xae, 0x01],
  lane32: (lane: number) => [0xfd, 0x1b, lane],
}

/** `copy(to, from, length)`, or `sum(from, length)` when `to` is undefined. */
function body(to: number | undefined): ReadonlyArray<number> {
  const from = to === undefined ? 0 : 1
  const length = from + 1
  const [rest, words, accumulator, other] = [length + 1, length + 2, length + 3, length + 4]
  const advance = (bytes: number) => [
    ...[...(to === undefined ? [] : [to]), from].flatMap((local) => [
      ...op.get(local),
      ...op.constant(bytes),
      ...op.add,
      ...op.set(local),
    ]),
    ...[...op.get(length), ...op.constant(bytes), ...op.subtract, ...op.set(length)],
  ]
  /** While at least `bytes` are left: `step`, and on by `bytes`. */
  const each = (bytes: number, step: ReadonlyArray<number>) => [
    ...[...op.block, ...op.loop],
    ...[...op.get(length), ...op.constant(bytes), ...op.lessThan, ...op.branchIf(1)],
    ...step,
    ...advance(bytes),
    ...[...op.branch(0), ...op.end, ...op.end],
  ]
  const vector = (offset: number, into: number) => [
    ...(to === undefined ? [] : op.get(to)),
    ...[...op.get(from), ...op.load128(offset), ...op.tee(words)],
    ...(to === undefined ? [] : [...op.store128(offset), ...op.get(words)]),
    ...[...op.addPairs16, ...op.get(into), ...op.add32x4, ...op.set(into)],
  ]
  const scalar = (load: ReadonlyArray<number>, store: ReadonlyArray<number>) => [
    ...(to === undefined ? [] : [...op.get(to), ...op.get(from), ...load, ...store]),
    ...[...op.get(from), ...load, ...op.get(rest), ...op.add, ...op.set(rest)],
  ]
  const lanes = [0, 1, 2, 3].flatMap((lane) => [...op.get(accumulator), ...op.lane32(lane), ...op.add])
  return [
    // Locals: one i32 (the rest), three v128.
    ...[2, 1, 0x7f, 3, 0x7b],
    ...each(64, [
      ...[...vector(0, accumulator), ...vector(16, other)],
      ...[...vector(32, accumulator), ...vector(48, other)],
    ]),
    ...each(16, vector(0, accumulator)),
    ...[...op.get(accumulator), ...op.get(other), ...op.add32x4, ...op.set(accumulator)],
    ...each(2, scalar(op.load16, op.store16)),
    ...each(1, scalar(op.load8, op.store8)),
    ...[...op.get(rest), ...lanes, ...op.end],
  ]
}

/** LEB128. */
const size = (value: number): ReadonlyArray<number> =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...size(value >> 7)]
const vector = (items: ReadonlyArray<ReadonlyArray<number>>) => [...size(items.length), ...items.flat()]
const section = (id: number, content: ReadonlyArray<number>) => [id, ...size(content.length), ...content]
const name = (text: string) => [...size(text.length), ...new TextEncoder().encode(text)]
const sized = (content: ReadonlyArray<number>) => [...size(content.length), ...content]
const i32 = 0x7f

const program = new WebAssembly.Module(
  Uint8Array.from([
    ...[0, ...new TextEncoder().encode("asm"), 1, 0, 0, 0],
    // Types: sum and copy.
    ...section(
      1,
      vector([
        [0x60, 2, i32, i32, 1, i32],
        [0x60, 3, i32, i32, i32, 1, i32],
      ]),
    ),
    // The memory is imported, of any size.
    ...section(2, vector([[...name("arena"), ...name("memory"), 2, 0, 1]])),
    ...section(3, vector([[0], [1]])),
    ...section(
      7,
      vector([
        [...name("sum"), 0, 0],
        [...name("copy"), 0, 1],
      ]),
    ),
    ...section(10, vector([sized(body(undefined)), sized(body(0))])),
  ]),
)
