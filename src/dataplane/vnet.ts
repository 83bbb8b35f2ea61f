/**
 * The virtio header in front of each packet of a tun with offloads (struct virtio_net_hdr, little-endian):
 *
 *     flags u8 | GSO type u8 | header length u16 | segment size u16 | checksum start u16 | checksum offset u16
 *
 * With NEEDS_CSUM the checksum at `start + offset` holds the sum of the pseudo-header only. With a GSO type the packet is
 * many: its payload is to be cut into segments. The header length is but a hint and not used.
 */
export const VNET_HEADER = 10

export const Vnet = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  segmentSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const

export const NEEDS_CSUM = 1
export const Gso = { none: 0, tcp4: 1, tcp6: 4, udp: 5 } as const
/** May be added to a TCP type: the first segment has CWR set. */
export const GSO_ECN = 0x80

/** Bytes of a packet with its virtio header, at most. */
export const LARGEST_TUN_READ = VNET_HEADER + 65_535

/** IP protocol numbers. */
export const TCP = 6
export const UDP = 17

/** TCP flags, in their byte. */
export const FIN = 0x01
export const PSH = 0x08
export const ACK = 0x10
export const CWR = 0x80
