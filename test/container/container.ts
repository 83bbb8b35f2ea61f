/** A container under `runc`, confined as Kubernetes confines a sidecar, in a network namespace of the lab. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Child, eventually, finish, succeed } from "../support/child.ts"
import { type Lab, type Namespace, outer } from "../support/lab.ts"

export interface ContainerOptions {
  /** Of the whole image, read-only. */
  readonly root: string
  readonly command: ReadonlyArray<string>
  /** Its own: the container is in a user namespace, and the lab's link to the server moves into it. */
  readonly network: Namespace | "own"
  readonly capabilities: ReadonlyArray<string>
  /** Root unless said. */
  readonly user?: number
  /** How the container gets /dev/net/tun: as a device plugin gives it, or mounted from this path as by a hostPath volume. */
  readonly tun: "device" | "none" | { readonly mount: string }
  /** File on the machine, by its place in the container. */
  readonly files?: Readonly<Record<string, string>>
  readonly environment?: Readonly<Record<string, string>>
}

export class Container implements AsyncDisposable {
  readonly child: Child
  readonly #id: string

  private constructor(child: Child, id: string) {
    this.child = child
    this.#id = id
  }

  static start(lab: Lab, name: string, options: ContainerOptions): Container {
    serial += 1
    const id = `cv${process.pid}-${name}-${serial}`
    const bundle = join(lab.directory, id)
    mkdirSync(bundle)
    writeFileSync(join(bundle, "config.json"), JSON.stringify(configuration(lab, options)))
    return new Container(new Child(name, ["runc", ...state, "run", "--bundle", bundle, id]), id)
  }

  /** The process id of the container's first process, as the machine sees it. */
  async pid(): Promise<number> {
    return eventually(10_000, `${this.#id} runs`, async () => {
      const { pid, status } = JSON.parse(await succeed(["runc", ...state, "state", this.#id]))
      return status === "running" ? Number(pid) : undefined
    })
  }

  /** Runs a further program in the container, as an exec probe does. */
  exec(command: ReadonlyArray<string>) {
    return finish(["runc", ...state, "exec", this.#id, ...command])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop()
    await finish(["runc", ...state, "delete", "--force", this.#id])
  }
}

/** Read-only, no new privileges, everything masked that container engines mask, only the devices that were given. */
const configuration = (lab: Lab, options: ContainerOptions) => ({
  ociVersion: "1.0.2",
  root: { path: options.root, readonly: true },
  hostname: "pod",
  process: {
    terminal: false,
    user: { uid: options.user ?? 0, gid: options.user ?? 0 },
    args: options.command,
    env: Object.entries({ PATH: "/usr/sbin:/usr/bin", ...options.environment }).map(
      ([name, value]) => `${name}=${value}`,
    ),
    cwd: "/",
    capabilities: {
      bounding: options.capabilities,
      effective: options.capabilities,
      permitted: options.capabilities,
    },
    noNewPrivileges: true,
  },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    ...(typeof options.tun === "object"
      ? [{ destination: tun, source: options.tun.mount, type: "bind", options: ["bind"] }]
      : []),
    ...Object.entries(options.files ?? {}).map(([destination, source]) => ({
      destination,
      source,
      type: "bind",
      options: ["bind", "ro"],
    })),
  ],
  ...(options.network === "own" ? { hooks: { createRuntime: [moveLink(lab)] } } : {}),
  linux: {
    namespaces: [
      ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
      ...(options.network === "own"
        ? [{ type: "user" }, { type: "network" }]
        : [{ type: "network", path: `/run/netns/${options.network.name}` }]),
    ],
    ...(options.network === "own" ? { uidMappings: mappings, gidMappings: mappings } : {}),
    devices: options.tun === "device" ? [{ path: tun, type: "c", major: 10, minor: 200, fileMode: 0o666 }] : [],
    resources: {
      devices: [
        { allow: false, access: "rwm" },
        // What container engines allow by default, whether the container has the device or not.
        ...[{ allow: true, type: "c", major: 10, minor: 200, access: "rwm" }],
      ],
    },
    readonlyPaths: ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"],
    maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
  },
})

/** Gives the new network namespace, of which runc says a process on standard input, the client's end of the lab's link. */
const moveLink = (lab: Lab) => {
  const inside = ["link set lo up", "link set outer up", `address add ${outer.client.ipv4}/24 dev outer`]
  const script = [
    `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')`,
    `ip -n ${lab.client.name} link set outer netns $pid`,
    ...inside.map((line) => `nsenter -t $pid -n ip ${line}`),
  ]
  return { path: "/bin/sh", args: ["sh", "-ec", script.join("\n")], env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }
}

const mappings = [{ containerID: 0, hostID: 200_000, size: 65_536 }]
const tun = "/dev/net/tun"
const state = ["--root", "/run/culvert-runc"]
let serial = 0
