/**
 * The life of a pod as kubelet leads it, without a cluster: the sidecar first, the application when the sidecar has started, both
 * probed from the node, and stopped in reverse.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { type Lab, pod } from "../support/lab.ts"
import { Container } from "./container.ts"
import type { Image } from "./image.ts"

export const names = { vpn: "vpn.example", service: "shop.corp.example" } as const
export const resolvers = { cluster: "10.96.0.10", vpn: "10.53.0.1" } as const

/** Addresses for resolvers, and the resolv.conf that kubelet writes. */
export async function preparePod(lab: Lab): Promise<void> {
  await lab.node.succeed(["ip", "address", "add", `${resolvers.cluster}/32`, "dev", "lo"])
  await lab.server.succeed(["ip", "address", "add", `${resolvers.vpn}/32`, "dev", "lo"])
  const lines = [`nameserver ${resolvers.cluster}`, "search default.svc.cluster.local cluster.local", "options ndots:5"]
  writeFileSync(join(lab.directory, "resolv.conf"), `${lines.join("\n")}\n`)
}

/** A container of the pod: one network, one resolv.conf, nothing else in common. */
export const startContainer = (
  lab: Lab,
  image: Image,
  name: string,
  command: ReadonlyArray<string>,
  files: Readonly<Record<string, string>>,
  sidecar: boolean,
): Container =>
  Container.start(lab, name, {
    root: image.root,
    command,
    network: lab.client,
    capabilities: sidecar ? ["CAP_NET_ADMIN"] : [],
    tun: sidecar ? "device" : "none",
    environment: sidecar ? {} : { BUN_BE_BUN: "1" },
    files: { "/etc/resolv.conf": join(lab.directory, "resolv.conf"), ...files },
  })

/** The HTTP status that the node's kubelet sees; 0 when nobody answers. */
export const probe = async (lab: Lab, port: number, path: string): Promise<number> => {
  const url = `http://${pod.address.ipv4}:${port}${path}`
  const curl = ["curl", "--silent", "--max-time", "2", "-o", "/dev/null", "-w", "%{http_code}", url]
  return Number((await lab.node.finish(curl)).stdout)
}

export const becomes = (lab: Lab, port: number, path: string, status: number): Promise<true> =>
  eventually(20_000, `port ${port} ${path} answers the node with ${status}`, async () =>
    (await probe(lab, port, path)) === status ? true : undefined,
  )

/**
 * What may come out of the pod beside the tunnel: answers to the node's probes, lookups of the cluster's names, and the kernel's own
 * word about multicast when the link comes up.
 */
export const allowed = [
  `(tcp and (src port 4911 or src port 8081) and dst host ${pod.gateway.ipv4})`,
  `(host ${resolvers.cluster} and port 53)`,
  "dst host ff02::16",
].join(" or ")
