/** What this process is allowed to do. */
import { scratch } from "./arena.ts"
import { readText } from "./file.ts"

/** Whether CAP_NET_ADMIN is in the effective set: needed to create a tun, and for addresses, routes and the firewall. */
export function hasNetAdmin(): boolean {
  return (effectiveCapabilities(readText("/proc/self/status", status)) & CAP_NET_ADMIN) !== 0n
}

/** The `CapEff` line of a /proc/PID/status file; 0 when there is none. */
export function effectiveCapabilities(status: string): bigint {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  return hex === undefined ? 0n : BigInt(`0x${hex}`)
}

const CAP_NET_ADMIN = 1n << 12n
const status = scratch.allocate(4096)
