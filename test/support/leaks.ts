/**
 * A capture on the outside of the client's namespace: what comes out of it that is neither the tunnel's encrypted packets nor the
 * link's own address resolution.
 */
import { type Child, eventually } from "./child.ts"
import { type Lab, outer } from "./lab.ts"

export class Leaks implements AsyncDisposable {
  readonly #capture: Child

  private constructor(capture: Child) {
    this.#capture = capture
  }

  /** On the link outside of the client: at the node of a pod, else at the server. `allowed`: a tcpdump filter of what else may come. */
  static async watch(lab: Lab, vpnPorts: ReadonlyArray<number> = [1194], allowed?: string): Promise<Leaks> {
    const vpn = vpnPorts.map((port) => `port ${port}`).join(" or ")
    // Types 133 to 136: router and neighbour discovery.
    const filter = [
      "not arp",
      "not (icmp6 and ip6[40] >= 133 and ip6[40] <= 136)",
      `not ((host ${outer.server.ipv4} or host ${outer.server.ipv6}) and (${vpn}))`,
      ...(allowed === undefined ? [] : [`not (${allowed})`]),
    ].join(" and ")
    const [namespace, device] = lab.isPod ? [lab.node, "pod"] : [lab.server, "outer"]
    const command = ["tcpdump", "-i", device, "-Q", "in", "-n", "-l", "--immediate-mode", "-B", "16384", filter]
    const capture = namespace.start("tcpdump", command)
    await capture.line(/listening on/)
    return new Leaks(capture)
  }

  /** A place in the capture. Packets on their way are waited for by sending one that has to arrive. */
  get position(): number {
    return this.#capture.lines.length
  }

  /** The packets since `position`, one a line. */
  since(position: number): ReadonlyArray<string> {
    return this.#capture.lines.slice(position).filter((line) => /^\d\d:\d\d:\d\d\./.test(line))
  }

  /** Waits until a packet that matches came out: that the capture sees what it is looking for. */
  async sees(matches: RegExp, since = 0): Promise<void> {
    await eventually(10_000, `a packet ${matches}`, () => this.since(since).some((line) => matches.test(line)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#capture.stop("SIGINT")
  }
}
