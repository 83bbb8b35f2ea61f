/** Asks main.go, Kubernetes' own admission code, about pods. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

export const source = join(import.meta.dir, "main.go")

/** The program that was built from this source. */
export const place = `/var/cache/culvert/admission-${createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 12)}`

/** Undefined when it was not built here: `npm run admission` builds it. */
export const findProgram = (): string | undefined => (existsSync(place) ? place : undefined)

export interface Cluster {
  /** What was applied, as `kubectl` would send it. */
  readonly objects: ReadonlyArray<object>
  /** Addresses of webhooks, by the name of their Service. */
  readonly services?: Readonly<Record<string, string>>
}

export interface Admitted<Pod> {
  /** The pod that would be stored; undefined when it was refused. */
  readonly pod?: Pod
  readonly refused?: string
  readonly warnings?: ReadonlyArray<string>
}

/** Creates the pods one after the other. */
export async function create<Pod extends object>(
  cluster: Cluster,
  pods: ReadonlyArray<Pod>,
): Promise<ReadonlyArray<Admitted<Pod>>> {
  const child = Bun.spawn([place], {
    stdin: new TextEncoder().encode(JSON.stringify({ services: {}, ...cluster, pods })),
    stdout: "pipe",
    stderr: "pipe",
  })
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  if ((await child.exited) !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}
