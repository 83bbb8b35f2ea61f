/**
 * Pages of program files that were mapped and are not needed any more. The kernel maps sixteen around each one that is touched,
 * and counts all of them as the process's memory until it is short of memory; what is needed again is mapped again, from the
 * page cache.
 */
import { dlopen, FFIType } from "bun:ffi"

/** Part of the address space, in bytes. */
export interface Mapping {
  readonly address: number
  readonly length: number
  /** Of that in memory. */
  readonly resident: number
}

/** Gives back what `smaps`, the text of /proc/self/smaps, shows of program files; bytes that were mapped. */
export function unmapProgramPages(smaps: string): number {
  const mappings = programMappings(smaps)
  if (mappings.length === 0) return 0
  const { symbols, close } = dlopen("libc.so.6", { madvise: { args: [u64, u64, "i32"], returns: "i32" } })
  try {
    const given = mappings.filter(({ address, length }) => symbols.madvise(address, length, MADV_DONTNEED) === 0)
    return given.reduce((sum, { resident }) => sum + resident, 0)
  } finally {
    close()
  }
}

/**
 * Mappings of files of which the process has nothing of its own: those that cannot be written to and never were. Relocated data
 * is read-only as well, and would be lost; it is anonymous, or in the swap. What counts as dirty may just be a file that was
 * written a moment ago. A file that was replaced is left alone.
 */
export function programMappings(smaps: string): ReadonlyArray<Mapping> {
  return [...smaps.matchAll(entry)].flatMap(([, begin = "", end = "", facts = ""]) => {
    const kilobytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(facts)?.[1])
    const isUntouched = ["Anonymous", "Swap"].every((name) => kilobytes(name) === 0)
    const resident = kilobytes("Rss") * 1024
    if (!isUntouched || !(resident > 0)) return []
    const address = Number.parseInt(begin, 16)
    return [{ address, length: Number.parseInt(end, 16) - address, resident }]
  })
}

/** A private mapping that may be read and perhaps executed, of a file that still has its name; then what is known of it. */
const entry = /^([0-9a-f]+)-([0-9a-f]+) r-[-x]p [0-9a-f]+ \S+ [1-9]\d* +\/.*(?<! \(deleted\))\n((?:\w+: .*\n)+)/gm

const u64 = FFIType.u64_fast
const MADV_DONTNEED = 4
