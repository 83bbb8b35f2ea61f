/** poll(2) over a fixed number of descriptors. Allocates nothing after construction. */
import { type PlainArena, type Region, scratch } from "./arena.ts"
import { EINTR, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

export class Poll {
  private readonly slots: number
  private readonly fds: Region

  constructor(slots: number, arena: PlainArena = scratch) {
    this.slots = slots
    this.fds = arena.allocate(slots * POLLFD_SIZE)
    for (let slot = 0; slot < slots; slot++) this.set(slot, -1, 0)
  }

  /** Waits for `events` on `fd`; a negative `fd` leaves the slot out. */
  set(slot: number, fd: number, events: number): void {
    const view = this.fds.view
    view.setInt32(slot * POLLFD_SIZE, fd, true)
    view.setUint16(slot * POLLFD_SIZE + 4, events, true)
    view.setUint16(slot * POLLFD_SIZE + 6, 0, true)
  }

  /** What happened at the last `wait`; POLLERR and POLLHUP come unasked. */
  events(slot: number): number {
    return this.fds.view.getUint16(slot * POLLFD_SIZE + 6, true)
  }

  /** For the first `slots` only: how many have events, 0 after `timeout` ms or when a signal interrupted the wait. */
  wait(timeout: number, slots = this.slots): number {
    const ready = libc.poll(this.fds.address, slots, timeout)
    if (ready >= 0) return ready
    const reason = errno()
    if (reason !== EINTR) throw new SystemError("poll", reason)
    // An interrupted poll leaves the results of the one before it in place.
    for (let slot = 0; slot < slots; slot++) this.fds.view.setUint16(slot * POLLFD_SIZE + 6, 0, true)
    return 0
  }
}

export const POLLIN = 1
export const POLLOUT = 4
export const POLLERR = 8
export const POLLHUP = 16
export const POLLNVAL = 32

/** struct pollfd: i32 fd, u16 events, u16 revents. */
const POLLFD_SIZE = 8
