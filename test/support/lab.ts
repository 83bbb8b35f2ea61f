/**
 * A laboratory: two network namespaces, "client" and "server", joined by one veth pair, and a directory with certificates.
 *
 *   client  outer 10.90.0.2/24  fd90::2/64  ── veth ──  outer 10.90.0.1/24  fd90::1/64  server
 *
 * With `pod: true` a third namespace stands between them as a Kubernetes node does; the client is a pod with a single address:
 *
 *   client  10.244.1.5/32  fd24::5/128 ── veth ── 169.254.1.1  fd24::1  node  10.90.0.2  fd90::2 ── veth ── 10.90.0.1 ...  server
 *
 * The client has no default route: an address of the tunnel answers through the tunnel or not at all.
 * Names (`server.culvert.test`, `v4.culvert.test`, `v6.culvert.test`) come from a hosts file that only the namespaces see.
 *
 * Everything carries the process id of its owner in its name, is removed when the lab is disposed of and when the process
 * ends or is interrupted; `sweep` removes what a killed process left behind.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Child, type ChildOptions, eventually, type Finished, finish, succeed } from "./child.ts"
import { makePki, type Pki } from "./pki.ts"

export const outer = {
  server: { ipv4: "10.90.0.1", ipv6: "fd90::1" },
  client: { ipv4: "10.90.0.2", ipv6: "fd90::2" },
  hosts: { any: "server.culvert.test", ipv4: "v4.culvert.test", ipv6: "v6.culvert.test" },
} as const

/** Of a lab with `pod: true`; the device of the node that leads to the pod is called "pod". */
export const pod = {
  address: { ipv4: "10.244.1.5", ipv6: "fd24::5" },
  gateway: { ipv4: "169.254.1.1", ipv6: "fd24::1" },
} as const

/** How a network plugin attaches a pod. */
export interface PodShape {
  readonly ipv4?: PodAddress
  readonly ipv6?: PodAddress
  /** MTU of the pod's device, that of the outer link unless said. */
  readonly mtu?: number
}

export interface PodAddress {
  readonly address: string
  /** 32 and 128: the gateway lies in no network of the pod. */
  readonly prefix: number
  readonly gateway: string
  /** MTU of the default route alone. */
  readonly routeMtu?: number
}

export const podShapes = {
  /** Dual-stack; a gateway that is the same for every pod. */
  calico: {
    ipv4: { address: pod.address.ipv4, prefix: 32, gateway: pod.gateway.ipv4 },
    ipv6: { address: pod.address.ipv6, prefix: 128, gateway: pod.gateway.ipv6 },
  },
  /** The overlay's size is said by the route, not by the device. */
  cilium: { ipv4: { address: "10.0.1.77", prefix: 32, gateway: "10.0.1.100", routeMtu: 1440 } },
  /** An overlay (flannel): a network of the node's pods, with the node as bridge. */
  bridge: { ipv4: { address: "10.244.3.5", prefix: 24, gateway: "10.244.3.1" }, mtu: 1450 },
  /** A cluster without IPv4; a link-local gateway. */
  ipv6: { ipv6: { address: "fd24::5", prefix: 64, gateway: "fe80::1" } },
} as const satisfies Readonly<Record<string, PodShape>>

export interface LabOptions {
  /** The client is a pod behind a node; true: as Calico makes it. */
  readonly pod?: boolean | PodShape
  /** Gives the client a default route to the server's outer address, as a pod has one. */
  readonly defaultRoute?: boolean
  /** MTU of the outer link, 1500 unless said. */
  readonly mtu?: number
}

export class Lab implements AsyncDisposable {
  readonly directory: string
  readonly client: Namespace
  readonly server: Namespace
  readonly pki: Pki
  readonly #node: Namespace | undefined

  private constructor(directory: string, client: Namespace, server: Namespace, node: Namespace | undefined, pki: Pki) {
    this.directory = directory
    this.client = client
    this.server = server
    this.#node = node
    this.pki = pki
  }

  get isPod(): boolean {
    return this.#node !== undefined
  }

  /** Only with `pod: true`. */
  get node(): Namespace {
    if (this.#node === undefined) throw new Error("this lab has no node")
    return this.#node
  }

  static async make(options: LabOptions = {}): Promise<Lab> {
    removeWhenTheProcessEnds()
    counter += 1
    const directory = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
    // Clients without privileges read their configuration here.
    chmodSync(directory, 0o755)
    const client = new Namespace(`${prefix}${process.pid}-c${counter}`)
    const server = new Namespace(`${prefix}${process.pid}-s${counter}`)
    const node =
      options.pod !== undefined && options.pod !== false
        ? new Namespace(`${prefix}${process.pid}-n${counter}`)
        : undefined
    const namespaces = [client, server, ...(node === undefined ? [] : [node])]
    remains.add({ directory, namespaces: namespaces.map(({ name }) => name) })
    try {
      const connected =
        node === undefined ? connect(client, server, options) : connectPod(client, node, server, options)
      const [pki] = await Promise.all([makePki(join(directory, "pki")), connected])
      return new Lab(directory, client, server, node, pki)
    } catch (error) {
      removeLab(directory)
      throw error
    }
  }

  /** Writes a file below the lab's directory and returns its path. */
  write(name: string, text: string, mode = 0o644): string {
    const file = join(this.directory, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text, { mode })
    return file
  }

  async [Symbol.asyncDispose](): Promise<void> {
    removeLab(this.directory)
  }
}

export class Namespace {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  /** The command that runs `command` here. It has a mount namespace of its own. */
  inside(command: ReadonlyArray<string>): ReadonlyArray<string> {
    return ["ip", "netns", "exec", this.name, ...command]
  }

  finish(command: ReadonlyArray<string>, options?: ChildOptions): Promise<Finished> {
    return finish(this.inside(command), options)
  }

  succeed(command: ReadonlyArray<string>, options?: ChildOptions): Promise<string> {
    return succeed(this.inside(command), options)
  }

  start(name: string, command: ReadonlyArray<string>, options?: ChildOptions & { readonly input?: boolean }): Child {
    return new Child(name, this.inside(command), options)
  }
}

/**
 * What the host looks like from a namespace, as text: equal texts before and after mean that everything was undone. Without
 * Culvert's kill switch, which stays on purpose.
 */
export async function networkState(namespace: Namespace): Promise<string> {
  const parts = [
    ["ip", "-o", "address", "show"],
    ["ip", "route", "show", "table", "all"],
    ["ip", "-6", "route", "show", "table", "all"],
    ["ip", "rule", "show"],
    ["ip", "-6", "rule", "show"],
    ["nft", "list", "ruleset"],
  ]
  // The kernel takes an IPv6 address into use, with a route of its own, a moment after it has it.
  const tentative = ["ip", "-6", "-o", "address", "show", "tentative"]
  await eventually(10_000, "IPv6 addresses in use", async () => (await namespace.succeed(tentative)) === "")
  const texts = await Promise.all(parts.map((command) => namespace.succeed(command)))
  const [ruleset = ""] = texts.splice(-1)
  texts.push(ruleset.replace(/^table inet culvert \{\n[\s\S]*?^\}\n/gm, ""))
  return texts.join("---\n").replace(/ (expires|valid_lft|preferred_lft) \S+/g, "")
}

/** Removes namespaces and directories of labs whose owner is dead; returns their names. Those of the living stay. */
export function sweep(): ReadonlyArray<string> {
  const removed: Array<string> = []
  for (const name of [...entries("/run/netns"), ...entries("/etc/netns")]) {
    if (!ownerIsDead(name)) continue
    removeNamespace(name)
    removed.push(name)
  }
  for (const name of entries(tmpdir())) {
    if (!ownerIsDead(name)) continue
    rmSync(join(tmpdir(), name), { recursive: true, force: true })
    removed.push(name)
  }
  return [...new Set(removed)]
}

async function add(name: string, hosts: string): Promise<void> {
  mkdirSync(join("/etc/netns", name), { recursive: true })
  writeFileSync(join("/etc/netns", name, "hosts"), hosts)
  writeFileSync(join("/etc/netns", name, "resolv.conf"), "")
  await succeed(["ip", "netns", "add", name])
}

/** A pod and a node that routes. */
async function connectPod(pod: Namespace, node: Namespace, server: Namespace, options: LabOptions): Promise<void> {
  for (const { name } of [pod, node, server]) await add(name, localhost)
  const shape: PodShape = typeof options.pod === "object" ? options.pod : podShapes.calico
  const addresses = [shape.ipv4, shape.ipv6].filter((address) => address !== undefined)
  const mtu = options.mtu ?? 1500
  const link = async (from: [Namespace, string], to: [Namespace, string], mtu: number) => {
    const near = ["link", "add", from[1], "mtu", String(mtu), "netns", from[0].name, "type", "veth"]
    await succeed(["ip", ...near, "peer", "name", to[1], "mtu", String(mtu), "netns", to[0].name])
  }
  await link([pod, "eth0"], [node, "pod"], shape.mtu ?? mtu)
  await link([node, "wan"], [server, "outer"], mtu)
  const up = (device: string) => [`link set ${device} addrgenmode none`, `link set ${device} up`]
  const nodad = (address: string) => (address.includes(":") ? " nodad" : "")
  const ip = (address: string) => (address.includes(":") ? "-6 " : "")
  const single = (address: string) => (address.includes(":") ? 128 : 32)
  await ipCommands(node.name, [
    "link set lo up",
    ...["pod", "wan"].flatMap(up),
    // Who forwards asks for its neighbours from a link-local address.
    ...["pod", "wan"].map((device) => `address add fe80::1/64 dev ${device} nodad`),
    ...addresses
      .filter(({ gateway }) => gateway !== "fe80::1")
      .map(({ gateway, prefix }) => `address add ${gateway}/${prefix} dev pod${nodad(gateway)}`),
    ...addresses.map(({ address }) => `${ip(address)}route add ${address}/${single(address)} dev pod`),
    ...["address add 10.90.0.2/24 dev wan", "address add fd90::2/64 dev wan nodad"],
    `route add default via ${outer.server.ipv4}`,
    `-6 route add default via ${outer.server.ipv6}`,
  ])
  await ipCommands(pod.name, [
    "link set lo up",
    ...up("eth0"),
    ...addresses.map(({ address, prefix }) => `address add ${address}/${prefix} dev eth0${nodad(address)}`),
    ...addresses.flatMap(({ address, prefix, gateway, routeMtu }) => [
      ...(prefix === single(address) ? [`${ip(address)}route add ${gateway} dev eth0`] : []),
      `${ip(address)}route add default via ${gateway} dev eth0${routeMtu === undefined ? "" : ` mtu ${routeMtu}`}`,
    ]),
  ])
  await ipCommands(server.name, [
    "link set lo up",
    ...up("outer"),
    ...["address add 10.90.0.1/24 dev outer", "address add fd90::1/64 dev outer nodad"],
    ...addresses.map(
      ({ address }) =>
        `${ip(address)}route add ${address}/${single(address)} via ${address.includes(":") ? "fd90::2" : "10.90.0.2"}`,
    ),
  ])
  // As distributions have it, and containers cannot change it: an answer has to leave by the way on which the question came.
  await pod.succeed([
    "sh",
    "-c",
    "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/default/rp_filter",
  ])
  await node.succeed([
    "sh",
    "-c",
    "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
  ])
}

async function connect(client: Namespace, server: Namespace, options: LabOptions): Promise<void> {
  for (const { name } of [client, server]) await add(name, hosts)
  const mtu = String(options.mtu ?? 1500)
  const clientLink = ["link", "add", "outer", "mtu", mtu, "netns", client.name, "type", "veth"]
  await succeed(["ip", ...clientLink, "peer", "name", "outer", "mtu", mtu, "netns", server.name])
  for (const side of ["client", "server"] as const) {
    const { name } = side === "client" ? client : server
    const address = outer[side]
    await ipCommands(name, [
      "link set lo up",
      // No link-local address: it would turn from tentative to valid in the middle of a test.
      "link set outer addrgenmode none",
      "link set outer up",
      `address add ${address.ipv4}/24 dev outer`,
      `address add ${address.ipv6}/64 dev outer nodad`,
      ...(side === "client" && options.defaultRoute === true
        ? [`route add default via ${outer.server.ipv4}`, `-6 route add default via ${outer.server.ipv6}`]
        : []),
    ])
  }
}

async function ipCommands(namespace: string, commands: ReadonlyArray<string>): Promise<void> {
  for (const command of commands) await succeed(["ip", "-n", namespace, ...command.split(" ")])
}

function removeLab(directory: string): void {
  for (const remain of remains) {
    if (remain.directory !== directory) continue
    remain.namespaces.forEach(removeNamespace)
    rmSync(directory, { recursive: true, force: true })
    remains.delete(remain)
  }
}

/** Synchronous, because it also has to work while the process exits. */
function removeNamespace(name: string): void {
  if (existsSync(join("/run/netns", name))) {
    const pids = Bun.spawnSync(["ip", "netns", "pids", name]).stdout.toString().split(/\s+/).filter(Boolean)
    for (const pid of pids) {
      try {
        process.kill(Number(pid), "SIGKILL")
      } catch {
        // It ended between the listing and the signal.
      }
    }
    Bun.spawnSync(["ip", "netns", "delete", name])
  }
  rmSync(join("/etc/netns", name), { recursive: true, force: true })
}

function removeWhenTheProcessEnds(): void {
  if (counter > 0) return
  process.on("exit", () => {
    for (const { directory } of remains) removeLab(directory)
  })
  for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
    process.on(signal, () => process.exit(128 + number))
  }
}

function ownerIsDead(name: string): boolean {
  const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1]
  return owner !== undefined && !existsSync(`/proc/${owner}`)
}

function entries(directory: string): ReadonlyArray<string> {
  return existsSync(directory) ? readdirSync(directory) : []
}

let counter = 0
const remains = new Set<{ readonly directory: string; readonly namespaces: ReadonlyArray<string> }>()
/** Short, because a namespace name is also a file name that people read in `ip netns`. */
const prefix = "cv"

const localhost = `127.0.0.1 localhost
::1 localhost
`
const hosts = `${localhost}${outer.server.ipv4} ${outer.hosts.ipv4} ${outer.hosts.any}
${outer.server.ipv6} ${outer.hosts.ipv6} ${outer.hosts.any}
`
