/** README.md is the front door: what it tells to type works, and what it points at is there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { table as injectorTable } from "../../src/injector/settings.ts"
import { table } from "../../src/sidecar/settings.ts"
import { admitted, type PodObject } from "../injector/cluster.ts"
import { finish, succeed } from "../support/child.ts"
import { bun, project } from "../support/culvert.ts"
import { contextOf, evaluate, type Policy } from "./cel.ts"
import { build, type KubeObject, kubectl, type Loose, parse, read, validate } from "./manifests.ts"

const readme = readFileSync(join(project, "README.md"), "utf8")
const deploy = readme.slice(readme.indexOf("## Deploy it"), readme.indexOf("## Look at it"))
const blocks = (language: string, text: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, block]) => block!)
const commands = blocks("sh", deploy).flatMap((block) => block.split("\n").map((line) => line.replace(/ +#.*/, "")))
const deployments = blocks("yaml", deploy).map((block) => parse(block)[0] as KubeObject & Loose)
const podOf = (deployment: Loose): PodObject => ({ apiVersion: "v1", kind: "Pod", ...deployment.spec.template })

const kubectlProgram = await kubectl()
const policy = read("policy/validating/validating.yaml")[0] as unknown as Policy
const parameters = read("defaults/defaults.yaml")[0] as unknown as Loose
/** The sidecar as the cluster of `k8s/defaults` gives it. */
const ofCluster = {
  image: parameters.data.image,
  environment: { CULVERT_BYPASS: parameters.data.clusterNetworks },
  resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "256Mi" } },
}

describe("the three ways to deploy", () => {
  const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
  const made: Array<KubeObject & Loose> = []
  beforeAll(async () => {
    writeFileSync(
      join(directory, "client.ovpn"),
      read("examples/config.yaml").map((o) => (o as Loose).data)[0]["client.ovpn"],
    )
    writeFileSync(join(directory, "password"), "change-me")
    if (kubectlProgram === undefined) return
    for (const command of commands.filter((line) => line.startsWith("kubectl create"))) {
      const words = [...command.split(" ").slice(1), "--dry-run=client", "--output=yaml"]
      made.push(...parse(await succeed([kubectlProgram, ...words], { cwd: directory })))
    }
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  test("every block is an object that Kubernetes takes", async () => {
    expect(deployments.map(({ kind }) => kind)).toEqual(["Deployment", "Deployment"])
    for (const object of deployments) expect(await validate(object)).toBeUndefined()
  })

  test("by hand is what injection makes of the other one", async () => {
    const [byHand, labelled] = deployments.map(podOf) as [PodObject, PodObject]
    const injected = admitted(labelled, ofCluster)
    const plain = (container: object) => JSON.parse(JSON.stringify(container).replaceAll(',"protocol":"TCP"', ""))
    expect(plain(byHand.spec.initContainers![0]!)).toEqual(plain(injected.spec.initContainers![0]!))
    expect(byHand.spec.volumes).toEqual(injected.spec.volumes!)
    for (const { expression, message } of policy.spec.validations!)
      expect({ message, holds: evaluate(expression, contextOf(policy, injected, parameters)) }).toEqual({
        message,
        holds: true,
      })
  })

  test.skipIf(kubectlProgram === undefined)("the commands make the objects that the pods name", async () => {
    expect(made.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(["ConfigMap vpn", "Secret vpn-login"])
    expect(Object.keys(made[0]!.data)).toEqual(["client.ovpn"])
    expect(Object.keys(made[1]!.data).sort()).toEqual(["password", "username"])
    const { annotations } = podOf(deployments[1]!).metadata
    expect(annotations).toEqual({
      "culvert.dev/config": made[0]!.metadata.name,
      "culvert.dev/secret": made[1]!.metadata.name,
    })
  })

  test.skipIf(kubectlProgram === undefined)("every kustomization that it names is built", async () => {
    const named = [...readme.matchAll(/kubectl apply -k k8s\/(\S+?)[`\s]/g)].map(([, path]) => path!)
    expect(named).toContain("overlays/self-signed")
    expect(named).toContain("overlays/policy")
    for (const path of named) expect((await build(kubectlProgram!, path)).length).toBeGreaterThan(2)
  })
})

describe("what it says to type exists:", () => {
  test("npm scripts", () => {
    const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"))
    const named = [...readme.matchAll(/\bnpm (?:run ([\w:]+)|(test))/g)].map(([, run, alone]) => run ?? alone!)
    expect(named).toContain("demo")
    for (const name of named) expect(Object.keys(scripts)).toContain(name)
  })

  test("commands and flags of culvert", async () => {
    const named = [
      ...readme.matchAll(/\bculvert ((?:start|check|status|health|reconnect|pause|resume|firewall|inject)\b[^`\n]*)/g),
    ].map(([, words]) => words!)
    expect(named.length).toBeGreaterThan(5)
    const called = [...new Set(named.map((words) => words.split(" ")[0]!))]
    const helpOf = (command: string) => succeed([bun, "src/main.ts", command, "--help"], { cwd: project })
    const help = new Map(await Promise.all(called.map(async (name) => [name, await helpOf(name)] as const)))
    for (const words of named) {
      for (const [flag] of words.matchAll(/--[a-z-]+/g)) expect(help.get(words.split(" ")[0]!)).toContain(flag)
    }
  })

  test("checking a file", async () => {
    const line = blocks("sh", readme)
      .join()
      .split("\n")
      .find((line) => line.includes("culvert check"))!
    const [, words = ""] = /npx bun run (culvert check) /.exec(line) ?? []
    const file = join(mkdtempSync(join(tmpdir(), `cv${process.pid}-`)), "client.ovpn")
    try {
      writeFileSync(file, (read("examples/config.yaml")[0] as Loose).data["client.ovpn"])
      expect(await finish([bun, "run", ...words.split(" "), file], { cwd: project })).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("remote vpn.example.com 1194"),
      })
    } finally {
      rmSync(dirname(file), { recursive: true })
    }
  })
})

const pages = [
  "README.md",
  ...readdirSync(join(project, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
]
const textOf = (page: string) => readFileSync(join(project, page), "utf8")

test("every setting that the pages name is one of the tables", () => {
  const known = new Set([...Object.values(table), ...Object.values(injectorTable)].map(({ variable }) => variable))
  // What tests and scripts of the project read, and a placeholder.
  const others = /^CULVERT_(SEED|SEEDS|MATRIX|GOLDEN|X|ADMISSION)(_FILE)?$/
  for (const page of pages) {
    const named = [...textOf(page).matchAll(/\bCULVERT_[A-Z][A-Z_]*[A-Z]\b|\bCULVERT_X\b/g)].map(([name]) => name)
    expect({ page, unknown: named.filter((name) => !known.has(name) && !others.test(name)) }).toEqual({
      page,
      unknown: [],
    })
  }
})

test("every link leads somewhere", () => {
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, "")
      .trim()
      .replaceAll(" ", "-")
  for (const page of pages) {
    const broken = [...textOf(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(
      ([whole, path = "", anchor]) => {
        const target = path === "" ? page : join(dirname(page), path)
        if (!existsSync(join(project, target))) return [whole]
        if (anchor === undefined) return []
        const headings = [...textOf(target).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => slug(heading!))
        return headings.includes(anchor) ? [] : [whole]
      },
    )
    expect({ page, broken }).toEqual({ page, broken: [] })
  }
})
