/** Debian's dnsmasq as a resolver: the cluster's on a node, or the VPN's behind the tunnel. */
import type { Child } from "./child.ts"
import type { Lab, Namespace } from "./lab.ts"

export class Resolver implements AsyncDisposable {
  readonly #child: Child

  private constructor(child: Child) {
    this.#child = child
  }

  /** `names`: addresses of whole domains; every other name does not exist. */
  static async start(
    lab: Lab,
    namespace: Namespace,
    listen: ReadonlyArray<string>,
    names: Readonly<Record<string, string>>,
  ): Promise<Resolver> {
    const command = [
      "dnsmasq",
      ...["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces"],
      ...["--user=root", "--pid-file=", "--log-queries", "--log-facility=-", "--local-ttl=60", "--conf-file=/dev/null"],
      ...listen.map((address) => `--listen-address=${address}`),
      ...Object.entries(names).map(([name, address]) => `--address=/${name}/${address}`),
      // A long answer, for the way over TCP.
      ...Array.from({ length: 100 }, (_, index) => `--host-record=long.${Object.keys(names)[0]},192.0.2.${index + 1}`),
      "--address=/#/",
    ]
    const child = namespace.start("dnsmasq", command, { cwd: lab.directory })
    await child.line(/started, version/)
    return new Resolver(child)
  }

  /** Who asked for `name`, in order; an address may be there several times. */
  askedFor(name: string): ReadonlyArray<string> {
    return this.#child.lines.flatMap((line) => {
      const match = /query\[\w+\] (\S+) from (\S+)/.exec(line)
      return match?.[1] === name ? [match[2]!] : []
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop("SIGKILL")
  }
}
