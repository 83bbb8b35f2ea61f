/**
 * Failed system calls as errors, and the names of errno values. Linux numbers, the same on x86-64 and arm64.
 */
import { read } from "bun:ffi"
import { libc } from "./libc.ts"

/** A system call that failed: which one, with which errno. The hint that fixes it is the caller's to add. */
export class SystemError extends Error {
  override readonly name = "SystemError"
  /** The call and, where it helps, its object: "ioctl TUNSETIFF", "open /dev/net/tun". */
  readonly syscall: string
  readonly errno: number
  /** The errno's name, such as "EACCES". */
  readonly code: string

  constructor(syscall: string, errno: number) {
    const code = errnoName(errno)
    super(`${syscall}: ${code}`)
    this.syscall = syscall
    this.errno = errno
    this.code = code
  }
}

/**
 * The calling thread's errno. Only meaningful straight after the failed call, in the same function: any other call may
 * overwrite it.
 */
export function errno(): number {
  return read.i32(location, 0)
}

export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`
}

/** glibc gives each thread its own errno; a Bun worker is one thread with its own copy of this module. */
const location = libc.__errno_location()!

export const EPERM = 1
export const ENOENT = 2
export const EINTR = 4
export const EIO = 5
export const EBADF = 9
export const EAGAIN = 11
export const EACCES = 13
export const EFAULT = 14
export const EBUSY = 16
export const ENODEV = 19
export const EINVAL = 22
export const EBADFD = 77
export const ENOTSOCK = 88
export const EDESTADDRREQ = 89
export const EMSGSIZE = 90
export const EADDRNOTAVAIL = 99
export const ENETUNREACH = 101
export const ENOBUFS = 105
export const ECONNREFUSED = 111
export const EINPROGRESS = 115

const names: ReadonlyMap<number, string> = new Map([
  [EPERM, "EPERM"],
  [ENOENT, "ENOENT"],
  [3, "ESRCH"],
  [EINTR, "EINTR"],
  [EIO, "EIO"],
  [6, "ENXIO"],
  [EBADF, "EBADF"],
  [EAGAIN, "EAGAIN"],
  [12, "ENOMEM"],
  [EACCES, "EACCES"],
  [EFAULT, "EFAULT"],
  [EBUSY, "EBUSY"],
  [17, "EEXIST"],
  [ENODEV, "ENODEV"],
  [20, "ENOTDIR"],
  [EINVAL, "EINVAL"],
  [23, "ENFILE"],
  [24, "EMFILE"],
  [25, "ENOTTY"],
  [28, "ENOSPC"],
  [32, "EPIPE"],
  [38, "ENOSYS"],
  [71, "EPROTO"],
  [EBADFD, "EBADFD"],
  [ENOTSOCK, "ENOTSOCK"],
  [EDESTADDRREQ, "EDESTADDRREQ"],
  [EMSGSIZE, "EMSGSIZE"],
  [92, "ENOPROTOOPT"],
  [95, "EOPNOTSUPP"],
  [97, "EAFNOSUPPORT"],
  [98, "EADDRINUSE"],
  [EADDRNOTAVAIL, "EADDRNOTAVAIL"],
  [100, "ENETDOWN"],
  [ENETUNREACH, "ENETUNREACH"],
  [103, "ECONNABORTED"],
  [104, "ECONNRESET"],
  [ENOBUFS, "ENOBUFS"],
  [107, "ENOTCONN"],
  [110, "ETIMEDOUT"],
  [ECONNREFUSED, "ECONNREFUSED"],
  [112, "EHOSTDOWN"],
  [113, "EHOSTUNREACH"],
  [EINPROGRESS, "EINPROGRESS"],
])
