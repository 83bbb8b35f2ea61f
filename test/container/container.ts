/** A container under `runc`, confined as Kubernetes confines a sidecar, in a network namespace of the lab. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Child, eventually, finish, succeed } from "../support/child.ts"
import type { Lab, Namespace } from "../support/lab.ts"

export interface ContainerOptions {
  /** Of the whole image, read-only. */
  readonly root: string
  readonly command: ReadonlyArray<string>
  readonly network: Namespace
  readonly capabilities: ReadonlyArray<string>
  /** How the container gets /dev/net/tun: as a device plugin gives it, or mounted as by a hostPath volume. */
  readonly tun: "device" | "mount" | "none"
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
    writeFileSync(join(bundle, "config.json"), JSON.stringify(configuration(options)))
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
const configuration = (options: ContainerOptions) => ({
  ociVersion: "1.0.2",
  root: { path: options.root, readonly: true },
  hostname: "pod",
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
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
    ...(options.tun === "mount" ? [{ destination: tun, source: tun, type: "bind", options: ["bind"] }] : []),
    ...Object.entries(options.files ?? {}).map(([destination, source]) => ({
      destination,
      source,
      type: "bind",
      options: ["bind", "ro"],
    })),
  ],
  linux: {
    namespaces: [
      ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
      { type: "network", path: `/run/netns/${options.network.name}` },
    ],
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

const tun = "/dev/net/tun"
const state = ["--root", "/run/culvert-runc"]
let serial = 0
