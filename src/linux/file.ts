/** Descriptors in general. */
import { cString, type Region, scratch } from "./arena.ts"
import { errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

/** Opens `path` with `flags` and O_CLOEXEC. */
export function openFile(path: string, flags: number): number {
  const address = cString(pathName, path)
  if (address === undefined) throw new SystemError(`open ${path}`, ENAMETOOLONG)
  const fd = libc.open(address, flags | O_CLOEXEC)
  if (fd < 0) throw new SystemError(`open ${path}`, errno())
  return fd
}

export function isTerminal(fd: number): boolean {
  return libc.isatty(fd) === 1
}

/** Closes `fd`. Errors are ignored: Linux frees the descriptor whatever close(2) returns. */
export function closeFd(fd: number): void {
  libc.close(fd)
}

/** One read(2) into `length` bytes at `address`: the number of bytes, 0 at the end, or -1 with the reason in `errno()`. */
export function readFd(fd: number, address: number, length: number): number {
  return libc.read(fd, address, length)
}

/** One write(2); as `readFd`. */
export function writeFd(fd: number, address: number, length: number): number {
  return libc.write(fd, address, length)
}

/** The first `region.length` bytes of a small file, as text. */
export function readText(path: string, region: Region): string {
  const fd = openFile(path, O_RDONLY)
  try {
    const length = libc.read(fd, region.address, region.length)
    if (length < 0) throw new SystemError(`read ${path}`, errno())
    return new TextDecoder().decode(region.bytes.slice(0, length))
  } finally {
    libc.close(fd)
  }
}

export const O_RDONLY = 0
export const O_RDWR = 2
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000

const ENAMETOOLONG = 36
const pathName = scratch.allocate(4096)
