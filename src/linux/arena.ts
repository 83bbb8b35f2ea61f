/**
 * Memory whose address the kernel or OpenSSL sees.
 *
 * JavaScriptCore may move a small typed array's bytes and collects a buffer nobody refers to, even while its address
 * stands in a struct that the kernel reads. So all such bytes live in a few large buffers that this module keeps alive
 * until the thread ends, and every address is computed here. Nothing is ever given back: allocate at start, reuse.
 */
import { ptr } from "bun:ffi"

/** A piece of an arena. `bytes` and `view` show the same memory, of `length` bytes, that begins at `address`. */
export class Region {
  /** Of the first byte, in the arena: what a WebAssembly function takes as its address. */
  readonly offset: number
  readonly address: number
  readonly length: number
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(buffer: ArrayBuffer, base: number, offset: number, length: number) {
    // An integer to the compiler as well: the difference of two addresses is a double, which costs each call 50 ns.
    this.offset = offset | 0
    this.address = base + offset
    this.length = length
    this.bytes = new Uint8Array(buffer, offset, length)
    this.view = new DataView(buffer, offset, length)
  }

  /** The address of `length` bytes at `offset` of this region. Leaving the region is a defect and throws a RangeError. */
  at(offset: number, length: number): number {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.length)) outOfBounds(offset, length, this.length)
    return this.address + offset
  }
}

/** What the kernel and OpenSSL work on. */
export class PlainArena {
  readonly size: number
  private readonly buffer: ArrayBuffer
  private readonly base: number
  private used = 0

  /** `size` in bytes. Pages nobody writes to cost no memory. */
  constructor(size: number, buffer: ArrayBuffer = new ArrayBuffer(size)) {
    this.size = size
    this.buffer = buffer
    this.base = ptr(new Uint8Array(buffer))
    alive.push(buffer)
  }

  /** `length` zeroed bytes at a multiple of `align`, a power of two. A full arena throws a RangeError. */
  allocate(length: number, align = 16): Region {
    const offset = alignUp(this.base + this.used, align) - this.base
    if (!(length > 0 && offset + length <= this.size)) outOfBounds(offset, length, this.size)
    this.used = offset + length
    return new Region(this.buffer, this.base, offset, length)
  }
}

/**
 * What WebAssembly functions work on as well. One a thread: each reserves 4 GiB of addresses, and JavaScriptCore, which has
 * room for eight, collects all garbage at every second or third, 14 ms of CPU time while a program starts.
 */
export class Arena extends PlainArena {
  /** Never grows, which is what keeps its address. */
  readonly memory: WebAssembly.Memory

  constructor(size: number) {
    const pages = Math.ceil(size / WASM_PAGE)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    super(size, memory.buffer)
    this.memory = memory
  }
}

/** Copies `text` as a C string to the start of `region` and returns its address; undefined when it does not fit. */
export function cString(region: Region, text: string): number | undefined {
  const encoded = new TextEncoder().encode(text)
  if (encoded.length >= region.length || encoded.includes(0)) return undefined
  region.bytes.set(encoded)
  region.bytes[encoded.length] = 0
  return region.address
}

const alive: Array<ArrayBuffer> = []
const WASM_PAGE = 65_536

/** Not with bit operators: addresses have more than 32 bits. */
function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align
}

function outOfBounds(offset: number, length: number, size: number): never {
  throw new RangeError(`arena: ${length} bytes at ${offset} are outside of ${size} bytes`)
}

/** For the arguments of this folder's own calls; each file takes its piece once, when it is loaded. */
export const scratch = new PlainArena(16 * 1024)
