/**
 * What stands around a pod in Kubernetes: an application in it that answers over TCP and UDP, kubelet and other pods at the node, a
 * Service that is the pod by DNAT, the cluster's resolver, the API server; and behind the VPN the Internet and its own resolver.
 */
import { writeFileSync } from "node:fs"
import { internet, startInternet } from "./application.ts"
import type { Child } from "./child.ts"
import { bun } from "./culvert.ts"
import { Resolver } from "./dnsmasq.ts"
import { type Lab, type Namespace, outer, type PodShape } from "./lab.ts"

type Family = "ipv4" | "ipv6"

/** The addresses of the cluster, by family. */
export const clusterAddresses = {
  ipv4: { dns: "10.96.0.10", service: "10.96.0.80", api: "10.96.0.1", otherPod: "10.244.2.9" },
  ipv6: { dns: "fd96::a", service: "fd96::80", api: "fd96::1", otherPod: "fd24:0:0:2::9" },
} as const
/** Of pods, without the Services: `CULVERT_BYPASS`. */
export const podNetworks = { ipv4: "10.244.0.0/16", ipv6: "fd24::/48" } as const
/** The resolver behind the tunnel. */
export const vpnDns = "10.53.0.1"
/** A name that only it knows, for `internet`. */
export const vpnName = "intranet.example"
/** Of the server, as the cluster's resolver knows it. */
export const serverName = "vpn.example"

export class Cluster implements AsyncDisposable {
  readonly families: ReadonlyArray<Family>
  readonly #lab: Lab
  readonly #shape: PodShape
  readonly #children: Array<Child> = []
  readonly #resolvers: Array<Resolver> = []

  private constructor(lab: Lab, shape: PodShape) {
    this.#lab = lab
    this.#shape = shape
    this.families = (["ipv4", "ipv6"] as const).filter((family) => shape[family] !== undefined)
  }

  static async start(lab: Lab, shape: PodShape): Promise<Cluster> {
    const cluster = new Cluster(lab, shape)
    await cluster.#start()
    return cluster
  }

  /** Kubelet's variables for the sidecar. */
  get environment(): Readonly<Record<string, string>> {
    return {
      KUBERNETES_SERVICE_HOST: clusterAddresses[this.#first].api,
      KUBERNETES_SERVICE_PORT: "6443",
      CULVERT_BYPASS: this.families.map((family) => podNetworks[family]).join(","),
    }
  }

  /** A tcpdump filter: what may come out of the pod besides the tunnel. Answers of application and sidecar, API server, forwarder. */
  get allowed(): string {
    return [
      "(src port 8080 or src port 4911)",
      ...this.families.flatMap((family) => [
        `(dst host ${clusterAddresses[family].api} and dst port 6443)`,
        `(dst host ${clusterAddresses[family].dns} and src portrange 29110-29173)`,
      ]),
    ].join(" or ")
  }

  /** What Kubernetes needs of the pod that does not hold now, tunnel or not; empty when all is well. */
  async complaints(): Promise<ReadonlyArray<string>> {
    const { client, node, server } = this.#lab
    const complaints: Array<string> = []
    const expect = async (what: string, got: Promise<string | undefined>, expected: string) => {
      const value = await got
      if (value !== expected) complaints.push(`${what}: ${value} instead of ${expected}`)
    }
    for (const family of this.families) {
      const { service, otherPod, api } = clusterAddresses[family]
      const own = this.#shape[family]!.address
      const [probe, served] = [`http://${host(own)}:8080/`, `http://${host(service)}/`]
      const from = (address: string) => ["--interface", address]
      // kubelet, by whatever address of the node; far away; another pod; through a Service.
      await expect(
        `${family} probe`,
        fetched(node, probe, ...from(outer.client[family])),
        `hello ${outer.client[family]}`,
      )
      await expect(`${family} other pod`, fetched(node, probe, ...from(otherPod)), `hello ${otherPod}`)
      await expect(`${family} from afar`, fetched(server, probe), `hello ${outer.server[family]}`)
      await expect(`${family} Service`, fetched(server, served), `hello ${outer.server[family]}`)
      await expect(`${family} livez`, fetched(node, `http://${host(own)}:4911/livez`), "ok\n")
      // A server that listens on every address, for a pod of another node.
      await expect(`${family} UDP`, datagram(node, otherPod, own, 8080), `hello ${otherPod}`)
      await expect(`${family} UDP Service`, datagram(node, otherPod, service, 80), `hello ${otherPod}`)
      if (family === this.#first) await expect("API", fetched(client, `http://${host(api)}:6443/`), "ok")
    }
    await expect("cluster name", this.address("web"), clusterAddresses[this.#first].service)
    return complaints
  }

  /** The same without the sidecar, which is gone: what comes from outside is answered. */
  async complaintsAlone(): Promise<ReadonlyArray<string>> {
    const probes = this.families.map(async (family) => {
      const got = await fetched(this.#lab.node, `http://${host(this.#shape[family]!.address)}:8080/`)
      return got.startsWith("hello") ? [] : [`${family} probe: ${got}`]
    })
    return (await Promise.all(probes)).flat()
  }

  /** The first address of a name, as the application finds it; "" when there is none. */
  async address(name: string): Promise<string> {
    const { stdout } = await this.#lab.client.finish(["getent", "ahosts", name])
    return stdout.split(/\s/)[0]!
  }

  /** What the Internet says to the application over IPv4 and IPv6: "hello" through the tunnel, "" when there is no way. */
  async internet(): Promise<ReadonlyArray<string>> {
    const urls = [internet.ipv4, internet.ipv6].map((address) => `http://${host(address)}:8180/`)
    const said = await Promise.all(urls.map((url) => fetched(this.#lab.client, url, "--http0.9", "--max-time", "1")))
    return said.map((text) => text.trim())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resolver of this.#resolvers) await resolver[Symbol.asyncDispose]()
    for (const child of this.#children) await child.stop("SIGKILL")
  }

  /** The one for resolv.conf and the API server. */
  get #first(): Family {
    return this.families[0]!
  }

  async #start(): Promise<void> {
    const { client, node, server } = this.#lab
    const add = (namespace: Namespace, address: string) =>
      namespace.succeed(["ip", "address", "add", `${address}/${address.includes(":") ? 128 : 32}`, "dev", "lo"])
    for (const family of this.families)
      for (const address of Object.values(clusterAddresses[family])) await add(node, address)
    await add(server, vpnDns)
    await server.succeed(["ip", "route", "replace", "10.96.0.0/12", "via", outer.client.ipv4])
    await server.succeed(["ip", "-6", "route", "replace", "fd96::/112", "via", outer.client.ipv6])
    await node.succeed(["nft", "-f", this.#lab.write("service.nft", this.#services())])
    const { dns, service } = clusterAddresses[this.#first]
    writeFileSync(
      `/etc/netns/${client.name}/resolv.conf`,
      `nameserver ${dns}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`,
    )
    this.#resolvers.push(
      await Resolver.start(this.#lab, node, [dns], {
        "web.default.svc.cluster.local": service,
        [serverName]: outer.server[this.#first],
      }),
      await Resolver.start(this.#lab, server, [vpnDns], { [vpnName]: internet.ipv4 }),
    )
    this.#children.push(await startInternet(server))
    const start = async (namespace: Namespace, name: string, script: string) => {
      const child = namespace.start(name, [bun, "-e", script])
      await child.line(/listening/)
      this.#children.push(child)
    }
    await start(client, "application", application)
    const { api } = clusterAddresses[this.#first]
    await start(
      node,
      "api server",
      `Bun.serve({ hostname: "${api}", port: 6443, fetch: () => new Response("ok") }); console.log("listening")`,
    )
  }

  /** kube-proxy's part: the Service's address becomes the pod's, whoever asks. */
  #services(): string {
    return this.families
      .map((family) => {
        const ip = family === "ipv4" ? "ip" : "ip6"
        const rules = ["tcp", "udp"].map(
          (protocol) =>
            `${ip} daddr ${clusterAddresses[family].service} ${protocol} dport 80 dnat to ${host(this.#shape[family]!.address)}:8080;`,
        )
        return ["prerouting", "output"]
          .map(
            (hook) =>
              `table ${ip} service { chain ${hook} { type nat hook ${hook} priority -100; ${rules.join(" ")} }; }\n`,
          )
          .join("")
      })
      .join("")
  }
}

/** TCP and UDP on port 8080 of every address; each answer names the asker. */
const application = `
  const dgram = require("node:dgram")
  const bare = (address) => address.replace("::ffff:", "")
  Bun.serve({ hostname: "::", port: 8080, fetch: (request, self) => new Response("hello " + bare(self.requestIP(request).address)) })
  for (const [type, any] of [["udp4", "0.0.0.0"], ["udp6", "::"]]) {
    const socket = dgram.createSocket({ type, ipv6Only: type === "udp6" })
    socket.on("message", (data, from) => socket.send("hello " + from.address, from.port, from.address))
    socket.bind(8080, any)
  }
  console.log("listening")`

const fetched = async (from: Namespace, url: string, ...rest: ReadonlyArray<string>) =>
  (await from.finish(["curl", "-sg", "--max-time", "2", ...rest, url])).stdout

/** One datagram to the application and its answer; "": none, or one from somebody else. */
const datagram = async (from: Namespace, source: string, to: string, port: number): Promise<string> => {
  const script = `
    const socket = await Bun.udpSocket({ hostname: "${source}", connect: { hostname: "${to}", port: ${port} },
      socket: { data: (_, data) => { console.log(data.toString()); process.exit(0) } } })
    socket.send("hello"); setTimeout(() => process.exit(0), 1500)`
  return (await from.finish([bun, "-e", script])).stdout.trim()
}

const host = (address: string) => (address.includes(":") ? `[${address}]` : address)
