/** The manifests and the webhook, judged by Kubernetes' own admission code: `npm run admission` builds it (apiserver/main.go). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { issue, makeAuthority } from "../../src/injector/x509.ts"
import { admitted, ask, asking, defaults, everything, type PodObject } from "../injector/cluster.ts"
import { generate } from "../injector/generate.ts"
import { Child } from "../support/child.ts"
import { type Admitted, create, findProgram } from "./apiserver/admission.ts"
import { build, files, type KubeObject, kubectl, kustomizations, type Loose, read } from "./manifests.ts"

const isBuilt = findProgram() !== undefined
const kubectlProgram = await kubectl()
const own = (prefix: string) => files.filter((file) => file.startsWith(prefix)).flatMap(read)
const namespace = (name: string) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
})
const namespaces = ["shop", "culvert-system", "kube-system"].map(namespace)
/** The image and the networks of `culvert-defaults`, as the webhook of the tests has them. */
const parameters = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "culvert-defaults", namespace: "culvert-system" },
  data: { image: defaults.image, clusterNetworks: defaults.environment.CULVERT_BYPASS },
}
const given = { resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "256Mi" } } }

const placed = (pod: PodObject, where = "shop"): PodObject => ({
  ...pod,
  metadata: { name: "app", ...pod.metadata, namespace: where },
})

/** Pods that ask in different ways, then generated ones. */
const pods: ReadonlyArray<PodObject> = [
  asking(),
  asking({}, everything),
  asking({}, { "culvert.dev/config": "configmap/vpn", "kubectl.kubernetes.io/default-container": "app" }),
  asking({ initContainers: [{ name: "migrate" }], volumes: [] }),
  // Expressions have a budget, which a large pod must not exceed.
  asking(
    { initContainers: numbered(200, "init"), containers: numbered(200, "app"), volumes: numbered(100, "volume") },
    {
      ...everything,
      "culvert.dev/bypass": Array.from({ length: 1000 }, (_, at) => `10.${at % 256}.0.0/16`).join(),
    },
  ),
  ...Array.from({ length: 300 }, (_, seed) => generate(seed)),
].map((pod) => placed(pod))

/** As Kubernetes writes it, without version and order of variables, of which the policy knows nothing. */
const comparable = ({ pod, refused }: Admitted<PodObject>) => {
  if (pod === undefined) return refused
  const { "culvert.dev/version": _, ...annotations } = pod.metadata.annotations ?? {}
  const sorted = (container: Loose) =>
    container.name === "culvert"
      ? { ...container, env: container.env.toSorted((a: Loose, b: Loose) => (a.name < b.name ? -1 : 1)) }
      : container
  const initContainers = (pod.spec.initContainers ?? []).map(sorted)
  return { ...pod, metadata: { ...pod.metadata, annotations }, spec: { ...pod.spec, initContainers } }
}

const firstOf = ({ pod }: Admitted<PodObject>) => pod?.spec.initContainers?.[0]?.name

const now = Date.now()
const day = { from: now - 60_000, to: now + 86_400_000 }
const authority = makeAuthority("test", day)
const written = own("base/webhook").find(({ kind }) => kind === "MutatingWebhookConfiguration") as KubeObject & Loose
/** The webhook of the manifests, trusted as its injector would have it. */
const configuration = {
  ...written,
  webhooks: written.webhooks.map((webhook: Loose) => ({
    ...webhook,
    clientConfig: { ...webhook.clientConfig, caBundle: Buffer.from(authority.certificate).toString("base64") },
  })),
} as KubeObject & Loose

describe.skipIf(!isBuilt)(`Kubernetes' own admission code${isBuilt ? "" : " (npm run admission builds it)"}`, () => {
  test("every field of the manifests is one that Kubernetes knows", async () => {
    const foreign = /^(cert-manager\.io|monitoring\.coreos\.com)\//
    const objects = own("").filter(({ apiVersion }) => !foreign.test(apiVersion))
    expect(objects.length).toBeGreaterThan(25)
    await create({ objects: objects.map(named) }, [])
    for (const directory of kubectlProgram === undefined
      ? []
      : kustomizations.filter((path) => path.startsWith("overlays/"))) {
      const built = await build(kubectlProgram!, directory)
      await create({ objects: built.filter(({ apiVersion }) => !foreign.test(apiVersion)) }, [])
    }
    const misspelt = { ...parameters, dataa: {} }
    await expect(create({ objects: [misspelt] }, [])).rejects.toThrow('unknown field "dataa"')
  })

  describe("with the policies", () => {
    const cluster = { objects: [...namespaces, parameters, ...own("policy/")] }

    test("every pod becomes what the webhook makes of it; what that refuses never runs without the sidecar", async () => {
      const found = await create(cluster, pods)
      const byWebhook = pods.map((pod) => (ask(pod).allowed ? admitted(pod, given) : pod))
      const expected = await create({ objects: namespaces }, byWebhook)
      let injected = 0
      for (const [index, pod] of pods.entries()) {
        if (ask(pod).allowed) {
          expect(comparable(found[index]!)).toEqual(comparable(expected[index]!))
          if (firstOf(found[index]!) === "culvert") injected++
        } else if (found[index]!.refused === undefined) expect(firstOf(found[index]!)).toBe("culvert")
      }
      expect(injected).toBeGreaterThan(90)
    })

    test("once, not twice", async () => {
      const [once] = await create(cluster, [placed(asking())])
      const [twice] = await create(cluster, [once!.pod!])
      expect(twice!.pod).toEqual(once!.pod!)
    })

    test("a webhook that comes after it and wants to be first is put in its place", async () => {
      await using meddler = meddle()
      const objects = [...cluster.objects, meddler.configuration]
      const pod = asking({ initContainers: [{ name: "migrate" }, { name: "seed" }] })
      const [found] = await create({ objects, services: { meddler: meddler.address } }, [placed(pod)])
      const [undisturbed] = await create(cluster, [placed(pod)])
      const [sidecar, ...others] = undisturbed!.pod!.spec.initContainers!
      expect(found!.pod?.spec.initContainers?.[0]).toEqual(sidecar!)
      expect(found!.pod?.spec.initContainers?.slice(2)).toEqual(others)
    })

    test("a wrong wish is refused with a reason, in every namespace", async () => {
      const wrong: ReadonlyArray<readonly [PodObject, string]> = [
        [asking({ hostNetwork: true }), "network of its node"],
        [asking({ os: { name: "windows" } }), "Linux nodes only"],
        [asking({}, {}), "culvert.dev/config is missing"],
        [asking({}, { ...everything, "culvert.dev/bypass": "10.0.0.0/8,0.0.0.0/1" }), "bypass this wide"],
        [asking({}, { ...everything, "culvert.dev/bypass": "fc00::/6" }), "bypass this wide"],
        [asking({}, { ...everything, "culvert.dev/dns-mode": "resolvconf" }), "redirect or off"],
        [asking({}, { ...everything, "culvert.dev/kill-switch": "off" }), "always on"],
        [{ ...asking(), metadata: { labels: { "culvert.dev/inject": "yes" } } }, 'must be "true" or "false"'],
      ]
      for (const where of ["shop", "kube-system"]) {
        const found = await create(
          cluster,
          wrong.map(([pod]) => placed(pod, where)),
        )
        for (const [index, [, reason]] of wrong.entries()) expect(found[index]!.refused).toContain(reason)
      }
    })

    test("without the parameters nothing that asked gets in", async () => {
      const [found] = await create({ objects: [...namespaces, ...own("policy/")] }, [placed(asking())])
      expect(found!.refused).toContain("no params found")
    })
  })

  describe("with the webhook", () => {
    const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
    let injector: Child
    let address = ""
    beforeAll(async () => {
      const leaf = issue(authority, ["culvert-injector.culvert-system.svc"], day)
      writeFileSync(join(directory, "tls.crt"), leaf.certificate)
      writeFileSync(join(directory, "tls.key"), leaf.key)
      injector = new Child("culvert inject", [
        ...[process.execPath, join(import.meta.dir, "../../src/main.ts"), "inject", "--log-format", "json"],
        ...["--image", defaults.image, "--cluster-networks", defaults.environment.CULVERT_BYPASS!],
        ...["--listen", "127.0.0.1:0", "--http", "off", "--drain-seconds", "0"],
        ...["--tls-certificate", join(directory, "tls.crt"), "--tls-key", join(directory, "tls.key")],
      ])
      const { listen } = JSON.parse(await injector.line(/"starting"/))
      address = `127.0.0.1:${listen.slice(listen.lastIndexOf(":") + 1)}`
    })
    afterAll(async () => {
      await injector.stop()
      rmSync(directory, { recursive: true })
    })

    const cluster = (services: Readonly<Record<string, string>>, ...more: ReadonlyArray<object>) => ({
      objects: [...namespaces, parameters, ...own("policy/validating"), configuration, ...more],
      services,
    })

    test("every pod is injected over TLS, found good by the policy, and stays what the user wrote", async () => {
      const found = await create(cluster({ "culvert-injector": address }), pods)
      const byWebhook = pods.map((pod) => (ask(pod).allowed ? admitted(pod, given) : pod))
      const expected = await create({ objects: namespaces }, byWebhook)
      for (const [index, pod] of pods.entries()) {
        if (ask(pod).allowed) expect(comparable(found[index]!)).toEqual(comparable(expected[index]!))
        else expect(found[index]!.refused).toBeDefined()
      }
    })

    test("refusals and warnings of the webhook reach the user", async () => {
      const [refused, warned] = await create(cluster({ "culvert-injector": address }), [
        placed(asking({ hostNetwork: true })),
        placed(asking({ shareProcessNamespace: true })),
      ])
      expect(refused!.refused).toContain("culvert: a pod with hostNetwork has the network of its node")
      expect(warned!.warnings?.join()).toContain("shareProcessNamespace")
    })

    test("while it is away, pods that asked are refused and all others are not held up", async () => {
      const bystander = { ...asking(), metadata: { labels: { "culvert.dev/inject": "false" } } }
      const found = await create(cluster({ "culvert-injector": "127.0.0.1:1" }), [
        placed(asking()),
        placed(bystander),
        placed(asking(), "kube-system"),
      ])
      expect(found[0]!.refused).toContain('failed calling webhook "inject.culvert.dev"')
      expect(found[1]!.pod).toBeDefined()
      expect(found[2]!.refused).toContain("is not its first init container")
    })

    test("a webhook that comes after it and wants to be first is put in its place", async () => {
      await using meddler = meddle()
      const services = { "culvert-injector": address, meddler: meddler.address }
      const [found] = await create(cluster(services, meddler.configuration), [placed(asking())])
      expect(found!.pod?.spec.initContainers?.map(({ name }) => name)).toEqual(["culvert", "meddler"])
    })
  })
})

/** A webhook of somebody else that puts a container before all others, and is asked after ours. */
function meddle() {
  const leaf = issue(authority, ["meddler.culvert-system.svc"], day)
  const patch = [{ op: "add", path: "/spec/initContainers/0", value: { name: "meddler", image: "m:1" } }]
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: leaf.certificate, key: leaf.key },
    fetch: async (request) => {
      const { request: asked } = (await request.json()) as Loose
      const encoded = Buffer.from(JSON.stringify(patch)).toString("base64")
      const response = { uid: asked.uid, allowed: true, patchType: "JSONPatch", patch: encoded }
      return Response.json({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response })
    },
  })
  const [webhook] = configuration.webhooks as [Loose]
  const service = { name: "meddler", namespace: "culvert-system", path: "/" }
  return {
    address: `127.0.0.1:${server.port}`,
    configuration: {
      ...configuration,
      metadata: { name: "zz-meddler" },
      webhooks: [
        {
          ...webhook,
          name: "meddler.example.com",
          reinvocationPolicy: "Never",
          clientConfig: { ...webhook.clientConfig, service },
        },
      ],
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  }
}

function numbered(count: number, name: string) {
  return Array.from({ length: count }, (_, index) => ({ name: `${name}-${index}` }))
}

/** Objects of one kind that differ by namespace only are told apart by their file's kustomization; here they need one. */
function named(object: KubeObject): KubeObject {
  return { ...object, metadata: { namespace: "default", ...object.metadata } }
}
