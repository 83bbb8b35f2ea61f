/** ICMP echo over an unprivileged ping socket: the kernel picks the identifier, makes the checksum and gives us our answers only. */
import { scratch } from "./arena.ts"
import { EAGAIN, errno, SystemError } from "./errno.ts"
import { closeFd } from "./file.ts"
import { libc } from "./libc.ts"
import { openPingSocket } from "./socket.ts"

export interface Echo {
  /** Does not wait. Throws a `SystemError` when the network says that the target cannot be reached. */
  readonly isAnswered: () => boolean
  readonly close: () => void
}

/** Sends one echo request from a local address. Failures are `SystemError`s: EACCES when the group is not in `net.ipv4.ping_group_range`. */
export function ping(address: string, local: string): Echo {
  const family = address.includes(":") ? 6 : 4
  const fd = openPingSocket({ address, port: 0, family, local: { address: local } })
  message.bytes.fill(0)
  message.bytes[0] = family === 4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST
  if (libc.send(fd, message.address, HEADER, 0) < 0) {
    const reason = errno()
    closeFd(fd)
    throw new SystemError(`ping ${address}`, reason)
  }
  const answer = family === 4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY
  return {
    isAnswered: () => {
      if (libc.recv(fd, message.address, HEADER, 0) >= 0) return message.bytes[0] === answer
      const reason = errno()
      if (reason === EAGAIN) return false
      throw new SystemError(`ping ${address}`, reason)
    },
    close: () => closeFd(fd),
  }
}

/** Type, code, checksum, identifier, sequence number. */
const HEADER = 8
const message = scratch.allocate(HEADER)
const ICMP_ECHOREPLY = 0
const ICMP_ECHO = 8
const ICMPV6_ECHO_REQUEST = 128
const ICMPV6_ECHO_REPLY = 129
