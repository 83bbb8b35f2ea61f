/**
 * Memory whose address OpenSSL may see. Every slot is an `ArrayBuffer` from the start, because bun may move the storage of
 * a small typed array when its `.buffer` is first touched after `ptr()`. A slot must stay referenced for as long as
 * OpenSSL holds its address; none is handed over for longer than one call, but for the text behind a read-only BIO.
 */
import { ptr } from "bun:ffi"

export interface Slot {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of the first byte. */
  readonly address: number
}

export function allocate(length: number): Slot {
  // ptr() refuses an empty view.
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(1, length)))
  return { bytes, address: ptr(bytes) }
}

/** UTF-8, NUL-terminated. */
export function cString(text: string): Slot {
  const encoded = new TextEncoder().encode(text)
  const slot = allocate(encoded.length + 1)
  slot.bytes.set(encoded)
  return slot
}

/**
 * Calls `use` with the address and the length of the concatenation of `parts`, in memory that is wiped afterwards.
 * Small input goes through one buffer kept for the purpose: `use` must not gather again.
 */
export function gathered<A>(parts: ReadonlyArray<Uint8Array>, use: (address: number, length: number) => A): A {
  let length = 0
  for (const part of parts) length += part.length
  const slot = length <= gather.bytes.length ? gather : allocate(length)
  let offset = 0
  for (const part of parts) {
    slot.bytes.set(part, offset)
    offset += part.length
  }
  try {
    return use(slot.address, length)
  } finally {
    slot.bytes.fill(0, 0, length)
  }
}

/** Larger than any TLS record, so control-channel input never allocates. */
const gather = allocate(20 * 1024)
