import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Result } from "effect"
import { parse } from "../../src/config/index.ts"
import { makeMetrics } from "../../src/injector/metrics.ts"
import { withReference } from "../../src/injector/reference.ts"
import type { Defaults } from "../../src/injector/sidecar.ts"
import { containerName } from "../../src/injector/sidecar.ts"
import { admitted, ask, asking, defaults, type PodObject } from "../injector/cluster.ts"
import { contextOf, evaluate, type Policy } from "./cel.ts"
import { build, files, type KubeObject, k8s, kubectl, kustomizations, type Loose, read, validate } from "./manifests.ts"

const kubectlProgram = await kubectl()
const built = new Map<string, ReadonlyArray<KubeObject>>()
const buildOnce = async (directory: string) => {
  const objects = built.get(directory) ?? (await build(kubectlProgram!, directory))
  built.set(directory, objects)
  return objects
}
const of = (objects: ReadonlyArray<KubeObject>, kind: string, name?: string) =>
  objects.find((object) => object.kind === kind && (name === undefined || object.metadata.name === name)) as
    | (KubeObject & Loose)
    | undefined

const parameters = of(read("defaults/defaults.yaml"), "ConfigMap")!
const ofCluster: Defaults = {
  ...defaults,
  image: parameters.data.image,
  environment: { CULVERT_BYPASS: parameters.data.clusterNetworks },
  resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "256Mi" } },
}
const validating = read("policy/validating/validating.yaml")[0] as unknown as Policy

describe("as written", () => {
  for (const file of files) {
    test(`${file} holds objects that Kubernetes accepts`, async () => {
      const objects = read(file)
      expect(objects.length).toBeGreaterThan(0)
      for (const object of objects) expect(await validate(object)).toBeUndefined()
    })
  }

  test("a field that does not exist, a wrong type and an unknown kind are seen", async () => {
    const [pod] = [{ ...asking(), metadata: { name: "x" } } as unknown as KubeObject]
    expect(await validate(pod!)).toBeUndefined()
    expect(await validate({ ...pod!, spec: { containers: [{ name: 7 }] } })).toContain("containers")
    expect(await validate({ ...pod!, kind: "Pot" })).toContain("unknown")
  })
})

describe.skipIf(kubectlProgram === undefined)("as kubectl kustomize builds them", () => {
  for (const directory of kustomizations) {
    test(`${directory} builds, and every object is valid`, async () => {
      for (const object of await buildOnce(directory)) expect(await validate(object)).toBeUndefined()
    })
  }

  for (const overlay of ["overlays/cert-manager", "overlays/self-signed"]) {
    test(`${overlay}: the webhook finds the Service, and the Service the injector`, async () => {
      const objects = await buildOnce(overlay)
      const [webhook] = of(objects, "MutatingWebhookConfiguration")!.webhooks
      const service = of(objects, "Service")!
      const deployment = of(objects, "Deployment")!
      const [container] = deployment.spec.template.spec.containers
      expect(webhook.clientConfig.service).toMatchObject({
        name: service.metadata.name,
        namespace: service.metadata.namespace,
        path: "/mutate",
        port: service.spec.ports[0].port,
      })
      expect(deployment.spec.template.metadata.labels).toMatchObject(service.spec.selector)
      expect(container.ports).toContainEqual({ name: service.spec.ports[0].targetPort, containerPort: 8443 })
      expect(webhook.failurePolicy).toBe("Fail")
      expect(container.image).toBe(parameters.data.image)
      expect(of(objects, "PodDisruptionBudget")!.spec.minAvailable).toBeLessThan(deployment.spec.replicas)
    })
  }

  test("the injector is a pod that its own namespace's Pod Security level lets in", async () => {
    for (const overlay of ["overlays/cert-manager", "overlays/self-signed"]) {
      const objects = await buildOnce(overlay)
      const { spec } = of(objects, "Deployment")!.spec.template
      expect(of(objects, "Namespace")!.metadata.labels).toMatchObject({
        "pod-security.kubernetes.io/enforce": "restricted",
      })
      expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } })
      expect(spec.hostNetwork ?? spec.hostPID ?? spec.hostIPC).toBeUndefined()
      for (const container of spec.containers) {
        expect(container.securityContext).toMatchObject({
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
        })
        expect(container.securityContext.capabilities.add).toBeUndefined()
      }
      for (const volume of spec.volumes ?? []) expect(Object.keys(volume)).toContain("secret")
    }
  })

  test("overlays/self-signed: the injector may do what its own CA needs, and nothing beside it", async () => {
    const objects = await buildOnce("overlays/self-signed")
    expect(of(objects, "Deployment")!.spec.template.spec.containers[0].args).toEqual(["inject", "--authority=own"])
    const rules = objects
      .filter(({ kind }) => kind === "Role" || kind === "ClusterRole")
      .flatMap((role) => role.rules as ReadonlyArray<unknown>)
    expect(rules).toEqual(
      expect.arrayContaining([
        { apiGroups: [""], resources: ["secrets"], resourceNames: ["culvert-injector-ca"], verbs: ["get", "update"] },
        {
          apiGroups: ["admissionregistration.k8s.io"],
          resources: ["mutatingwebhookconfigurations"],
          resourceNames: ["culvert-injector"],
          verbs: ["get", "patch"],
        },
        { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] },
      ]),
    )
    expect(rules).toHaveLength(3)
    expect(of(objects, "Secret")!.data).toBeUndefined()
  })

  test("overlays/cert-manager: certificate, mount and caBundle speak of the same Secret and Certificate", async () => {
    const objects = await buildOnce("overlays/cert-manager")
    const certificate = of(objects, "Certificate")!
    const { volumes, containers } = of(objects, "Deployment")!.spec.template.spec
    expect(volumes[0].secret.secretName).toBe(certificate.spec.secretName)
    expect(containers[0].volumeMounts[0]).toMatchObject({
      name: volumes[0].name,
      mountPath: "/etc/culvert-injector/tls",
    })
    expect(of(objects, "MutatingWebhookConfiguration")!.metadata).toMatchObject({
      annotations: {
        "cert-manager.io/inject-ca-from": `${certificate.metadata.namespace}/${certificate.metadata.name}`,
      },
    })
  })

  test("overlays/policy runs nothing", async () => {
    const kinds = (await buildOnce("overlays/policy")).map(({ kind }) => kind).sort()
    expect(kinds).toEqual([
      "ConfigMap",
      "MutatingAdmissionPolicy",
      "MutatingAdmissionPolicyBinding",
      "Namespace",
      "ValidatingAdmissionPolicy",
      "ValidatingAdmissionPolicyBinding",
    ])
  })
})

/** The pods that the examples' controllers make. */
const examplePods = files
  .filter((file) => file.startsWith("examples/"))
  .flatMap((file) =>
    read(file).flatMap((object) => {
      const template = (object as Loose).spec?.template
      return template === undefined ? [] : [{ file, pod: { apiVersion: "v1", kind: "Pod", ...template } as PodObject }]
    }),
  )
const isInjected = ({ pod }: { readonly pod: PodObject }) => pod.metadata.labels?.["culvert.dev/inject"] === "true"

describe("the examples", () => {
  for (const { file, pod } of examplePods.filter(isInjected)) {
    test(`${file} goes through the webhook, stays valid and passes the policy`, async () => {
      const after = admitted(pod, ofCluster)
      expect(await validate({ ...after, metadata: { ...after.metadata, name: "x" } } as never)).toBeUndefined()
      for (const { expression, message } of validating.spec.validations!)
        expect({ message, holds: evaluate(expression, contextOf(validating, after, parameters)) }).toEqual({
          message,
          holds: true,
        })
    })
  }

  for (const { file, pod } of examplePods.filter((example) => !isInjected(example))) {
    test(`${file} has by hand what injection adds`, () => {
      const wanted = admitted(asking({}, { "culvert.dev/config": "vpn", "culvert.dev/secret": "vpn-login" }), ofCluster)
      const injected = wanted.spec.initContainers![0]!
      const all = [...(pod.spec.initContainers ?? []), ...pod.spec.containers]
      expect(all[0]!.name).toBe(containerName)
      const { lifecycle, ...sidecar } = all[0]! as Loose
      if (lifecycle === undefined) expect(plain(sidecar)).toEqual(plain(injected))
      else {
        // Without sidecars in Kubernetes the hook takes the place of the startup probe.
        const { restartPolicy, startupProbe, ...rest } = injected as Loose
        expect(plain(sidecar)).toEqual(plain(rest))
        expect(lifecycle.postStart.exec.command).toEqual([
          "/usr/bin/culvert",
          "health",
          `--wait=${startupProbe.failureThreshold}`,
        ])
      }
      expect(pod.spec.volumes).toEqual(wanted.spec.volumes!)
    })
  }
})

test("the examples' configuration is valid OpenVPN, for a user whose login is in the Secret", () => {
  const [config, secret] = read("examples/config.yaml") as ReadonlyArray<KubeObject & Loose>
  const none = () => Result.fail("no other file is mounted")
  const { profile } = Result.getOrThrow(parse(config!.data["client.ovpn"], { file: "client.ovpn", read: none }))
  expect(profile).toMatchObject({ mode: "tls", credentials: { _tag: "Ask" } })
  expect(Object.keys(secret!.stringData)).toEqual(["username", "password"])
})

/** `protocol: TCP` is what Kubernetes fills in. */
const plain = (container: object) => JSON.parse(JSON.stringify(container).replaceAll(',"protocol":"TCP"', ""))

test("docs/kubernetes.md has the tables of annotations and settings; CULVERT_GOLDEN=write writes them", () => {
  const file = join(k8s, "../docs/kubernetes.md")
  const page = readFileSync(file, "utf8")
  const current = withReference(page)
  if (process.env.CULVERT_GOLDEN === "write") writeFileSync(file, current)
  else expect(page).toBe(current)
  expect(current).toContain("`culvert.dev/bypass`")
  expect(current).toContain("`CULVERT_CLUSTER_NETWORKS`")
})

test("docs/kubernetes.md has every message with which a pod is refused", () => {
  const page = readFileSync(join(k8s, "../docs/kubernetes.md"), "utf8")
  const quoted = [...page.matchAll(/`([^`\n]{12,})`/g)].map(([, text]) => text!.replace(/^\.\.\. /, ""))
  const ofPolicy = validating.spec.validations!.map(({ message }) => message)
  const { message } = ask(asking({ hostNetwork: true })).status!
  for (const said of [...ofPolicy, message.replace("culvert: ", "")])
    expect({ said, isThere: quoted.some((text) => said.includes(text)) }).toEqual({ said, isThere: true })
})

test("docs/kubernetes.md has every log event and every metric of the webhook", async () => {
  const page = readFileSync(join(k8s, "../docs/kubernetes.md"), "utf8")
  const src = join(k8s, "../src")
  const code = [...readdirSync(join(src, "injector")).map((file) => `injector/${file}`), "cli/inject.ts"]
    .map((file) => readFileSync(join(src, file), "utf8"))
    .join("\n")
  const events = [...code.matchAll(/\bevent: "([a-z_]+)"/g)].map(([, name]) => name!)
  const scraped = await makeMetrics(() => 0).registry.metrics()
  const metrics = [...scraped.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!)
  expect(events.length).toBeGreaterThan(10)
  expect([...events, ...metrics].filter((name) => !new RegExp(`\`${name}[\`{]`).test(page))).toEqual([])
})
