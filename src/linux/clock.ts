/** The clock of the data plane and of everything that is compared with it. */
import { scratch } from "./arena.ts"
import { libc } from "./libc.ts"

/** CLOCK_MONOTONIC in ms with a fraction, the same for all threads and processes of the machine. Allocates nothing. */
export function monotonicMilliseconds(): number {
  libc.clock_gettime(CLOCK_MONOTONIC, time.address)
  const view = time.view
  const seconds = view.getUint32(4, true) * 0x1_0000_0000 + view.getUint32(0, true)
  return seconds * 1000 + view.getUint32(8, true) / 1e6
}

/** Lets the thread sleep, for less than a second; a signal may end that early. Allocates nothing. */
export function pauseMicroseconds(duration: number): void {
  // An integer to the compiler as well: where a fraction comes it gives up its code each time.
  interval.view.setUint32(8, (duration * 1000) | 0, true)
  libc.nanosleep(interval.address, 0)
}

/** How late, in microseconds, the kernel may end the sleeps of this thread: 50 unless said. */
export function setTimerSlack(microseconds: number): void {
  libc.prctl(PR_SET_TIMERSLACK, microseconds * 1000, 0, 0, 0)
}

/** struct timespec: two 64-bit integers, seconds and nanoseconds. */
const time = scratch.allocate(16)
const interval = scratch.allocate(16)
const CLOCK_MONOTONIC = 1
const PR_SET_TIMERSLACK = 29
