/**
 * The image as users get it: built by `buildah` from the Containerfile, on a Debian 13 that `debootstrap` made. The base stays
 * in /var/cache/culvert for the next run; the image is built anew each time and removed.
 */
import { chmodSync, existsSync, renameSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { finish, succeed } from "../support/child.ts"
import { project } from "../support/culvert.ts"
import { installPackages } from "../support/packages.ts"

/** Installs what is missing; says what cannot be had, or nothing when all is there. */
export async function missingTools(): Promise<string | undefined> {
  const missing = Object.entries(packages).filter(([program]) => Bun.which(program, { PATH: path }) === null)
  if (missing.length === 0) return undefined
  const names = missing.map(([, name]) => name)
  return (await installPackages(...names)) ? undefined : `cannot be installed: ${names.join(", ")}`
}

export class Image implements AsyncDisposable {
  /** The image's files, mounted. Only for reading. */
  readonly root: string
  readonly #tag: string
  readonly #container: string

  private constructor(root: string, tag: string, container: string) {
    this.root = root
    this.#tag = tag
    this.#container = container
  }

  static async build(): Promise<Image> {
    await makeBase()
    const tag = `localhost/culvert-test-${process.pid}`
    await buildah(["build", "--isolation", "chroot", "--build-arg", `BASE=${base}`, "-t", tag, project])
    const container = (await buildah(["from", "--pull-never", tag])).trim()
    const root = (await buildah(["mount", container])).trim()
    // The root of a user namespace is nobody here, and has to get at the files all the same.
    for (let place = dirname(root); place !== cache; place = dirname(place)) chmodSync(place, 0o711)
    return new Image(root, tag, container)
  }

  /** Regular files of the image, with their sizes in bytes. */
  async files(): Promise<ReadonlyArray<{ readonly path: string; readonly size: number }>> {
    const listing = await succeed(["find", this.root, "-xdev", "-type", "f", "-printf", "/%P %s\n"])
    return [...listing.matchAll(/^(.*) (\d+)$/gm)].map(([, path = "", size]) => ({ path, size: Number(size) }))
  }

  /** What the image says about how it is started. */
  async startCommand(): Promise<ReadonlyArray<string>> {
    const { config } = JSON.parse(await buildah(["inspect", "--type", "image", this.#tag])).OCIv1
    return [...config.Entrypoint, ...config.Cmd]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await buildah(["rm", this.#container])
    await buildah(["rmi", "--force", this.#tag])
  }
}

async function makeBase(): Promise<void> {
  const found = await finish(["buildah", ...storage, "inspect", "--type", "image", base])
  if (found.code === 0) return
  const directory = join(cache, "trixie")
  if (!existsSync(directory)) {
    const unfinished = `${directory}.${process.pid}`
    const include = "libssl3t64,openssl-provider-legacy,iproute2,nftables,ca-certificates"
    await succeed(["debootstrap", "--variant=minbase", `--include=${include}`, "trixie", unfinished], {
      deadline: 300_000,
    })
    renameSync(unfinished, directory)
  }
  const container = (await buildah(["from", "scratch"])).trim()
  await buildah(["add", "-q", container, directory, "/"])
  await buildah(["commit", "-q", container, base])
  await buildah(["rm", container])
  rmSync(directory, { recursive: true, force: true })
}

const buildah = (parameters: ReadonlyArray<string>) =>
  succeed(["buildah", ...storage, ...parameters], { deadline: 300_000 })

const cache = "/var/cache/culvert"
const base = "localhost/culvert-test-base"
const storage = ["--root", `${cache}/storage`, "--runroot", "/run/culvert-storage", "--storage-driver", "overlay"]
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
const packages = { buildah: "buildah", runc: "runc", debootstrap: "debootstrap" }
