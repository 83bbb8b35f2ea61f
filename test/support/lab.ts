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
import { Child, type ChildOptions, type Finished, finish, succeed } from "./child.ts"
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

export interface LabOptions {
  /** The client is a pod behind a node. */
  readonly pod?: boolean
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
    const node = options.pod === true ? new Namespace(`${prefix}${process.pid}-n${counter}`) : undefined
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

/** As Calico does it: a pod with a single address, a gateway that lies in no network, and a node that routes and masquerades. */
async function connectPod(pod: Namespace, node: Namespace, server: Namespace, options: LabOptions): Promise<void> {
  for (const { name } of [pod, node, server]) await add(name, localhost)
  const mtu = String(options.mtu ?? 1500)
  const link = async (from: [Namespace, string], to: [Namespace, string]) => {
    const near = ["link", "add", from[1], "mtu", mtu, "netns", from[0].name, "type", "veth"]
    await succeed(["ip", ...near, "peer", "name", to[1], "mtu", mtu, "netns", to[0].name])
  }
  await link([pod, "eth0"], [node, "pod"])
  await link([node, "wan"], [server, "outer"])
  const up = (device: string) => [`link set ${device} addrgenmode none`, `link set ${device} up`]
  await ipCommands(node.name, [
    "link set lo up",
    ...["pod", "wan"].flatMap(up),
    ...["address add 169.254.1.1/32 dev pod", "address add fd24::1/128 dev pod nodad"],
    ...["route add 10.244.1.5/32 dev pod", "-6 route add fd24::5/128 dev pod"],
    ...["address add 10.90.0.2/24 dev wan", "address add fd90::2/64 dev wan nodad"],
    // Who forwards asks for its neighbours from a link-local address.
    ...["pod", "wan"].map((device) => `address add fe80::1/64 dev ${device} nodad`),
    `route add default via ${outer.server.ipv4}`,
    `-6 route add default via ${outer.server.ipv6}`,
  ])
  await ipCommands(pod.name, [
    "link set lo up",
    ...up("eth0"),
    ...["address add 10.244.1.5/32 dev eth0", "address add fd24::5/128 dev eth0 nodad"],
    ...["route add 169.254.1.1 dev eth0", "-6 route add fd24::1 dev eth0"],
    ...["route add default via 169.254.1.1", "-6 route add default via fd24::1"],
  ])
  await ipCommands(server.name, [
    "link set lo up",
    ...up("outer"),
    ...["address add 10.90.0.1/24 dev outer", "address add fd90::1/64 dev outer nodad"],
    ...["route add 10.244.1.0/24 via 10.90.0.2", "-6 route add fd24::/64 via fd90::2"],
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
