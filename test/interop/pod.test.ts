/**
 * A pod as Kubernetes has it: a single address behind a node, Services by DNAT, a cluster resolver, the VPN beyond. All of the tunnel's
 * traffic, and still everything that comes to the pod is answered; the same after SIGKILL and a restart.
 */
import { afterAll, beforeAll, expect } from "bun:test"
import { writeFileSync } from "node:fs"
import { internet, startInternet } from "../support/application.ts"
import type { Child } from "../support/child.ts"
import { bun, Client } from "../support/culvert.ts"
import { Resolver } from "../support/dnsmasq.ts"
import { type Namespace, outer, pod } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ pod: true })

const cluster = { dns: "10.96.0.10", service: "10.96.0.80", api: "10.96.0.1", otherPod: "10.244.2.9" } as const
const vpnDns = "10.53.0.1"
const options: ServerOptions = {
  push: ["redirect-gateway def1 ipv6", `dhcp-option DNS ${vpnDns}`],
  keepalive: [1, 4],
}
/** TCP and UDP on the application's port, on every address; each answer names the asker. */
const application = `
  Bun.serve({ hostname: "::", port: 8080, fetch: (request, self) => new Response("hello " + self.requestIP(request).address.replace("::ffff:", "")) })
  await Bun.udpSocket({ hostname: "0.0.0.0", port: 8080, socket: { data: (socket, data, port, address) => socket.send("hello " + address, port, address) } })
  console.log("listening")`
const children: Array<Child> = []
const resolvers: Array<Resolver> = []

beforeAll(async () => {
  const { lab } = bench
  for (const address of [cluster.dns, cluster.api, cluster.otherPod])
    await lab.node.succeed(["ip", "address", "add", `${address}/32`, "dev", "lo"])
  await lab.server.succeed(["ip", "address", "add", `${vpnDns}/32`, "dev", "lo"])
  // kube-proxy's part: the Service's address becomes the pod's, whoever asks.
  await lab.node.succeed(["ip", "address", "add", `${cluster.service}/32`, "dev", "lo"])
  await lab.server.succeed(["ip", "route", "add", "10.96.0.0/12", "via", outer.client.ipv4])
  const rules = lab.write(
    "service.nft",
    `table ip service {
      chain prerouting {
        type nat hook prerouting priority -100
        ip daddr ${cluster.service} tcp dport 80 dnat to ${pod.address.ipv4}:8080
      }
      chain output {
        type nat hook output priority -100
        ip daddr ${cluster.service} tcp dport 80 dnat to ${pod.address.ipv4}:8080
      }
    }`,
  )
  await lab.node.succeed(["nft", "-f", rules])
  writeFileSync(
    `/etc/netns/${lab.client.name}/resolv.conf`,
    `nameserver ${cluster.dns}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`,
  )
  resolvers.push(
    await Resolver.start(lab, lab.node, [cluster.dns], {
      "web.default.svc.cluster.local": cluster.service,
      "vpn.example": outer.server.ipv4,
    }),
    await Resolver.start(lab, lab.server, [vpnDns], { "intranet.example": internet.ipv4 }),
  )
  children.push(await startInternet(lab.server))
  const app = lab.client.start("application", [bun, "-e", application])
  await app.line(/listening/)
  const api = lab.node.start("api server", [
    bun,
    "-e",
    `Bun.serve({ hostname: "${cluster.api}", port: 6443, fetch: () => new Response("ok") }); console.log("listening")`,
  ])
  await api.line(/listening/)
  children.push(app, api)
})
afterAll(async () => {
  for (const resolver of resolvers) await resolver[Symbol.asyncDispose]()
  for (const child of children) await child.stop("SIGKILL")
})

const curl = async (from: Namespace, url: string, ...rest: ReadonlyArray<string>) =>
  (await from.finish(["curl", "-sg", "--max-time", "2", ...rest, url])).stdout
/** One datagram to the application and its answer; undefined: none, or one from somebody else. */
const udp = async (from: Namespace, source: string) => {
  const script = `
    const socket = await Bun.udpSocket({ hostname: "${source}", connect: { hostname: "${pod.address.ipv4}", port: 8080 },
      socket: { data: (_, data) => { console.log(data.toString()); process.exit(0) } } })
    socket.send("hello"); setTimeout(() => process.exit(0), 1500)`
  const { stdout } = await from.finish([bun, "-e", script])
  return stdout.trim()
}
const address = async (name: string) =>
  (await bench.lab.client.finish(["getent", "ahostsv4", name])).stdout.split(/\s/)[0]

/** What Kubernetes needs of the pod, tunnel or not. */
async function clusterWorks(): Promise<void> {
  const { node, server, client } = bench.lab
  const url = `http://${pod.address.ipv4}:8080/`
  // kubelet's probe, by whatever address of the node.
  expect(await curl(node, url)).toContain("hello")
  expect(await curl(node, url, "--interface", "10.90.0.2")).toContain("hello 10.90.0.2")
  expect(await curl(node, url, "--interface", cluster.otherPod)).toContain(`hello ${cluster.otherPod}`)
  expect(await curl(node, `http://[${pod.address.ipv6}]:8080/`)).toContain("hello")
  // From far outside of the pod's network, and through a Service.
  expect(await curl(server, url)).toContain(`hello ${outer.server.ipv4}`)
  expect(await curl(server, `http://${cluster.service}/`)).toContain("hello")
  expect(await curl(node, `http://${cluster.service}/`)).toContain("hello")
  // A UDP server that listens on every address, for a pod of another node.
  expect(await udp(node, cluster.otherPod)).toBe(`hello ${cluster.otherPod}`)
  expect(await curl(client, `http://${cluster.api}:6443/`)).toBe("ok")
  expect(await address("web")).toBe(cluster.service)
  // The sidecar's own port for probes.
  expect(await curl(node, `http://${pod.address.ipv4}:4911/livez`)).toContain("ok")
}

testCulvert(
  "probes, Services, UDP, cluster names and API server work beside the tunnel, nothing leaks, twice after SIGKILL",
  async () => {
    const { lab } = bench
    // What may come out besides the tunnel: answers of the application and the sidecar, the API server, the forwarder.
    const allowed = [
      `src port 8080 or src port 4911`,
      `dst host ${cluster.api} and dst port 6443`,
      `dst host ${cluster.dns} and src portrange 29110-29173`,
    ]
    await using leaks = await Leaks.watch(lab, [1194], allowed.map((part) => `(${part})`).join(" or "))
    const start = () =>
      Client.start(lab, clientConfiguration(lab, options, { host: "vpn.example" }), {
        environment: {
          KUBERNETES_SERVICE_HOST: cluster.api,
          KUBERNETES_SERVICE_PORT: "6443",
          CULVERT_BYPASS: "10.244.0.0/16",
        },
      })
    let position: number | undefined
    await using server = await bench.serve(options)
    for (const round of [1, 2]) {
      const client = start()
      try {
        await client.event("kill_switch_on")
        position ??= leaks.position
        await client.ready()
        expect(await address("intranet.example")).toBe(internet.ipv4)
        expect(await curl(lab.client, `http://${internet.ipv4}:8180/`, "--http0.9")).toBe("hello\n")
        expect(await curl(lab.client, `http://[${internet.ipv6}]:8180/`, "--http0.9")).toBe("hello\n")
        await clusterWorks()
        if (round === 1) {
          await server.kill()
          await client.event("disconnected")
          expect(await address("intranet.example")).toBe("")
          expect(await curl(lab.client, `http://${internet.ipv4}:8180/`, "--http0.9")).toBe("")
          await clusterWorks()
          await server.start()
          await client.event("connected", 20_000, 2)
        }
      } finally {
        await client.stop("SIGKILL")
      }
      // The sidecar is gone: outside still answered, nothing out.
      expect(await curl(lab.node, `http://${pod.address.ipv4}:8080/`)).toContain("hello")
      expect(await curl(lab.server, `http://${cluster.service}/`)).toContain("hello")
      expect(await curl(lab.client, `http://${internet.ipv4}:8180/`, "--http0.9")).toBe("")
    }
    expect(leaks.since(position ?? 0)).toEqual([])
  },
  120_000,
)
