/** Which work the kernel is asked to take over in large pieces, and what became of each. */
import type { Event } from "./commands.ts"

/**
 * tso, uso: packets to and from the tun are TCP (UDP) data of up to 64 KiB, cut and put together here.
 * udp-segment, udp-gro: datagrams to and from the network go through the socket many at a time.
 */
export const offloadNames = ["tso", "uso", "udp-segment", "udp-gro"] as const
export type OffloadName = (typeof offloadNames)[number]

export class Offloads {
  private readonly disabled: ReadonlySet<OffloadName>
  private readonly emit: (event: Event) => void
  private readonly reported = new Map<OffloadName, string>()

  constructor(disabled: ReadonlyArray<OffloadName>, emit: (event: Event) => void) {
    this.disabled = new Set(disabled)
    this.emit = emit
  }

  /** Whether `name` is to be tried at all. */
  isWanted(name: OffloadName): boolean {
    return !this.disabled.has(name)
  }

  /** Tells what became of an attempt: on, or off for a reason. Said once, and again only when it changes. */
  report(name: OffloadName, isOn: boolean, reason: string): void {
    const said = isOn ? "on" : this.isWanted(name) ? reason : "switched off by the settings"
    if (this.reported.get(name) === said) return
    this.reported.set(name, said)
    this.emit({ type: "offload", name, isOn, reason: isOn ? "" : said })
  }
}
