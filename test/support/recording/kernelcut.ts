/**
 * Linux as the one who cuts: what is written to a tun with a virtio header leaves by one without offloads, so that the kernel
 * has to make single packets with finished checksums of it. Packets are redirected between the two as they come in: no
 * routing, nothing in them changes. Needs root and a network namespace of its own.
 */
import { Arena, closeFd, errno, errnoName, openTun, readFd, writeFd } from "../../../src/linux/index.ts"

export class KernelCut implements Disposable {
  /** Of the tun that is written to. */
  readonly fd: number
  readonly #out: number

  constructor() {
    this.fd = openTun({ name: "cutin" }).fd
    this.#out = openTun({ name: "cutout" }).fd
    for (const device of ["cutin", "cutout"]) {
      run(["sysctl", "-q", "-w", `net.ipv6.conf.${device}.disable_ipv6=1`])
      run(["ip", "link", "set", device, "mtu", "65535", "txqueuelen", "70000", "up"])
    }
    run([
      "nft",
      "add table netdev cut; add chain netdev cut in { type filter hook ingress device cutin priority 0; }; " +
        "add rule netdev cut in fwd to cutout",
    ])
  }

  /** The packets of a virtio header and a packet. Throws when the kernel does not take it. */
  cut(bytes: Uint8Array): ReadonlyArray<Uint8Array> {
    memory.bytes.set(bytes)
    if (writeFd(this.fd, memory.address, bytes.length) < 0)
      throw new Error(`writing ${bytes.length} bytes to the tun: ${errnoName(errno())}`)
    return this.read()
  }

  /** What came of all that was written. */
  read(): ReadonlyArray<Uint8Array> {
    const packets: Array<Uint8Array> = []
    for (;;) {
      const length = readFd(this.#out, memory.address, memory.length)
      if (length < 0) return packets
      if (memory.bytes[1] !== 0 || memory.bytes[0] !== 0) throw new Error("the kernel left something to be done")
      packets.push(memory.bytes.slice(VNET_HEADER, length))
    }
  }

  [Symbol.dispose](): void {
    for (const fd of [this.fd, this.#out]) closeFd(fd)
    run(["nft", "delete table netdev cut"])
  }
}

function run(command: ReadonlyArray<string>): void {
  const { success, stderr } = Bun.spawnSync([...command])
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString().trim()}`)
}

const VNET_HEADER = 10
const memory = new Arena(256 * 1024).allocate(70_000)
