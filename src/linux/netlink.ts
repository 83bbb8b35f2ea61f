/** Hearing of changes of the packet filter in this network namespace: a netlink socket in the group of nftables. */
import { Arena, scratch } from "./arena.ts"
import { EAGAIN, EINTR, errno, SystemError } from "./errno.ts"
import { libc } from "./libc.ts"

/** Needs CAP_NET_ADMIN. Close it with `closeFd`. */
export function openFilterWatch(): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER)
  if (fd < 0) throw new SystemError("socket netlink", errno())
  address.view.setUint16(0, AF_NETLINK, true)
  address.view.setUint32(8, 1 << (NFNLGRP_NFTABLES - 1), true)
  if (libc.bind(fd, address.address, SOCKADDR_NL_SIZE) < 0) {
    const reason = errno()
    libc.close(fd)
    throw new SystemError("bind netlink", reason)
  }
  return fd
}

/** Takes what was announced since the last call; true when the table `name` may be among what changed. */
export function hasFilterChanged(fd: number, name: string): boolean {
  let changed = false
  for (;;) {
    const length = libc.recv(fd, message.address, message.length, MSG_DONTWAIT)
    if (length < 0) {
      const reason = errno()
      if (reason === EAGAIN) return changed
      if (reason === EINTR) continue
      // ENOBUFS: more happened than the socket could hold.
      changed = true
      continue
    }
    // A message that fills the buffer was cut.
    changed ||= length === message.length || textOf(length).includes(name)
  }
}

const textOf = (length: number) => latin1.decode(message.bytes.subarray(0, length))

const latin1 = new TextDecoder("latin1")

/** The kernel announces a transaction in messages of less than this. */
const MESSAGE_SIZE = 32 * 1024
/** struct sockaddr_nl: u16 family, u16 pad, u32 port, u32 groups. */
const SOCKADDR_NL_SIZE = 12
const address = scratch.allocate(SOCKADDR_NL_SIZE)
const message = new Arena(MESSAGE_SIZE).allocate(MESSAGE_SIZE)

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const NETLINK_NETFILTER = 12
const NFNLGRP_NFTABLES = 7
const MSG_DONTWAIT = 0x40
