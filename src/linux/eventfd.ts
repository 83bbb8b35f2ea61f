/** A counter that one thread adds to and another one polls. */
import { scratch } from "./arena.ts"
import { EAGAIN, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

export function openEventfd(): number {
  const fd = libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
  if (fd < 0) throw new SystemError("eventfd", errno())
  return fd
}

/** Adds 1, which makes the descriptor readable. */
export function signalEventfd(fd: number): void {
  if (libc.write(fd, one.address, 8) < 0) throw new SystemError("write eventfd", errno())
}

/** Resets the counter and returns what it was: how often it was signalled since the last call. */
export function takeEventfd(fd: number): number {
  if (libc.read(fd, value.address, 8) < 0) {
    const reason = errno()
    if (reason === EAGAIN) return 0
    throw new SystemError("read eventfd", reason)
  }
  return value.view.getUint32(0, true)
}

const one = scratch.allocate(8)
one.bytes[0] = 1
const value = scratch.allocate(8)
const EFD_NONBLOCK = 0o4000
const EFD_CLOEXEC = 0o2000000
