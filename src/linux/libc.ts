/**
 * The C library, loaded once a thread. Addresses and lengths are plain numbers; a call that fails returns -1 and leaves its
 * reason in `errno()`.
 */
import { dlopen, FFIType } from "bun:ffi"

/** What a number becomes an address by is 10 ns faster than what makes one of 64 bits of it, and does the same. */
const u64 = FFIType.ptr as unknown as FFIType.u64_fast

export const libc = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: "ptr" },
  open: { args: [u64, "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  isatty: { args: ["i32"], returns: "i32" },
  read: { args: ["i32", u64, u64], returns: "i32" },
  write: { args: ["i32", u64, u64], returns: "i32" },
  ioctl: { args: ["i32", u64, u64], returns: "i32" },
  if_nametoindex: { args: [u64], returns: "u32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", u64], returns: "i32" },
  bind: { args: ["i32", u64, "u32"], returns: "i32" },
  connect: { args: ["i32", u64, "u32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", u64, "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", u64, u64], returns: "i32" },
  getsockname: { args: ["i32", u64, u64], returns: "i32" },
  getpeername: { args: ["i32", u64, u64], returns: "i32" },
  inet_pton: { args: ["i32", u64, u64], returns: "i32" },
  recv: { args: ["i32", u64, u64, "i32"], returns: "i32" },
  recvfrom: { args: ["i32", u64, u64, "i32", u64, u64], returns: "i32" },
  send: { args: ["i32", u64, u64, "i32"], returns: "i32" },
  recvmmsg: { args: ["i32", u64, "u32", "i32", u64], returns: "i32" },
  sendmmsg: { args: ["i32", u64, "u32", "i32"], returns: "i32" },
  poll: { args: [u64, u64, "i32"], returns: "i32" },
  eventfd: { args: ["u32", "i32"], returns: "i32" },
  nanosleep: { args: [u64, u64], returns: "i32" },
  prctl: { args: ["i32", u64, u64, u64, u64], returns: "i32" },
  clock_gettime: { args: ["i32", u64], returns: "i32" },
}).symbols
