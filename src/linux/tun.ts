/**
 * The tun device: a descriptor that reads and writes one IP packet per call, with a virtio header in front where the kernel
 * takes IFF_VNET_HDR. With that header a packet may be one that still has to be cut into segments. A tap device reads and
 * writes Ethernet frames instead, without their checksum; it is asked for no virtio header, so what it reads is finished.
 */
import { cString, scratch } from "./arena.ts"
import { EINVAL, errno, SystemError } from "./errno.ts"
import { O_NONBLOCK, O_RDWR, openFile } from "./file.ts"
import { libc } from "./libc.ts"

/** IP packets or Ethernet frames. */
export type TunType = "tun" | "tap"

export interface Tun {
  readonly fd: number
  /** As the kernel names it. */
  readonly name: string
  /** False: the device existed before and stays when the descriptor is closed. */
  readonly created: boolean
}

/**
 * Opens a device in the network namespace of this thread. The name "tun" ("tap") lets the kernel choose (tun0, tun1, ...).
 * Any other name attaches to that device when it exists, which needs no capability if its owner or group is ours, and
 * creates it otherwise, which needs CAP_NET_ADMIN.
 *
 * A failure is a `SystemError` with the syscall "open <device>" (ENOENT: no such node, EACCES and EPERM: not allowed to)
 * or "ioctl TUNSETIFF" (EPERM: not ours, EBUSY: in use, EINVAL: the name belongs to something that is none of
 * this type, or the device was made with other flags such as multi_queue, vnet_hdr or pi).
 */
export function openTun(options: { readonly name: string; readonly type?: TunType; readonly device?: string }): Tun {
  const type = options.type ?? "tun"
  const fd = openFile(options.device ?? "/dev/net/tun", O_RDWR | O_NONBLOCK)
  const requested = options.name === type ? `${type}%d` : options.name
  const nameAddress = cString(interfaceName, requested)
  if (nameAddress === undefined) {
    libc.close(fd)
    throw new SystemError("ioctl TUNSETIFF", EINVAL)
  }
  const existed = libc.if_nametoindex(nameAddress) !== 0
  request.bytes.fill(0)
  request.bytes.set(interfaceName.bytes)
  const attached =
    type === "tap"
      ? attach(fd, IFF_TAP | IFF_NO_PI)
      : attach(fd, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR) || attach(fd, IFF_TUN | IFF_NO_PI)
  if (!attached) {
    const error = new SystemError("ioctl TUNSETIFF", errno())
    libc.close(fd)
    throw error
  }
  // A device that outlives its programs keeps what the one before us asked for.
  setTunOffload(fd, 0)
  const end = request.bytes.indexOf(0)
  const name = new TextDecoder().decode(request.bytes.slice(0, end))
  return { fd, name, created: !existed }
}

/** `hasHeader`: packets have the 10-byte virtio header in front. `isEthernet`: they are frames. Both false for what is no tun. */
export function tunFormat(fd: number): { readonly hasHeader: boolean; readonly isEthernet: boolean } {
  request.bytes.fill(0)
  const flags = libc.ioctl(fd, TUNGETIFF, request.address) < 0 ? 0 : request.view.getUint16(IFREQ_FLAGS, true)
  return { hasHeader: (flags & IFF_VNET_HDR) !== 0, isEthernet: (flags & IFF_TAP) !== 0 }
}

/** Says which packets, as a sum of `TunOffload`, may be read without being finished; false when the kernel refuses. */
export function setTunOffload(fd: number, offload: number): boolean {
  return libc.ioctl(fd, TUNSETOFFLOAD, offload) === 0
}

/** USO needs Linux 6.2. All but `checksum` need `checksum`. */
export const TunOffload = { checksum: 0x01, tso4: 0x02, tso6: 0x04, uso4: 0x20, uso6: 0x40 } as const

function attach(fd: number, flags: number): boolean {
  request.view.setUint16(IFREQ_FLAGS, flags, true)
  return libc.ioctl(fd, TUNSETIFF, request.address) === 0
}

/** struct ifreq: 16 bytes name, then a union that starts with u16 flags. */
const request = scratch.allocate(40)
const IFREQ_FLAGS = 16
const interfaceName = scratch.allocate(16)

const TUNSETIFF = 0x400454ca
const TUNSETOFFLOAD = 0x400454d0
const TUNGETIFF = 0x800454d2
const IFF_TUN = 0x1
const IFF_TAP = 0x2
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
