/** Why a packet was dropped: what the hot path returns instead of a length. Each reason is a counter. */
export const Drop = {
  /** no bytes at all */
  empty: -1,
  /** too few bytes for its kind */
  short: -2,
  /** an opcode that does not exist */
  opcode: -3,
  /** a control packet larger than any peer sends */
  controlSize: -4,
  /** more control packets within a second than a peer sends */
  controlFlood: -5,
  /** received: the key id names no live key; to be sent: no sending key is set */
  noKey: -6,
  /** the tag is wrong */
  authentication: -7,
  replay: -8,
  /** the sending key has no packet ids left */
  packetIds: -9,
  /** authentic, but no tun is attached */
  noTun: -10,
  /** the tun's queue is full (EAGAIN, ENOBUFS) */
  tunBusy: -11,
  /** the tun interface is down (EIO) */
  tunDown: -12,
  /** the kernel does not take it for an IP packet, or another error of the tun write */
  tunRefused: -13,
  noTransport: -14,
  /** the queue towards the network is full */
  transportBusy: -15,
  /** the kernel could not send it: no route, refused, not permitted, too large */
  transportError: -16,
  /** does not fit into one datagram or frame */
  tooLarge: -17,
  /** authentic, but its padding or framing is not well-formed */
  malformed: -18,
  /** authentic, but compressed in a way that is not taken */
  compressed: -19,
  /** from the tun: a packet that is many, whose parts do not fit together */
  offload: -20,
  /** `float`: a control packet from elsewhere than the server, where no key says whose it is */
  stranger: -21,
} as const

export type DropReason = keyof typeof Drop

/** Which way packets were going when they were dropped for a reason. */
export const dropDirections: Readonly<Record<DropReason, "sent" | "received" | "either">> = {
  empty: "received",
  short: "received",
  opcode: "received",
  controlSize: "received",
  controlFlood: "received",
  noKey: "either",
  authentication: "received",
  replay: "received",
  packetIds: "sent",
  noTun: "received",
  tunBusy: "received",
  tunDown: "received",
  tunRefused: "received",
  noTransport: "sent",
  transportBusy: "sent",
  transportError: "sent",
  tooLarge: "sent",
  malformed: "received",
  compressed: "received",
  offload: "sent",
  stranger: "received",
}

/** In the order of their numbers: the reason of -1 first. */
export const dropReasons = Object.keys(Drop) as ReadonlyArray<DropReason>
