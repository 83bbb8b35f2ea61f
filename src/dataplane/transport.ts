/** What the worker's loop needs of a transport; `transport-udp.ts` and `transport-tcp.ts` are the two there are. */
import type { Region } from "../linux/index.ts"

/** Takes each packet that a transport receives. */
export interface PacketSink {
  /** 0 or a drop reason. The packet may be changed in place, and is needed until `flush`. */
  receive(memory: Region, start: number, length: number): number
  /** What was received is about to be overwritten. */
  flush(): void
}

/**
 * A transport is made once, with its buffers, and opened once a connection. Packets are built in place: `reserve`, write
 * at most `LARGEST_PACKET` bytes at `start` of the region, `commit`; then `flush`. Where a method returns
 * `string | undefined`, a string says why the transport has become unusable.
 */
export interface Transport {
  /** TCP: still connecting when false. */
  readonly isOpen: boolean
  /** False: so much waits to be sent that no further packets should be brought. */
  readonly isReady: boolean
  /** Where in the reserved region the packet begins. */
  readonly start: number
  /** The poll events that it waits for. */
  readonly interest: number
  /** UDP: of the packets that are committed from now on (IPv4's type of service as well); 0 is the socket's. */
  trafficClass?: number
  /** UDP. `header`: for a proxy's relay, in front of each datagram. `keepsBuffer`: the receive buffer keeps its size. */
  open(fd: number, header?: Uint8Array, keepsBuffer?: boolean): void
  /** The receive buffer has the size that was asked for from now on. */
  keepBuffer(): void
  /** Space for one packet, also when not `isReady`; undefined when the memory is full: `flush` may help. */
  reserve(): Region | undefined
  /** Queues the packet of `length` bytes in the reserved space. */
  commit(length: number): void
  /** Sends what is queued, as far as the kernel takes it. */
  flush(): string | undefined
  /** Queues and sends a control packet. */
  transmit(packet: Uint8Array): string | undefined
  /** The socket is writable. */
  writable(): string | undefined
  /** The socket is readable or has an error: one bounded round of receiving. */
  receive(sink: PacketSink): string | undefined
  /**
   * Packets go from the address that the kernel would choose now, to another peer (a sockaddr) if one is given; nothing happens where
   * that has no meaning.
   */
  roam(to?: Uint8Array): void
  /** A last try to send what is queued; then the socket is closed. */
  close(): void
}

/** Bytes of the largest packet that either transport can carry (UDP over IPv4). */
export const LARGEST_PACKET = 65_507
