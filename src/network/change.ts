/** Lines as `ip` takes them, each with the one that takes it back. Pure. */

/** `undo` undefined: nothing to take back. */
export interface Change {
  readonly apply: string
  readonly undo: string | undefined
  /** IPv6 may be switched off in a pod: such a change fails with a warning, the connection goes on. */
  readonly family: "ipv4" | "ipv6"
}

/** How the host reaches something outside the tunnel. */
export interface NextHop {
  readonly device: string
  readonly gateway: string | undefined
  /** Bytes, where the route says them: an overlay may carry less than its device (Cilium). */
  readonly mtu?: number
}

export interface RouteLine {
  readonly target: string
  readonly hop: NextHop
  readonly metric?: number | undefined
  /** Undefined: the main table. */
  readonly table?: number
  /** What new connections take for their source; undefined: the device's first address. */
  readonly source?: string | undefined
}

/** Our mark on routes (`proto`), our tables and the preference of our rules: by these a restart finds its leftovers. */
export const ours = { protocol: 149, table: 4911, preference: 4911, formerTable: 4912, formerMetric: 4912 } as const

export const isIpv6 = (address: string): boolean => address.includes(":")

const familyOf = (address: string): Change["family"] => (isIpv6(address) ? "ipv6" : "ipv4")

export const routeChange = ({ target, hop, metric, table, source }: RouteLine): Change => {
  const where = `${target}${hop.gateway === undefined ? "" : ` via ${hop.gateway}`} dev ${hop.device}`
  // The gateway of a pod with a /32 address lies in no network that the pod knows.
  const onlink = hop.gateway !== undefined && table !== undefined ? " onlink" : ""
  const rest = `${table === undefined ? "" : ` table ${table}`}${metric === undefined ? "" : ` metric ${metric}`}`
  const mtu = hop.mtu === undefined ? "" : ` mtu ${hop.mtu}`
  return {
    apply: `route replace ${where}${onlink} proto ${ours.protocol}${rest}${source === undefined ? "" : ` src ${source}`}${mtu}`,
    undo: `route del ${where} proto ${ours.protocol}${rest}`,
    family: familyOf(target),
  }
}

export const linkChange = (device: string, mtu: number): Change => ({
  apply: `link set dev ${device} mtu ${mtu} up`,
  undo: undefined,
  family: "ipv4",
})

export const hostRoute = (address: string, hop: NextHop): Change =>
  routeChange({ target: `${address}/${isIpv6(address) ? 128 : 32}`, hop })

/** Who sends from this address looks into a table of ours. A rule cannot be replaced, so leftovers are removed before. */
export const ruleChange = (address: string, table: number): Change => {
  const rule = `from ${address} lookup ${table} pref ${ours.preference}`
  return { apply: `rule add ${rule}`, undo: `rule del ${rule}`, family: familyOf(address) }
}

/** What a predecessor that was killed may have left; each line may fail. */
export const leftovers: ReadonlyArray<string> = [
  `route flush table all proto ${ours.protocol}`,
  ...Array.from({ length: 16 }, () => `rule del pref ${ours.preference}`),
]
