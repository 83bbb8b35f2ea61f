/** Linux through bun:ffi: memory for the kernel, descriptors, tun, sockets, poll. Imports nothing of ours. */
export { Arena, PlainArena, type Region } from "./arena.ts"
export { effectiveCapabilities, hasNetAdmin } from "./capability.ts"
export { monotonicMilliseconds, pauseMicroseconds, setTimerSlack } from "./clock.ts"
export {
  LARGEST_SEGMENTED,
  MOST_SEGMENTS,
  ReceiveBatch,
  receiveBytes,
  receiveFrom,
  SendBatch,
  sendBytes,
} from "./datagrams.ts"
export * from "./errno.ts"
export { openEventfd, signalEventfd, takeEventfd } from "./eventfd.ts"
export { closeFd, isTerminal, readFd, writeFd } from "./file.ts"
export {
  filterGeneration,
  hasFilterTable,
  UNKNOWN_GENERATION,
  type Watch,
  watchFilter,
  watchRouting,
} from "./netlink.ts"
export { unmapProgramPages } from "./pages.ts"
export { type Echo, ping } from "./ping.ts"
export { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, Poll } from "./poll.ts"
export { changeNetwork } from "./rtchange.ts"
export {
  globalAddresses,
  hasMarked,
  type Link,
  type LinkAddress,
  links,
  mainRoutes,
  type Route,
  routeTo,
} from "./rtnetlink.ts"
export {
  connectAnew,
  enableGro,
  localAddress,
  openSocketPair,
  openStraySocket,
  openTcpSocket,
  openUdpSocket,
  peerOf,
  readSocketAddress,
  receiveBufferOf,
  SOCKADDR_SIZE,
  type SocketAddress,
  type SocketOptions,
  setReceiveBuffer,
  setSendBuffer,
  socketError,
} from "./socket.ts"
export { openTun, setTunOffload, type Tun, TunOffload, type TunType, tunFormat } from "./tun.ts"
